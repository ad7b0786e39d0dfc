"""Steps of the way back of a machine when their turn comes: planned again, sent until all has arrived."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyinfra.api.exceptions import OperationError

from f3s.keycheck import KeyCheck
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
    PARENT,
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
from tests.f3s.verify.world import BHYVE_KEY, F0, F1, SITE
from tests.operations.harness import Result, run

HALF = closed({FEDORA: "own", DISK: "own", NEW: f"a {C} {E}", NEW_DISK: f"a {C}"})


def step(found: MachineWay, key: str) -> Step:
    return next(each for each in found.steps() if each.key == key)


def runs(monkeypatch: pytest.MonkeyPatch, planned: Step, *found: MachineWay, executing: bool = True) -> Result:
    """One after the other is what the hosts are found in."""
    states: Iterator[MachineWay] = iter(found)
    monkeypatch.setattr(machines, "way", lambda site, job: next(states))
    opened(monkeypatch)
    result = run(machines.step, {}, planned, SITE, JOB, executing=executing)
    assert next(states, None) is None, "not all were looked at"
    return result


def opened(monkeypatch: pytest.MonkeyPatch, *hosts: str, check: KeyCheck | None = KeyCheck.FITS) -> None:
    """What is said of the key on these hosts; by default, on all."""
    monkeypatch.setattr(
        machines,
        "asked",
        lambda of, fact, keys: {root: check if of.name in (hosts or (F0, F1)) else KeyCheck.FITS for root, _ in keys},
    )


@pytest.mark.parametrize(
    ("host", "check", "says"),
    [
        (
            F1,
            KeyCheck.WRONG,
            f"does not open {PARENT} on f1 (the key is not the one the dataset is encrypted with): the key of fedora "
            f"was changed on f0 meanwhile. On f1: `doas zfs change-key -o keylocation={BHYVE_KEY} "
            f"-o keyformat=raw {PARENT}`",
        ),
        (F1, KeyCheck.NO_FILE, "(there is no such key file): docs/runbook.md, Key not loaded"),
        (F0, KeyCheck.WRONG, f"does not open {PARENT} on f0 (the key is not the one"),
        (F0, None, "(it could not be tested)"),
    ],
)
def test_nothing_is_sent_that_could_not_be_opened_at_home(
    monkeypatch: pytest.MonkeyPatch, host: str, check: KeyCheck | None, says: str
) -> None:
    """A raw increment replaces the wrapped key (openzfs, issue 12614)."""
    opened(monkeypatch, host, check=check)
    for found in (way(BEGUN, WRITES), way(CLONED, WRITES), way(ARRIVED, SENT)):
        (problem,) = machines.problems(found)
        assert says in problem
    assert machines.problems(way(PLACED, SENT, RUNS)) == []


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
    opened(monkeypatch)
    monkeypatch.setattr(machines, "way", lambda site, job: way(PLACED, SENT, RUNS))
    assert run(machines.finished, {}, SITE, JOB).noops == [f"{FEDORA} has all that was written to its replica"]
    monkeypatch.setattr(machines, "way", lambda site, job: way(ARRIVED, SENT))
    with pytest.raises(OperationError, match="left to do: zroot/bhyve/fedora on f0 is what fedora wrote on f1"):
        run(machines.finished, {}, SITE, JOB)
