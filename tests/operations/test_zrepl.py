"""Exact commands for zrepl's configuration and jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra.facts.files import File, FileContents

from f3s.secretfile import ABSENT, SecretState
from f3s.services import ServiceState
from f3s.zfs import Snapshot, parse_datasets
from facts.secrets import SecretFile
from facts.services import Services
from facts.zfs import Datasets, Snapshots
from facts.zrepl import Jobs
from operations import zrepl
from tests.facts.recorded import ENC, PLAIN, zfs_get
from tests.operations.harness import FakeHost, Result, run
from tests.shell import words_of

FILES = Path(__file__).parents[2] / "files"
PATH = "/usr/local/etc/zrepl/zrepl.yml"
TEXT = "jobs: []  # it's $(empty)\n"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
JOB = "f0_to_f1_nfsdata"


# -- sources --


def test_sources_that_are_there_and_encrypted() -> None:
    known = {Datasets: parse_datasets([*zfs_get("zdata", PLAIN), *zfs_get("zdata/enc/nfsdata", ENC)])}
    result = run(zrepl.sources, known, {JOB: "zdata/enc/nfsdata"})
    assert (result.commands, result.noops) == ([], ["zdata/enc/nfsdata: there and encrypted"])


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "f0_to_f1_nfsdata: there is no dataset zdata/enc/nfsdata; make it, or take the job out of zrepl_jobs"),
        (zfs_get("zdata/enc/nfsdata", PLAIN), "zdata/enc/nfsdata is not encrypted"),
        (
            [*zfs_get("zdata/enc/nfsdata", ENC), *zfs_get("zdata/enc/nfsdata/x", PLAIN)],
            "zdata/enc/nfsdata/x is not encrypted",
        ),
    ],
)
def test_a_source_that_cannot_be_sent_stops_the_run_but_not_the_plan(lines: list[str], problem: str) -> None:
    known = {Datasets: parse_datasets(lines)}
    assert problem in run(zrepl.sources, known, {JOB: "zdata/enc/nfsdata"}, executing=False).noops[0]
    with pytest.raises(OperationError, match=problem) as stopped:
        run(zrepl.sources, known, {JOB: "zdata/enc/nfsdata"})
    assert "nothing was changed" in str(stopped.value)


# -- config --


def config(found: SecretState | None, diff: bool = False) -> tuple[list[Any], list[str]]:
    host = FakeHost({SecretFile: found, FileContents: ["jobs: [a]"]})
    state = SimpleNamespace(is_executing=True, config=SimpleNamespace(DIFF=diff))
    with ctx_host.use(host), ctx_state.use(state):  # type: ignore[arg-type]
        return list(zrepl.config._inner(PATH, TEXT)), host.noops


def state_of_file(**changes: str) -> SecretState:
    return SecretState(**{"mode": "600", "user": "root", "group": "wheel", "sha256": DIGEST, **changes})


def test_the_wanted_configuration_is_left_alone() -> None:
    assert config(state_of_file()) == ([], [f"{PATH} has the wanted content, owner and mode"])


@pytest.mark.parametrize("found", [ABSENT, state_of_file(sha256="0" * 64), state_of_file(mode="644")])
def test_another_one_goes_through_configcheck(found: SecretState) -> None:
    (put,), noops = config(found)
    assert noops == []
    script = (FILES / "once" / "put-zrepl-config.sh").read_text()
    words = ["sh", "-c", script.rstrip("\n"), "put-zrepl-config", PATH, DIGEST, zrepl.UNREAD]
    assert words_of(put.get_raw_value()) == words
    assert put.connector_arguments == {"_stdin": TEXT}


def test_diff_shows_the_change(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="pyinfra"):
        config(state_of_file(sha256="0" * 64), diff=True)
    assert "jobs: [a]" in caplog.text
    assert "jobs: []" in caplog.text


def test_an_unknown_file_stops_it() -> None:
    with pytest.raises(OperationError, match="could not be read; nothing was changed"):
        config(None)


# -- running --


def running(service: ServiceState | None, unread: bool = False, executing: bool = True, **found: str) -> Result:
    facts = {
        Services: None if service is None else {"zrepl": service},
        File: {"mode": 600} if unread else None,
        SecretFile: state_of_file(**found),
    }
    return run(zrepl.running, facts, PATH, TEXT, executing=executing)


@pytest.mark.parametrize(
    ("service", "unread", "verb"),
    [
        (ServiceState.STOPPED, False, "onestart"),
        (ServiceState.STOPPED, True, "onestart"),
        (ServiceState.RUNNING, True, "onerestart"),
    ],
)
def test_zrepl_is_started_or_restarted_and_then_has_read_its_file(
    service: ServiceState, unread: bool, verb: str
) -> None:
    [command] = running(service, unread).commands
    assert words_of(command.partition(" && ")[0])[3:] == ["run-service", "zrepl", verb]
    assert command.endswith(f" && rm -f {zrepl.UNREAD}")


def test_a_zrepl_that_has_read_its_file_is_left_alone() -> None:
    assert running(ServiceState.RUNNING).noops == ["zrepl runs with the configuration in place"]


def test_the_plan_shows_the_restart_that_a_new_file_will_bring() -> None:
    assert len(running(ServiceState.RUNNING, executing=False, sha256="0" * 64).commands) == 1
    assert len(running(ServiceState.MISSING, executing=False).commands) == 1


def test_zrepl_that_is_missing_or_unknown_stops_the_run() -> None:
    with pytest.raises(OperationError, match="there is no service zrepl"):
        running(ServiceState.MISSING)
    with pytest.raises(OperationError, match="Services could not be read"):
        running(None)


# -- woken --


SOURCE = "zdata/enc/nfsdata"
OWN = (Snapshot(f"{SOURCE}@x", "1", 1, 1), Snapshot("zdata/enc@x", "2", 1, 1))
ARRIVED = (Snapshot(f"{REPLICA}@x", "1", 1, 1),)


def woken(snapshots: Any, connected: bool = True, own: tuple[Snapshot, ...] = OWN) -> tuple[list[Any], list[str]]:
    peer = SimpleNamespace(connected=connected, get_fact=lambda fact: {Snapshots: snapshots}[fact])
    host = FakeHost({Snapshots: own})
    state = SimpleNamespace(is_executing=True, inventory=SimpleNamespace(get_host={"f1": peer}.__getitem__))
    with ctx_host.use(host), ctx_state.use(state):  # type: ignore[arg-type]
        return list(zrepl.woken._inner({JOB: (SOURCE, "f1", REPLICA)})), host.noops


def test_a_job_is_woken_until_its_replica_has_arrived() -> None:
    (wake,), _ = woken((Snapshot("zdata/sink/f0/other@x", "1", 1, 1),))
    assert words_of(wake)[3:] == ["wake-zrepl-job", JOB]
    assert woken(None)[0] == [wake]
    assert woken((), own=())[0] == [wake]
    assert woken(ARRIVED) == ([], [f"{REPLICA}: arrived on f1"])


def test_a_job_is_woken_for_what_lies_below_its_dataset() -> None:
    own = (*OWN, Snapshot(f"{SOURCE}/disk0@x", "3", 2, 2))
    assert len(woken(ARRIVED, own=own)[0]) == 1
    assert woken((*ARRIVED, Snapshot(f"{REPLICA}/disk0@x", "3", 2, 2)), own=own)[0] == []


def test_a_job_whose_target_is_not_in_the_run_is_left_alone() -> None:
    commands, noops = woken((), connected=False)
    assert commands == []
    assert "f1 is not part of this run" in noops[0]


# -- jobs_reported --


def reported(jobs: dict[str, str | None] | None, executing: bool = True) -> Iterator[str]:
    result = run(zrepl.jobs_reported, {Jobs: jobs}, (JOB,), executing=executing)
    assert result.commands == []
    return iter(result.logs)


def test_a_failed_job_is_reported_and_a_good_one_is_not() -> None:
    assert list(reported({JOB: "zdata/enc/nfsdata: no route to host"})) == [
        "replication job f0_to_f1_nfsdata failed: zdata/enc/nfsdata: no route to host"
    ]
    assert list(reported({JOB: None})) == []
    assert list(reported(None, executing=False)) == []


def test_a_daemon_that_does_not_know_the_job_or_does_not_answer_stops_the_run() -> None:
    with pytest.raises(OperationError, match="the running zrepl has no job f0_to_f1_nfsdata"):
        reported({})
    with pytest.raises(OperationError, match="Jobs could not be read"):
        reported(None)
