"""A site speaks up: whatever goes wrong is heard of without a question, and so is its end."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from f3s.conditions import CONDITIONS, Condition
from f3s.controller import REPORT_CONF, RUN
from f3s.pki.certificates import make_ca
from f3s.replication import allowed_age
from scenarios.deploy import all_right
from scenarios.pair import FOUND, SERVING, Pair
from scenarios.play import scenario
from scenarios.story import Story

CONDITION = {condition.alert: condition for condition in CONDITIONS}
PROGRAM, HEARD = "/usr/local/bin/f3s-alarm", "/var/log/f3s-alarm"
PEM, SHORT = "/usr/local/etc/stunnel/server.pem", "/root/f3s-short.pem"
SCRUB_SECONDS = 900
"""How long ago a scrub may be here; a pool that never had one is as old as itself."""
FLAPS = 4
"""So often the address goes over and comes back: eight moves."""
CRON = 130.0
"""Seconds until the second report from now, and what comes after it."""
QUIET = 300.0
"""As in files/freebsd/report.sh: so long a thing has been right before that is told."""
SHORTENED = (
    f"-e \"s/^F3S_ALERT_SCRUB=.*/F3S_ALERT_SCRUB='{SCRUB_SECONDS}'/\" -e 's/\\(_scrub_allowed_seconds\t\\)60\t/\\10\t/'"
)
"""Of the report's values: a scrub is told at once after a quarter of an hour."""


@scenario("heard", text="ten faults, each heard of in its time, and its end, too")
def heard(story: Story) -> None:
    """Ten things go wrong, and nobody asks"""
    pair = Pair(story)
    other = pair.other("none that could have files below its mount")
    primary, standby = pair.hosts
    pool, top = story.cast.site.standby.pool.name, story.cast.site.standby.pool.mountpoint
    pair.opening()
    pair.has_the_share(other)
    for host in pair.hosts:
        said = f"printf '#!/bin/sh\\necho \"$1 $3 $4\" >>{HEARD}\\n' >{PROGRAM}; chmod 755 {PROGRAM}; : >{HEARD}"
        story.on(host, said)
    story.deploys("tasks/carp.py", "-y", "--limit", "storage", "--data", f"alert_command={PROGRAM}")
    for host in pair.hosts:
        story.types(host, "service f3s_storage alert-test")
        story.prove(_heard(story, host, "test F3sTest"), f"{host}: alert_command is called")
        story.on(host, f"sed -i '' {SHORTENED} {REPORT_CONF}")

    wrong: list[tuple[str, str]] = []

    def goes_wrong(alert: str, host: str, script: str) -> None:
        story.on(host, script, timeout=300)
        wrong.append((alert, host))
        story.say(f"{host}: {alert} is brought about")

    # what takes longest is first, and what a move of the address needs is last
    full = f"$(($(zpool list -Hp -o free {pool}) - $(zpool list -Hp -o size {pool}) * 7 / 100))"
    zeros = f"dd if=/dev/zero of={top}/fill/zeros bs=1m count=$(({full} / 1048576)) 2>&1"
    goes_wrong("F3sPoolFull", standby, f"zfs create -o compression=off {pool}/fill && {zeros} && zpool sync")
    story.stage.stick(standby, "out")
    goes_wrong("F3sStickSilent", standby, "true")
    ends = _ends_soon(int(story.on(primary, "date +%s")))
    listed = f"sed -i '' \"s#^F3S_ALERT_CERTIFICATES='#&{SHORT} #\" {REPORT_CONF}"
    goes_wrong("F3sCertificateEnds", primary, f"printf %b '{ends}' >{SHORT} && {listed}")
    goes_wrong("F3sScrubOverdue", primary, "true")
    goes_wrong("F3sClockOff", standby, _clock(100))
    goes_wrong("F3sFilesBelow", other, _below(story, "touch"))
    _an_hour_passes(story)
    goes_wrong("F3sServiceRestarted", standby, "pkill -STOP -x nfsd")
    story.within(
        f"{standby} restarts nfsd", lambda: "\n" in story.on(standby, f"cat {RUN}/restarts 2>/dev/null; true"), **FOUND
    )
    story.within(f"{standby} stands by", lambda: pair.stands_by(standby), **FOUND)
    for _ in range(FLAPS):
        for command, state in (("carp backup", "BACKUP"), ("carp master", "MASTER")):
            story.on(primary, command)
            story.within(f"{command}: {primary} is {state}", lambda: pair.state(primary) == state, **SERVING)  # noqa: B023
    goes_wrong("F3sAddressFlaps", primary, "true")
    goes_wrong("F3sReplicaLate", primary, "true")
    story.types(standby, "service zrepl stop")
    goes_wrong("F3sNotReady", standby, f"mv {PEM} {PEM}.away; service stunnel onestop")

    late = {
        "F3sReplicaLate": allowed_age(story.cast.site.served_job.interval_seconds),
        "F3sScrubOverdue": SCRUB_SECONDS,
    }
    for alert, host in sorted(wrong, key=lambda each: CONDITION[each[0]].minutes):
        condition = CONDITION[alert]
        story.within(
            f"{host}: {alert} is heard",
            lambda: _is_told(story, condition, host, "wrong"),  # noqa: B023
            timers=condition.minutes * 60 + late.get(alert, 0) + CRON,
            work=30,
        )
        story.prove(_is_wrong(condition, _metrics(story, condition, host)), f"{host}: {condition.metric} says so")

    story.stage.stick(standby, "in")
    for host, script in (
        (standby, "service f3skeys onerestart"),
        (standby, "service zrepl start >/dev/null 2>&1"),  # files/once/run-service.sh says why
        (standby, f"mv {PEM}.away {PEM}; service f3s_storage reconcile"),
        (standby, f"zfs destroy {pool}/fill"),
        (standby, _clock(-100)),
        (primary, f"sed -i '' \"s#{SHORT} ##\" {REPORT_CONF}"),
        (primary, f"zpool scrub {story.cast.site.primary.pool.name}"),
        (other, _below(story, "rm")),
    ):
        story.types(host, script)
    _an_hour_passes(story)
    for alert, host in wrong:
        condition = CONDITION[alert]
        story.within(
            f"{host}: the end of {alert} is heard",
            lambda: _is_told(story, condition, host, "right"),  # noqa: B023
            timers=QUIET + 2 * CRON,
            work=60,
        )
    story.deploys("tasks/carp.py", "-y", "--limit", "storage")
    all_right(story)


