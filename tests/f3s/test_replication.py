"""What zrepl's status means, and when a replica is old."""

from __future__ import annotations

import json
from typing import Any

import pytest

from f3s.replication import allowed_age, parse_status
from tests.facts.zrepl_output import DONE, PLANNING_FAILED, SNAPSHOTS_FAILED, raw, status

JOB = "f0_to_f1_nfsdata"


def error(text: str) -> str | None:
    jobs = parse_status(text)
    assert list(jobs) == [JOB]
    return jobs[JOB]


# as internal/replication/report/replication_report.go marshals it
STEP = {"Err": "destination has been modified\nsince most recent snapshot\n", "Time": "x"}
FAILED = DONE | {"State": "filesystem-error"}
FAILED |= {"Filesystems": [{**DONE["Filesystems"][0], "State": "step-error", "StepError": STEP}]}  # type: ignore[dict-item]
REFUSED = {"Err": "dial tcp 192.168.2.131:8888: connect: connection refused", "Time": "x"}


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ({}, None),  # before the first run
        ({"Attempts": [DONE]}, None),
        ({"Attempts": [PLANNING_FAILED, DONE]}, None),
        *(({"Attempts": [DONE | {"State": now}]}, None) for now in ("planning", "fan-out-filesystems")),
        # it failed before it knew its file systems, or one of them did
        (
            {"Attempts": [DONE, PLANNING_FAILED]},
            "zfs exited with error: exit status 1 stderr: stub: list -H -p -o name -r -t filesystem,volume",
        ),
        ({"Attempts": [FAILED]}, "zdata/enc/nfsdata: destination has been modified since most recent snapshot"),
        # it waits for the target
        ({"Attempts": [], "WaitReconnectError": REFUSED}, REFUSED["Err"]),
        ({"Attempts": [DONE | {"State": "planning"}], "WaitReconnectError": REFUSED}, REFUSED["Err"]),
    ],
)
def test_what_a_job_says(report: dict[str, Any], says: str | None) -> None:
    assert error(status(**report)) == says


def test_snapshots_that_fail_are_a_failure_although_the_old_ones_are_replicated() -> None:
    report = json.loads(status(Attempts=[DONE]))["Jobs"][JOB]["push"]["Replication"]
    text = raw({**SNAPSHOTS_FAILED, "Replication": report})
    assert error(text) == "one or more snapshots could not be created, check logs for details"


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "<html>", '{"Jobs": {"x": {"type": "push"}}}', status(Attempts=[{"State": "dreaming"}])],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not the output of|unknown state"):
        parse_status(text)


def test_allowed_age_covers_a_missed_run() -> None:
    assert allowed_age(60) == 180
    assert allowed_age(600) == 1260
