"""Steps of the way back of a machine when their turn comes: planned again, sent until all has arrived."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyinfra.api.exceptions import OperationError

from f3s.machines import MachineWay
from f3s.returning import Step
from operations import machines
from operations.base import On
from operations.returning import Transfer
from tests.f3s.test_machines import (
    ARRIVED,
    BEGUN,
    CLONED,
    DISK,
    FEDORA,
    JOB,
    NEW,
    NEW_DISK,
    OFF,
    PLACED,
    RUNS,
    SENT,
    WRITES,
    C,
    E,
    away,
    closed,
    way,
)
from tests.f3s.verify.world import F0, F1, SITE
from tests.operations.harness import Result, run

HALF = closed({FEDORA: "own", DISK: "own", NEW: f"a {C} {E}", NEW_DISK: f"a {C}"})


def step(found: MachineWay, key: str) -> Step:
    return next(each for each in found.steps() if each.key == key)


def runs(monkeypatch: pytest.MonkeyPatch, planned: Step, *found: MachineWay, executing: bool = True) -> Result:
    """One after the other is what the hosts are found in."""
    states: Iterator[MachineWay] = iter(found)
    monkeypatch.setattr(machines, "way", lambda site, job: next(states))
    result = run(machines.step, {}, planned, SITE, JOB, executing=executing)
    assert next(states, None) is None, "not all were looked at"
    return result


def test_the_plan_shows_commands_without_looking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = step(way(BEGUN, WRITES), "send")
    shown = runs(monkeypatch, planned, executing=False).commands
    assert [(each.name, str(each)) for each in shown] == [(F1, str(line)) for _, line in planned.commands]


def test_all_datasets_are_sent_and_known_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    send = step(way(CLONED, WRITES), "send")
    states = (way(CLONED, WRITES), way(CLONED, SENT), way(HALF, SENT), way(ARRIVED, SENT))
    commands = runs(monkeypatch, send, *states).commands
    assert [type(each) for each in commands] == [On] * 3 + [Transfer] * 2
    assert {(each.source, each.target) for each in commands[3:]} == {(F1, F0)}
    with pytest.raises(OperationError, match=f"did not arrive.*zfs receive -A {NEW_DISK}"):
        runs(monkeypatch, send, way(CLONED, WRITES), way(HALF, SENT), way(HALF, SENT))
    written = way(ARRIVED, away(E, written=5))
    with pytest.raises(OperationError, match=r"on f1 was written to\. Run again"):
        runs(monkeypatch, send, way(CLONED, WRITES), written)
    assert runs(monkeypatch, step(written, "send"), written, way(ARRIVED, SENT)).commands


def test_no_step_is_jumped_over_and_none_is_done_twice_or_under_a_running_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep, place = step(way(BEGUN, WRITES), "keep"), step(way(ARRIVED, SENT), "place")
    assert runs(monkeypatch, keep, way(CLONED, WRITES)).noops[0].startswith("not needed any more: what f0 has")
    with pytest.raises(OperationError, match="the next step is now 'what f0 has of fedora"):
        runs(monkeypatch, place, way(BEGUN, WRITES))
    with pytest.raises(OperationError, match="fedora runs on f1"):
        runs(monkeypatch, place, way(ARRIVED, SENT, OFF, RUNS))


def test_it_is_over_when_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "way", lambda site, job: way(PLACED, SENT, RUNS))
    assert run(machines.finished, {}, SITE, JOB).noops == [f"{FEDORA} has all that was written to its replica"]
    monkeypatch.setattr(machines, "way", lambda site, job: way(ARRIVED, SENT))
    with pytest.raises(OperationError, match="left to do: zroot/bhyve/fedora on f0 is what fedora wrote on f1"):
        run(machines.finished, {}, SITE, JOB)
