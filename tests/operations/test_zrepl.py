"""Exact commands for zrepl's configuration and jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pyinfra.api.exceptions import OperationError
from pyinfra.facts.files import File

from f3s.services import ServiceState
from f3s.textfile import TextFile, digest
from f3s.zfs import Snapshot, parse_datasets
from f3s.zrepl import host_config
from f3s.zrepl_file import merged
from facts.services import Services
from facts.textfile import TextFileOf
from facts.zfs import Datasets, Pools, Referenced, Snapshots
from facts.zrepl import Jobs
from operations import zrepl
from tests.f3s.replication_sites import F0, F1, job, site
from tests.f3s.verify.world import pool
from tests.facts.recorded import ENC, PLAIN, zfs_get
from tests.operations.harness import FakeHost, Result, run, text_file
from tests.shell import words_of

PATH = "/usr/local/etc/zrepl/zrepl.yml"
JOB = "f0_to_f1_nfsdata"
_SITE = site(job(JOB, F0, F1))
OURS: dict[str, Any] = host_config(_SITE.host(F0), _SITE) or {}
TEXT = merged("", OURS)
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
SOURCE = "zdata/enc/nfsdata"
OWN = (Snapshot(f"{SOURCE}@x", "1", 1, 1), Snapshot("zdata/enc@x", "2", 1, 1))
ARRIVED = (Snapshot(f"{REPLICA}@x", "1", 1, 1),)


# -- sources --


def test_sources_that_are_there_and_encrypted() -> None:
    known = {Datasets: parse_datasets([*zfs_get("zdata", PLAIN), *zfs_get("zdata/enc/nfsdata", ENC)])}
    result = run(zrepl.sources, known, {JOB: "zdata/enc/nfsdata"})
    assert (result.commands, len(result.noops)) == ([], 1)


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
def test_a_source_that_cannot_be_sent_stops_the_run_and_the_plan(lines: list[str], problem: str) -> None:
    known = {Datasets: parse_datasets(lines)}
    for executing in (False, True):
        with pytest.raises(OperationError, match=problem) as stopped:
            run(zrepl.sources, known, {JOB: "zdata/enc/nfsdata"}, executing=executing)
        assert "nothing was changed" in str(stopped.value)


@pytest.mark.parametrize(
    ("datasets", "comes"),
    [
        ({}, True),  # of the primary, which tasks/zfs_encrypt.py makes
        ({"zroot/vm": PLAIN, "zroot/vm/a": PLAIN}, True),
        ({"zroot/vm": ENC, "zroot/vm_old": PLAIN, "zroot/vm_old/a": PLAIN}, True),
        ({"zroot/vm_old": PLAIN, "zroot/vm_old/a": PLAIN}, True),
        ({"zroot/vm": PLAIN}, False),
        ({"zroot/vm": ENC, "zroot/vm/a": PLAIN}, False),  # nothing encrypts it
    ],
)
def test_what_an_earlier_task_makes_or_encrypts_is_no_reason_in_the_plan(datasets: Any, comes: bool) -> None:
    known = {Datasets: parse_datasets([line for name, of in datasets.items() for line in zfs_get(name, of)])}
    arguments = (
        {JOB: "zroot/vm/a" if datasets else "zdata/enc/nfsdata"},
        ["zdata/enc/nfsdata"],
        ("zroot/vm", "zroot/vm_old"),
    )
    for executing in (False, True):
        if comes and not executing:
            run(zrepl.sources, known, *arguments, executing=False)
        else:
            with pytest.raises(OperationError, match=r"there is no dataset|is not encrypted"):
                run(zrepl.sources, known, *arguments, executing=executing)


# -- room --


@pytest.mark.parametrize(
    ("free", "size", "arrived", "stops"),
    [
        (500, 100, (), False),
        (500, 401, (), True),  # it would be more than 90 % full
        (90, 0, (), True),  # and is so already
        (90, 0, ARRIVED, False),
        (90, 0, None, False),  # a target that is off
    ],
)
def test_what_was_never_replicated_needs_room(free: int, size: int, arrived: Any, stops: bool) -> None:
    pools = {"zdata": replace(pool("zdata"), size=1000, free=free)}
    facts = {Snapshots: arrived, Datasets: parse_datasets(zfs_get("zdata", PLAIN)), Pools: pools}
    told = f"{F1}: {REPLICA}: 0.0 GiB are to come into zdata, .* at 90%"
    with pytest.raises(OperationError, match=told) if stops else nullcontext():
        given = {Referenced: {SOURCE: size}}, {JOB: (SOURCE, F1, REPLICA)}
        assert len(run(zrepl.room, *given, peers={F1: FakeHost(facts, name=F1)}).noops) == 1


# -- history_kept --

NOW = 200 * 86400
HISTORY = [NOW - 86400 * day for day in range(0, 100, 10)]


def history(dataset: str) -> tuple[Snapshot, ...]:
    """One each ten days; our rules keep the last ten and a fortnight, the operator's keep all."""
    names = (time.strftime("zrepl_%Y%m%d_%H%M%S_000", time.gmtime(when)) for when in HISTORY)
    return tuple(
        Snapshot(f"{dataset}@{name}", str(when), when, when) for name, when in zip(names, HISTORY, strict=True)
    )


