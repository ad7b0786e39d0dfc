"""What is wrong with a running site, once: a row of verify, a metric, its threshold, an alert, and what to do.

verify takes thresholds and sentences from here. `report` on the storage hosts gets the conditions of its own host with
report.conf. files/monitoring/rules.yml and the table in docs/monitoring.md are written from here, which a test proves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from f3s.clock import LIMIT as CLOCK_LIMIT
from f3s.monitor import TOO_OLD

DAY = 86400
SUMMARY = {"value": '{{ printf "%.0f" $value }}', "duration": "{{ humanizeDuration $value }}"}
WHY = "`service f3s_storage status` there says why"


@dataclass(frozen=True)
class Condition:
    """One thing that can be wrong.

    + alert: its name for Prometheus and for alert_command
    + check: the row of verify that tells it, or how the names of such rows begin
    + metric: what is compared
    + op, limit: when it is wrong; the limit is a number, or a metric with the same labels. NaN (not known) is != all
    + minutes: for how long, before anybody is told
    + sentence: for people. {value} is what was compared, {duration} the same in days, {reason} that of f3s_storage, any
      other word a label
    + runbook: heading of docs/runbook.md
    + kind: compare the value, the time since it (to either side), the time until it, or its size
    + told: by the storage host itself, too (alert_command), or by Prometheus alone
    + query: another expression than metric, op and limit make, for Prometheus alone
    """

    alert: str
    check: str
    metric: str
    op: Literal["!=", "<", ">"]
    limit: float | str
    minutes: int
    sentence: str
    runbook: str
    severity: Literal["critical", "warning"] = "critical"
    kind: Literal["value", "since", "until", "size"] = "value"
    told: Literal["host", "Prometheus"] = "host"
    query: str = ""

    def said(self, value: float = 0, **labels: str) -> str:
        """The sentence, as a host and verify say it."""
        words = {"value": f"{value:.0f}", "duration": f"{value // DAY:.0f} d", **labels}
        return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], self.sentence)

    def holds(self, value: float, limit: float | None = None) -> bool:
        """Whether a value is wrong, by the limit or, where that is a metric, by its value."""
        limit = float(self.limit) if limit is None else limit
        return {"!=": value != limit, "<": value < limit, ">": value > limit}[self.op]

    @property
    def expression(self) -> str:
        """As Prometheus has it."""
        compared = {
            "value": self.metric,
            # of what is as far in the future, too: the clock was set back, and nothing comes until then
            "since": f"time() - {self.metric} < -{self.limit} or time() - {self.metric}",
            "until": f"{self.metric} - time()",
            "size": f"abs({self.metric})",
        }[self.kind]
        return self.query or f"{compared} {self.op} {self.limit}"

    @property
    def summary(self) -> str:
        """The sentence as a template of Prometheus."""
        words = {**SUMMARY, "reason": WHY}
        text = re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], f"{{{{ $labels.{found[1]} }}}}"), self.sentence)
        return f"{{{{ with $labels.instance }}}}{{{{ . }}}}: {{{{ end }}}}{text}"


def scrub_allowed(threshold_days: int) -> int:
    """Seconds that a scrub may be ago: periodic(8) begins one after the threshold, and it takes time."""
    return (threshold_days + 7) * DAY


# fmt: off
NOT_READY = Condition(
    "F3sNotReady", "services", "f3s_storage_ready", "!=", 1, 3, "not ready: {reason}", "Key not loaded")
POOL_BROKEN = Condition("F3sPoolBroken", "pools", "f3s_pool_online", "!=", 1, 2, "{pool} is {health}", "Disk dead")
POOL_FILLS = Condition(
    "F3sPoolFills", "space", "f3s_pool_used_ratio", ">", 0.8, 15,
    "{pool} is more than 80 % full", "Pool full", "warning")
POOL_FULL = Condition(
    "F3sPoolFull", "space", "f3s_pool_used_ratio", ">", 0.9, 5, "{pool} is more than 90 % full", "Pool full")
SCRUB_OVERDUE = Condition(
    "F3sScrubOverdue", "scrub", "f3s_pool_last_scrub_timestamp_seconds", ">", "f3s_pool_scrub_allowed_seconds", 60,
    "the last scrub of {pool} was {duration} ago", "Scrub overdue", "warning", "since")
REPLICA_LATE = Condition(
    "F3sReplicaLate", "replica of", "f3s_replication_last_timestamp_seconds", ">", "f3s_replication_allowed_seconds", 2,
    "the newest common snapshot of {dataset} is {value} s old", "Files not appearing on the standby", kind="since")

CONDITIONS = (
    NOT_READY, POOL_BROKEN, POOL_FILLS, POOL_FULL, SCRUB_OVERDUE, REPLICA_LATE,
    Condition(
        "F3sServesReadOnly", "one MASTER", "f3s_storage_serves_readonly", "!=", 0, 15,
        "this host has the address, and clients cannot write", "Failback refused", "warning"),
    Condition(
        "F3sAddressFlaps", "CARP", "f3s_storage_address_changes", ">", 6, 0,
        "the address came or went {value} times within an hour", "Failback refused", "warning"),
    Condition(
        "F3sServiceRestarted", "services", "f3s_storage_restarts", ">", 0, 0,
        "a service was restarted {value} times within an hour: /var/log/messages says why", "Client stuck", "warning"),
    Condition(
        "F3sFsidPassed", "services", "f3s_storage_fsid_aligned", "<", 1, 15,
        "clients have to mount anew after a move: the fsid differs", "Fsid passed", "warning"),
    Condition(
        "F3sDataDamaged", "pools", "f3s_pool_damaged", ">", 0, 0, "{pool} has damaged data: zpool status -v",
        "Disk dead"),
    Condition(
        "F3sDiskErrs", "pools", "f3s_pool_disk_errors", ">", 0, 0,
        "a disk of {pool} made errors: zpool status", "Disk dead", "warning"),
    Condition(
        "F3sStickSilent", "stick", "f3s_stick_readable", "!=", 1, 0,
        "no stick that can be read with the label {label}", "Stick dead"),
    Condition(
        "F3sKeyWrong", "keys", "f3s_key_fits", "!=", 1, 0,
        "the key on the stick does not open {dataset}", "Key not loaded"),
    Condition(
        "F3sCertificateEnds", "certificate", "f3s_certificate_not_after_timestamp_seconds", "<",
        "f3s_certificate_renew_before_seconds", 0, "{file} ends in {duration}", "Tunnel files", "warning", "until"),
    Condition(
        "F3sTunnelRefuses", "TLS", "f3s_tunnel_refusals", ">", 0, 5,
        "the tunnel refuses a certificate, {value} times a minute: /var/log/messages says whose", "Client stuck",
        "warning"),
    Condition(
        "F3sClockOff", "clock", "f3s_clock_offset_seconds", ">", CLOCK_LIMIT, 3,
        f"more than {CLOCK_LIMIT} s off: {{value}} s between this clock and that of {{peer}}", "Clock off",
        kind="size"),
    Condition(
        "F3sNoAnswer", "services", "f3s_report_unanswered", ">", 0, 15,
        "no answer in time: {command}", "Disk dead", "warning"),
    Condition(
        "F3sPoolFullSoon", "space", "f3s_pool_free_bytes", "<", 0, 60,
        "{pool} is full within two weeks, if it grows as in the last one", "Pool full", "warning", told="Prometheus",
        query="predict_linear(f3s_pool_free_bytes[7d], 14 * 86400) < 0"),
    Condition(
        "F3sNotOneMaster", "one MASTER", "f3s_storage_master", "!=", 1, 2,
        "{value} hosts have the address", "Failback refused", told="Prometheus", query="sum(f3s_storage_master) != 1"),
    Condition(
        "F3sWritersDiffer", "writer", "f3s_storage_epoch", "!=", 0, 5,
        "the hosts do not agree who writes", "Host dead", told="Prometheus",
        query="max(f3s_storage_epoch) - min(f3s_storage_epoch) != 0"),
    Condition(
        "F3sHostSilent", "reachable", "f3s_report_timestamp_seconds", "<", 2, 5,
        "only {value} storage host reports", "Host dead", told="Prometheus",
        query="count(time() - f3s_report_timestamp_seconds < 300) < 2"),
    Condition(
        "F3sAllSilent", "reachable", "f3s_report_timestamp_seconds", "!=", 0, 5,
        "no storage host reports", "Host dead", told="Prometheus",
        query="absent(time() - f3s_report_timestamp_seconds < 300)"),
    Condition(
        "F3sMountUnusable", "mount", "f3s_nfs_mount_healthy", "!=", 1, 3,
        "{mountpoint} cannot be used", "Client stuck", told="Prometheus"),
    Condition(
        "F3sMonitorSilent", "mount", "f3s_nfs_mount_last_check_timestamp_seconds", ">", TOO_OLD, 3,
        "{mountpoint} was last checked {value} s ago", "Client stuck", "warning", "since", "Prometheus"),
    Condition(
        "F3sFilesBelow", "below", "f3s_nfs_mount_files_below", ">", 0, 0,
        "files of this host lie below {mountpoint}", "Files below a mount", "warning", told="Prometheus"),
    Condition(
        "F3sMountTakesFiles", "below", "f3s_nfs_mount_immutable", "!=", 1, 15,
        "the bare directory {mountpoint} takes files", "Files below a mount", "warning", told="Prometheus"),
)
# fmt: on


def for_hosts() -> str:
    """The conditions that `report` judges on its host, one a line, fields separated by tabs."""
    return "\n".join(
        "\t".join((each.alert, each.metric, each.kind, each.op, f"{each.limit}", f"{each.minutes}", each.sentence))
        for each in CONDITIONS
        if each.told == "host"
    )


def rules() -> str:
    """The text of files/monitoring/rules.yml."""
    lines = ["# Written from f3s/conditions.py (CONTRIBUTING.md). How to install it: docs/monitoring.md", "groups:"]
    lines += ["  - name: f3s-storage", "    rules:"]
    for each in CONDITIONS:
        lines += [
            f"      - alert: {each.alert}",
            f"        expr: {each.expression}",
            f"        for: {each.minutes}m",
            f"        labels: {{severity: {each.severity}}}",
            "        annotations:",
            f"          summary: '{each.summary}'",
            f"          runbook: docs/runbook.md, {each.runbook}",
        ]
    return "\n".join([*lines, ""])


def table() -> str:
    """The table in docs/monitoring.md."""
    lines = ["| alert | wrong when | for | told by the host | row of verify | runbook |", "|---|---|---|---|---|---|"]
    for each in CONDITIONS:
        host = "yes" if each.told == "host" else ""
        lines.append(
            f"| {each.alert} | `{each.expression}` | {each.minutes} min | {host} | `{each.check}` | {each.runbook} |"
        )
    return "\n".join(lines)
