"""One table of what can be wrong: verify, the metrics, the alerts and the documents say the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from f3s.conditions import CONDITIONS, REPLICA_LATE, Condition, rules, table
from tests.f3s.verify.world import right_cluster, rows
from tests.files.monitor import Client
from tests.files.test_report import Reporter

REPOSITORY = Path(__file__).resolve().parents[2]
MONITORING = REPOSITORY / "files" / "monitoring"


def told_metrics() -> set[str]:
    """The metrics that the programs on hosts describe."""
    report = (REPOSITORY / "files/freebsd/report.sh").read_text()
    monitor = (REPOSITORY / "files/rocky/check_nfs_mount.py").read_text()
    return {f"f3s_{name}" for name in re.findall(r"^\t([a-z_]+) [A-Z].*\.$", report, re.MULTILINE)} | {
        f"f3s_nfs_mount_{name}"
        for name in re.findall(r'^    \("([a-z_]+)", "(?:gauge|counter)"', monitor, re.MULTILINE)
    }


def test_verify_metrics_alerts_and_documents_say_the_same() -> None:
    """How to write the two files anew: CONTRIBUTING.md, *Where to add*."""
    assert (MONITORING / "rules.yml").read_text() == rules()
    assert table() in (REPOSITORY / "docs/monitoring.md").read_text()
    checks = {row.check for row in rows(right_cluster())} | {"reachable"}  # of hosts that are missing
    headings = re.findall(r"^## (.*)$", (REPOSITORY / "docs/runbook.md").read_text(), re.MULTILINE)
    metrics = told_metrics()
    for each in CONDITIONS:
        assert any(check == each.check or check.startswith(f"{each.check} ") for check in checks), each.alert
        assert each.runbook in headings, each.alert
        assert set(re.findall(r"f3s_\w+", each.expression)) <= metrics, each.alert
    assert len({each.alert for each in CONDITIONS}) == len(CONDITIONS)


def of_a_run(base: Path, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """Series -> value, as Prometheus gets them from a storage host and a client where a pool is DEGRADED."""
    host, client = Reporter(base / "f0"), Client(base, patch)
    host.state("pools", "zdata\t1000\t450\tDEGRADED\n")
    host.report()
    host.report()
    client.check()
    texts = {"f0": host.path("/var/run/f3s/report.prom"), "r0": base / "f3s.prom"}
    lines = [
        (*line.rsplit(" ", 1), instance)
        for instance, file in texts.items()
        for line in file.read_text().splitlines()
        if not line.startswith("#")
    ]
    return {
        f'{series.rstrip("}")}{"," if "{" in series else "{"}instance="{instance}"}}': value
        for series, value, instance in lines
    }


def test_the_dashboard_and_the_sentences_show_what_hosts_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each panel has something to show, and each label in its legend and in a sentence is one of the metric's."""
    found = of_a_run(tmp_path, monkeypatch)
    labels = {series.partition("{")[0]: set(re.findall(r'(\w+)="', series)) for series in found}
    assert told_metrics() - labels.keys() == {"f3s_report_unanswered"}, "all is answered"
    for each in CONDITIONS:
        words = set(re.findall(r"\{(\w+)\}", each.sentence)) - {"value", "duration", "reason"}
        assert words <= labels.get(each.metric, {"command"}), each.alert
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    for target in targets:
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        for name in re.findall(r"f3s_\w+", target["expr"]):
            assert legend <= labels[name], target
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 5
    tests = {
        "interval": "1m",
        "input_series": [
            {"series": series, "values": f"{value}{'-1' if '_free_' in series else '+0'}x60"}
            for series, value in found.items()
        ],
        "promql_expr_test": [
            {"expr": f"count({target['expr']}) > bool 0", "eval_time": "50m", "exp_samples": [SAMPLE]}
            for target in targets
        ],
    }
    promtool(tmp_path, [tests])


# right for an hour, wrong for two, right again: values by minute, in promtool's notation
def steady(right: float, wrong: float) -> str:
    return f"{right:g}+0x59 {wrong:g}+0x119 {right:g}+0x400"