def kept(text: str, theirs: Any = (), allowed: Sequence[str] = (), **changes: Any) -> Result:
    facts = {
        TextFileOf: text_file(text, "600"),
        Snapshots: history("zdata/enc/nfsdata"),
        Datasets: parse_datasets(zfs_get("zdata/enc/nfsdata", ENC)),
    }
    config = deepcopy(OURS)
    for side in ("keep_sender", "keep_receiver"):
        config["jobs"][0]["pruning"][side] = [{"type": "last_n", "count": 4, "regex": "^zrepl_"}, *KEEP_OTHERS]
    config["jobs"][0]["pruning"].update(changes)
    arguments = (PATH, config, {JOB: ("zdata/enc/nfsdata", F1, REPLICA)}, allowed)
    return run(zrepl.history_kept, facts, *arguments, peers={F1: FakeHost({Snapshots: theirs}, name=F1)})


KEEP_OTHERS = [{"type": "regex", "negate": True, "regex": "^zrepl_"}]
KEEPS_ALL = f"""jobs:
- name: {JOB}
  type: push
  connect: {{type: tcp, address: '192.168.2.131:8888'}}
  filesystems: {{zdata/enc/nfsdata: true}}
  pruning: {{keep_sender: [{{type: regex, regex: .*}}], keep_receiver: [{{type: last_n, count: 5}}]}}
"""


def test_snapshots_that_the_rules_before_kept_stop_the_run_on_either_side() -> None:
    with pytest.raises(OperationError, match=r"6 of zdata/enc/nfsdata on f0\.lan\.buetow\.org: zrepl_19") as stopped:
        kept(KEEPS_ALL, theirs=history(REPLICA))
    assert f"1 of {REPLICA} on {F1}: " in str(stopped.value), "of the others no more than five were kept"
    assert f"zrepl_prune_history = ['{JOB}']" in str(stopped.value)
    assert kept(KEEPS_ALL, theirs=history(REPLICA), allowed=[JOB]).commands == []
    # a job that is new to a dataset with a history
    rules = {side: [{"type": "last_n", "count": 4}] for side in ("keep_sender", "keep_receiver")}
    elsewhere = {**OURS["jobs"][0], "filesystems": {"zdata/enc/other<": True}, "pruning": rules}
    for before in ("", yaml.safe_dump({"jobs": [elsewhere]})):
        with pytest.raises(OperationError, match="6 of zdata/enc/nfsdata"):
            kept(before, **rules)


def test_rules_that_are_in_force_or_keep_as_much_are_no_reason() -> None:
    same = KEEPS_ALL.replace("count: 5", "count: 4").replace("{type: regex, regex: .*}", "{type: last_n, count: 4}")
    assert kept(same, theirs=history(REPLICA)).noops
    in_force = {side: [{"type": "last_n", "count": 1}] for side in ("keep_sender", "keep_receiver")}
    now = yaml.safe_dump({"jobs": [{**OURS["jobs"][0], "pruning": in_force}]})
    assert kept(now, theirs=None, **in_force).noops, "and the target is not asked"


def test_a_target_that_cannot_be_asked_stops_new_rules() -> None:
    with pytest.raises(OperationError, match=f"{F1} cannot be asked which of its snapshots"):
        kept(KEEPS_ALL, theirs=None)


# -- config --


def file(text: str, mode: str = "600") -> TextFile:
    return text_file(text, mode) if text else TextFile()


def config(found: TextFile | None, diff: bool = False, replace: bool = False) -> Result:
    return run(zrepl.config, {TextFileOf: found}, PATH, OURS, replace, diff=diff)


def test_the_wanted_configuration_is_left_alone_but_for_its_mode() -> None:
    assert config(file(TEXT)) == Result([], [f"{PATH} has the wanted content, owner and mode"])
    (change,) = config(file(TEXT, mode="644")).commands
    assert change.get_raw_value() == f"chown root:wheel {PATH} && chmod 0600 {PATH}"


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("", "no"),
        (TEXT.replace("1m", "2m"), "no"),
        (KEEPS_ALL, "yes"),  # not of this deploy: it stays beside the new one
    ],
)
def test_another_one_goes_through_configcheck(text: str, copied: str) -> None:
    done = config(file(text))
    (put,) = done.commands
    assert done.noops == []
    sent = put.connector_arguments["_stdin"]
    old = digest(text) if text else "absent"
    check = "zrepl configcheck --config"
    words = ["replace-file", PATH, old, digest(sent), "0600", copied, zrepl.UNREAD, check]
    assert words_of(put.get_raw_value())[3:] == words
    assert yaml.safe_load(sent)["jobs"] == OURS["jobs"]


