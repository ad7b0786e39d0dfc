"""What zrepl's status and figures mean, and when a replica is old."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from f3s.replication import JobStatus, allowed_age, newest_common, parse_status
from f3s.zfs import Snapshot
from tests.facts.zrepl_output import (
    DONE,
    PLANNING_FAILED,
    SNAPSHOTS_FAILED,
    raw,
    status,
)

JOB = "f0_to_f1_nfsdata"


def read(text: str) -> JobStatus:
    jobs = parse_status(text)
    assert list(jobs) == [JOB]
    return jobs[JOB]


def test_a_run_that_ended_well() -> None:
    ended = datetime(2026, 11, 22, 16, 13, 15, 542539, UTC)
    assert read(status(Attempts=[DONE])) == JobStatus(JOB, False, ended, None)
    assert read(status(Attempts=[PLANNING_FAILED, DONE])).succeeded_at == ended


def test_a_run_that_failed_before_it_knew_its_file_systems() -> None:
    found = read(status(Attempts=[DONE, PLANNING_FAILED]))
    assert found.succeeded_at is None
    assert found.error == (
        "zfs exited with error: exit status 1 stderr: stub: list -H -p -o name -r -t filesystem,volume"
    )


def test_a_run_in_which_a_file_system_failed() -> None:
    # as internal/replication/report/replication_report.go marshals it
    failed = json.loads(json.dumps(DONE)) | {"State": "filesystem-error"}
    failed["Filesystems"][0] |= {
        "State": "step-error",
        "StepError": {"Err": "destination has been modified\nsince most recent snapshot\n", "Time": "x"},
    }
    found = read(status(Attempts=[failed]))
    assert found == JobStatus(
        JOB, False, None, "zdata/enc/nfsdata: destination has been modified since most recent snapshot"
    )


@pytest.mark.parametrize("state", ["planning", "fan-out-filesystems"])
def test_a_run_that_is_under_way(state: str) -> None:
    running = DONE | {"State": state, "FinishAt": "0001-01-01T00:00:00Z"}
    assert read(status(Attempts=[running])) == JobStatus(JOB, True, None, None)


def test_a_run_that_waits_for_the_target() -> None:
    error = {"Err": "dial tcp 192.168.2.131:8888: connect: connection refused", "Time": "x"}
    running = DONE | {"State": "planning"}
    found = read(status(Attempts=[running], WaitReconnectError=error))
    assert found == JobStatus(JOB, True, None, error["Err"])
    assert read(status(Attempts=[], WaitReconnectError=error)).error == error["Err"]


def test_before_the_first_run() -> None:
    assert read(status()) == JobStatus(JOB, False, None, None)


def test_snapshots_that_fail_are_a_failure_although_the_old_ones_are_replicated() -> None:
    report = json.loads(status(Attempts=[DONE]))["Jobs"][JOB]["push"]["Replication"]
    found = read(raw({**SNAPSHOTS_FAILED, "Replication": report}))
    assert found.succeeded_at is None
    assert found.error == "one or more snapshots could not be created, check logs for details"


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