STOPS = "0+60x59 3600+0x119 10800+60x400"
GOES_ON = "0+60x600"
SPECIAL = {
    "F3sPoolFullSoon": [('f3s_pool_free_bytes{pool="zdata"}', "1e12+0x59 1e12-1e9x119 3e12+0x400")],
    "F3sNotOneMaster": [
        ('f3s_storage_master{instance="f0"}', "1+0x600"),
        ('f3s_storage_master{instance="f1"}', steady(0, 1)),
    ],
    "F3sWritersDiffer": [
        ('f3s_storage_epoch{instance="f0"}', "1+0x600"),
        ('f3s_storage_epoch{instance="f1"}', steady(1, 2)),
    ],
    "F3sHostSilent": [
        ('f3s_report_timestamp_seconds{instance="f0"}', GOES_ON),
        ('f3s_report_timestamp_seconds{instance="f1"}', STOPS),
    ],
    "F3sAllSilent": [('f3s_report_timestamp_seconds{instance="f0"}', STOPS)],
}


def series(each: Condition) -> list[tuple[str, str]]:
    """What makes an alert come and go."""
    if each.alert in SPECIAL:
        return SPECIAL[each.alert]
    words = set(re.findall(r"\{(\w+)\}", each.sentence)) - {"value", "duration", "reason"}
    labels = "{" + ",".join(f'{word}="a {word}"' for word in ["instance", *sorted(words)]) + "}"
    limits = [(f"{each.limit}{labels}", "1800+0x600")] if isinstance(each.limit, str) else []
    if each.kind == "since":
        values = STOPS
    elif each.kind == "until":
        values = steady(1e9, 100)
    else:
        limit = float(each.limit)
        right, wrong = {"!=": (limit, 1 - limit), "<": (limit, limit - 1), ">": (limit, limit * 1.1 + 0.01)}[each.op]
        values = steady(right, -wrong if each.kind == "size" else wrong)
    return [(f"{each.metric}{labels}", values), *limits]


SAMPLE = {"labels": "{}", "value": 1}


def suite(each: Condition) -> dict[str, object]:
    """A test of promtool: nothing before, the alert while it is wrong for long enough, nothing after."""
    firing = f'ALERTS{{alertname="{each.alert}",alertstate="firing"}}'
    wanted = {59: 0, 178: 1, 500: 0}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series(each)],
        "promql_expr_test": [
            {"expr": f"count({firing})", "eval_time": f"{minute}m", "exp_samples": [SAMPLE] if count else []}
            for minute, count in wanted.items()
        ],
    }


def promtool(base: Path, tests: Sequence[Mapping[str, object]]) -> None:
    """promtool finds the rules and these tests of them right."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    (base / "tests.yml").write_text(yaml.safe_dump({"rule_files": [str(MONITORING / "rules.yml")], "tests": tests}))
    for words in (["check", "rules", str(MONITORING / "rules.yml")], ["test", "rules", str(base / "tests.yml")]):
        result = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_comes_and_goes(tmp_path: Path) -> None:
    tests = [suite(each) for each in CONDITIONS]
    late = {"zrepl_job": "a job", "dataset": "a dataset", "instance": "f0"}
    labels = ",".join(f'{name}="{value}"' for name, value in late.items())
    for values, age in ((STOPS, 7080), ("0+60x59 20000+0x400", -9320)):
        said = {
            "summary": "f0: " + REPLICA_LATE.said(age, **late),
            "runbook": f"docs/runbook.md, {REPLICA_LATE.runbook}",
        }
        alert = {"exp_labels": {**late, "severity": "critical"}, "exp_annotations": said}
        sentence = {
            "interval": "1m",
            "input_series": [
                {"series": f"{REPLICA_LATE.metric}{{{labels}}}", "values": values},
                {"series": f"{REPLICA_LATE.limit}{{{labels}}}", "values": "1800+0x600"},
            ],
            "alert_rule_test": [{"eval_time": "178m", "alertname": REPLICA_LATE.alert, "exp_alerts": [alert]}],
        }
        tests.append(sentence)
    promtool(tmp_path, tests)