def test_diff_shows_the_change() -> None:
    shown = "".join(config(file(TEXT.replace("1m", "9m")), diff=True).logs)
    assert ["interval: 9m" in shown, "interval: 1m" in shown] == [True, True]


def test_a_job_that_is_no_longer_in_the_data_goes_with_a_word() -> None:
    done = config(file(TEXT.replace(f"name: {JOB}", "name: earlier")))
    assert [put.connector_arguments["_stdin"] for put in done.commands] == [TEXT]
    assert ["earlier: no longer in zrepl_jobs" in line for line in done.logs] == [True]


def test_one_without_a_place_for_our_jobs_is_replaced_only_if_the_data_say_so() -> None:
    with pytest.raises(OperationError, match=f"{PATH} was left as it is: `include` .* Or name {PATH} in replace_files"):
        config(file(f"include: [more.yml]\n{TEXT}"))
    (put,) = config(file(f"include: [more.yml]\n{TEXT}"), replace=True).commands
    assert put.connector_arguments["_stdin"] == TEXT
    assert words_of(put.get_raw_value())[8] == "yes", "although there is something of ours in it"


# -- running --


def running(service: ServiceState, unread: bool = False, executing: bool = True, text: str = "") -> Result:
    facts = {
        Services: {"zrepl": service},
        File: {"mode": 600} if unread else None,
        TextFileOf: file(text or TEXT),
    }
    return run(zrepl.running, facts, PATH, OURS, False, executing=executing)


STOPPED, RUNS = ServiceState.STOPPED, ServiceState.RUNNING


@pytest.mark.parametrize(
    ("service", "unread", "verb"),
    [(STOPPED, False, "onestart"), (STOPPED, True, "onestart"), (RUNS, True, "onerestart")],
)
def test_zrepl_is_started_or_restarted_and_then_has_read_its_file(
    service: ServiceState, unread: bool, verb: str
) -> None:
    [command] = running(service, unread).commands
    assert words_of(command.partition(" && ")[0])[3:] == ["run-service", "zrepl", verb]
    assert command.endswith(f" && rm -f {zrepl.UNREAD}")


def test_a_zrepl_that_has_read_its_file_is_left_alone() -> None:
    assert running(RUNS) == Result([], ["zrepl runs with the configuration in place"])
    # the plan shows the restart that a new file will bring
    assert len(running(RUNS, executing=False, text=KEEPS_ALL).commands) == 1
    assert len(running(ServiceState.MISSING, executing=False).commands) == 1


def test_zrepl_that_is_missing_or_unknown_stops_the_run() -> None:
    with pytest.raises(OperationError, match="there is no service zrepl"):
        running(ServiceState.MISSING)


# -- woken --


def woken(snapshots: Any, connected: bool = True, own: tuple[Snapshot, ...] = OWN) -> Result:
    peer = SimpleNamespace(connected=connected, get_fact=lambda fact: {Snapshots: snapshots}[fact])
    return run(zrepl.woken, {Snapshots: own}, {JOB: (SOURCE, "f1", REPLICA)}, peers={"f1": peer})


def test_a_job_is_woken_until_its_replica_has_arrived() -> None:
    (wake,) = woken((Snapshot("zdata/sink/f0/other@x", "1", 1, 1),)).commands
    assert words_of(wake)[3:] == ["wake-zrepl-job", JOB]
    assert woken(None).commands == [wake]
    assert woken((), own=()).commands == [wake]
    assert woken(ARRIVED) == Result([], [f"{REPLICA}: arrived on f1"])
    # and for what lies below its dataset
    own = (*OWN, Snapshot(f"{SOURCE}/disk0@x", "3", 2, 2))
    assert len(woken(ARRIVED, own=own).commands) == 1
    assert woken((*ARRIVED, Snapshot(f"{REPLICA}/disk0@x", "3", 2, 2)), own=own).commands == []


def test_a_job_whose_target_is_not_in_the_run_is_left_alone() -> None:
    result = woken((), connected=False)
    assert (result.commands, ["f1 is not part of this run" in why for why in result.noops]) == ([], [True])


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


def test_a_daemon_that_does_not_answer_is_reported() -> None:
    """zrepl-watch starts it."""
    assert list(reported(None)) == ["zrepl does not answer; one that has died is started within a minute"]


def test_a_daemon_that_does_not_know_the_job_stops_the_run() -> None:
    with pytest.raises(OperationError, match="the running zrepl has no job f0_to_f1_nfsdata"):
        reported({})
