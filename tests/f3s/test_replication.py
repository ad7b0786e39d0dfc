"""What zrepl's status means, and when a replica is old."""

from __future__ import annotations

import json

import pytest

from f3s.replication import allowed_age, newest_common, parse_status
from f3s.zfs import Snapshot
from tests.facts.zrepl_output import (
    DONE,
    PLANNING_FAILED,
    SNAPSHOTS_FAILED,
    raw,
    status,
)

JOB = "f0_to_f1_nfsdata"
UNDER_WAY = ("planning", "fan-out-filesystems")


def error(text: str) -> str | None:
    jobs = parse_status(text)
    assert list(jobs) == [JOB]
    return jobs[JOB]


def test_a_job_that_goes_well() -> None:
    for attempts in ([DONE], [PLANNING_FAILED, DONE], *([DONE | {"State": now}] for now in UNDER_WAY)):
        assert error(status(Attempts=attempts)) is None
    assert error(status()) is None, "before the first run"


def test_a_run_that_failed_before_it_knew_its_file_systems() -> None:
    assert error(status(Attempts=[DONE, PLANNING_FAILED])) == (
        "zfs exited with error: exit status 1 stderr: stub: list -H -p -o name -r -t filesystem,volume"
    )


def test_a_run_in_which_a_file_system_failed() -> None:
    # as internal/replication/report/replication_report.go marshals it
    failed = json.loads(json.dumps(DONE)) | {"State": "filesystem-error"}
    failed["Filesystems"][0] |= {
        "State": "step-error",
        "StepError": {"Err": "destination has been modified\nsince most recent snapshot\n", "Time": "x"},
    }
    assert error(status(Attempts=[failed])) == (
        "zdata/enc/nfsdata: destination has been modified since most recent snapshot"
    )


def test_a_run_that_waits_for_the_target() -> None:
    refused = {"Err": "dial tcp 192.168.2.131:8888: connect: connection refused", "Time": "x"}
    for attempts in ([], [DONE | {"State": "planning"}]):
        assert error(status(Attempts=attempts, WaitReconnectError=refused)) == refused["Err"]


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


def snapshots(dataset: str, *guids: str) -> list[Snapshot]:
    return [Snapshot(f"{dataset}@s{guid}", guid, txg, 100 * txg) for txg, guid in enumerate(guids, 10)]


def test_the_newest_common_snapshot_is_found_by_guid_and_named_as_on_the_replica() -> None:
    found = newest_common(snapshots("a", "1", "2", "3", "5"), snapshots("b", "2", "3", "4"))
    assert found is not None
    assert found.name == "b@s3"
    assert newest_common(snapshots("a", "1"), snapshots("b", "2")) is None
    assert newest_common([], []) is None


def test_allowed_age_covers_a_missed_run() -> None:
    assert allowed_age(60) == 180
    assert allowed_age(600) == 1260
