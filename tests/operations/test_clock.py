"""A clock that is off is reported before anything else is done."""

from __future__ import annotations

import pytest

import facts.clock
from facts.base import END
from facts.clock import Clock
from operations import clock
from tests.operations.harness import Result, run


def compared(monkeypatch: pytest.MonkeyPatch, now: int, took: float = 0.0, executing: bool = False) -> Result:
    """now: what the host answers, to a question asked at 1000 that took so many seconds."""
    times = iter([1000.0, 1000.0 + took])
    monkeypatch.setattr(facts.clock, "controller_time", lambda: next(times))
    fact = Clock()
    fact.command()
    # the answer may be one to an earlier operation: no clock is looked at now
    return run(clock.compared, {Clock: fact.process([str(now), END])}, executing=executing)


@pytest.mark.parametrize(("now", "says"), [(400, "is 600 s behind the controller's"), (1040, "is 40 s ahead of")])
def test_a_clock_that_is_off_is_reported(monkeypatch: pytest.MonkeyPatch, now: int, says: str) -> None:
    result = compared(monkeypatch, now)
    assert (result.commands, says in result.logs[0], "docs/runbook.md, Clock off" in result.logs[0]) == ([], True, True)


@pytest.mark.parametrize(("now", "took"), [(1000, 0), (1029, 0), (1045, 30)])
def test_a_slow_answer_accuses_nobody(monkeypatch: pytest.MonkeyPatch, now: int, took: float) -> None:
    assert compared(monkeypatch, now, took).logs == []


def test_the_plan_warns_too_and_with_yes_there_is_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    for executing in (False, True):
        assert len(compared(monkeypatch, 400, executing=executing).logs) == 1