def _ends_soon(now: int) -> str:
    """A certificate with five days left, by the clock of a host, as a word of printf."""
    ends = make_ca(5, datetime.fromtimestamp(now, UTC)).certificate
    return ends.public_bytes(Encoding.PEM).decode().replace("\n", "\\n")


def _clock(seconds: int) -> str:
    return f"date -f %s $(($(date +%s) + {seconds})) >/dev/null"


def _below(story: Story, command: str) -> str:
    """On a client: a file comes or goes while nothing is mounted. The monitor looks there once after each boot of the
    client, with which its state goes, and mounts the share again."""
    units, point = "nfs-mount-monitor.timer nfs-mount-monitor.service", story.cast.mountpoint
    return (
        f"systemctl stop {units}; umount {point} && chattr -i {point} && {command} {point}/below && "
        "rm /run/f3s-nfs-mount/state.json && systemctl start nfs-mount-monitor.timer"
    )


def _an_hour_passes(story: Story) -> None:
    """For what is asked once an hour, and for what counts within one."""
    for host in (story.cast.primary, story.cast.standby):
        story.on(host, f"sed -i '' '1s/.*/at 0/' {RUN}/report.slow; : >{RUN}/moves; : >{RUN}/restarts")


def _heard(story: Story, host: str, text: str) -> bool:
    return story.attempt(host, f"grep -q '^{text}' {HEARD}").rc == 0


def _is_told(story: Story, condition: Condition, host: str, state: str) -> bool:
    """By alert_command on a storage host; of a client Prometheus alone tells, by the metric."""
    if condition.told == "host":
        return _heard(story, host, f"{state} {condition.alert}")
    return _is_wrong(condition, _metrics(story, condition, host)) == (state == "wrong")


def _metrics(story: Story, condition: Condition, host: str) -> dict[str, float]:
    file = f"{RUN}/report.prom" if condition.told == "host" else story.cast.site.clients[1].client.metrics_file
    lines = [line.rpartition(" ") for line in story.on(host, f"grep -v '^#' {file}").splitlines()]
    return {series: float(value) for series, _, value in lines}


def _is_wrong(condition: Condition, metrics: dict[str, float]) -> bool:
    """As Prometheus finds it."""
    now = metrics.get("f3s_report_timestamp_seconds", 0)
    for series, value in metrics.items():
        name, labels = series[: len(condition.metric)], series[len(condition.metric) :]
        compared = {"value": value, "since": now - value, "until": value - now, "size": abs(value)}[condition.kind]
        if (name, labels[:1]) in ((condition.metric, ""), (condition.metric, "{")) and condition.holds(
            compared, metrics.get(f"{condition.limit}{labels}")
        ):
            return True
    return False
