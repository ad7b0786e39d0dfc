"""Steps of the way back when their turn comes: planned again, sent until all has arrived, on the right host."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_state

from f3s.clock import Offset, Reading
from f3s.controller import Status
from f3s.returning import Step, Way
from facts.controller import StorageController
from facts.zfs import Datasets
from operations import base, returning
from tests.f3s.test_returning import COMMON, FINAL, NEW, NFS, READY, SENT, WRITES, A, home, says, way
from tests.f3s.verify.world import F0, F1, SITE
from tests.operations.harness import Result, run

BEGINS = way(home({NFS: ["a", COMMON, "own"]}), WRITES)
CLONED = way(home({NFS: ["own"], NEW: ["a", COMMON]}), WRITES)
TAKEN = way(home({NFS: ["own"], NEW: ["a", COMMON]}), SENT)
ARRIVED = way(home({NFS: ["own"], NEW: ["a", COMMON, A]}), SENT)


def step(found: Way, key: str) -> Step:
    return next(each for each in found.steps() if each.key == key)


def runs(monkeypatch: pytest.MonkeyPatch, planned: Step, *found: Way, executing: bool = True) -> Result:
    """One after the other is what the hosts are found in."""
    states: Iterator[Way] = iter(found)
    monkeypatch.setattr(returning, "way", lambda site, before=None: next(states))
    result = run(returning.step, {}, planned, SITE, executing=executing)
    assert next(states, None) is None, "not all were looked at"
    return result


def test_the_plan_shows_commands_without_looking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = step(BEGINS, "keep")
    assert [(each.name, str(each)) for each in runs(monkeypatch, planned, executing=False).commands] == [
        (host, str(line)) for host, line in planned.commands
    ]


def test_what_is_done_meanwhile_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs(monkeypatch, step(BEGINS, "keep"), CLONED).noops[0].startswith("not needed any more: what f0 wrote")


def test_no_step_is_jumped_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperationError, match="the next step is now 'what f0 wrote after"):
        runs(monkeypatch, step(CLONED, "place"), BEGINS)
    with pytest.raises(OperationError, match="f1 was not promoted"):
        runs(monkeypatch, step(BEGINS, "keep"), way(home({NFS: ["a"]}), says(WRITES, writer="f0", epoch=0)))


def test_all_that_there_is_is_sent_and_known_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "known_of", lambda name, fact: None)
    taken, sent = runs(monkeypatch, step(CLONED, "catch up"), CLONED, TAKEN, ARRIVED).commands
    assert taken.name == F1
    assert isinstance(sent, returning.Transfer)
    assert (sent.source, sent.target) == (F1, F0)
    with pytest.raises(OperationError, match=f"did not arrive.*zfs receive -A {NEW}"):
        runs(monkeypatch, step(CLONED, "catch up"), CLONED, TAKEN, TAKEN)


def test_a_slow_difference_is_followed_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([4000, 10])
    monkeypatch.setattr(returning, "known_of", lambda name, fact: Reading(next(clock), Offset(0, 0)))
    done = runs(monkeypatch, step(CLONED, "catch up"), CLONED, TAKEN, ARRIVED, TAKEN, ARRIVED)
    assert [type(each).__name__ for each in done.commands] == ["On", "Transfer"] * 2


def test_the_last_difference_is_sent_only_from_what_nobody_writes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    freeze = step(way(READY, SENT), "freeze")
    with pytest.raises(OperationError, match="did not become read-only"):
        runs(monkeypatch, freeze, way(READY, SENT), way(READY, SENT))
    whole = says(home({NFS: ["a", COMMON, A, "z"]}, zrepl=False), ready=True)
    found = runs(monkeypatch, freeze, way(READY, SENT), way(READY, FINAL), way(READY, FINAL), way(whole, FINAL))
    assert [str(each)[:20] for each in found.commands[:2]] == ["echo 1 >/var/db/f3s/", "zfs set readonly=on "]
    assert str(found.commands[2]).endswith("_000")
    assert isinstance(found.commands[3], returning.Transfer)


def test_a_command_runs_on_its_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def member(name: str) -> Any:
        def shell(line: object, **_: object) -> tuple[bool, str]:
            ran.append((name, str(line)))
            return name == F0, name

        return SimpleNamespace(run_shell_command=shell)

    for module in (base, returning):
        monkeypatch.setattr(module, "inventory", SimpleNamespace(get_host=member))
    monkeypatch.setattr(base, "pop_global_arguments", lambda *_: ({}, []))
    with ctx_state.use(SimpleNamespace(print_input=False)):  # type: ignore[arg-type]
        assert returning.On(F1, "one").execute(None, None, {}) == (False, F1)  # type: ignore[arg-type]
        assert returning.Transfer(F1, "send", F0, "receive").execute(None, None, {}) == (True, F0)  # type: ignore[arg-type]
    # nobody whom a killed run has left there may take the stream, so he is told before it begins
    assert ran[:2] == [(F1, "one"), (F0, "rm -f /var/run/f3s/receiver")]
    assert sorted(ran[2:]) == [(F0, "receive"), (F1, "send")]


@pytest.mark.parametrize(
    ("datasets", "theirs", "owed"),
    [
        ({}, Status(writer="f1"), True),
        ({}, Status(writer="f0"), False),
        ({}, Status(), False),
        ({}, None, False),
        ({NFS: None}, Status(writer="f1"), False),
    ],
)
def test_a_primary_without_data_makes_none_while_the_promoted_standby_has_them(
    datasets: dict[str, None], theirs: Status | None, owed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {Datasets: datasets, StorageController: theirs}
    monkeypatch.setattr(returning, "known", asked.get)
    monkeypatch.setattr(returning, "known_of", lambda name, fact: asked[fact])
    monkeypatch.setattr(returning, "host", SimpleNamespace(name=F0))
    assert returning.owed(SITE) is owed
    monkeypatch.setattr(returning, "host", SimpleNamespace(name=F1))
    assert not returning.owed(SITE)
