from __future__ import annotations

from operations import order
from tests.operations.harness import run


def test_a_barrier_runs_nothing_and_says_why() -> None:
    result = run(order.barrier, {})
    assert (result.commands, result.noops) == ([], ["every host has come this far"])
