from __future__ import annotations

import pytest
from pyinfra.api.exceptions import OperationError

from operations import order
from tests.operations.harness import Result, run


def test_a_barrier_runs_nothing_and_says_why() -> None:
    assert run(order.barrier, {}) == Result([], ["every host has come this far"])


def test_where_a_host_has_failed_no_other_goes_past_a_barrier() -> None:
    assert run(order.barrier, {}, executing=False, failed=["f1"]).commands == []
    with pytest.raises(OperationError, match="f1 failed above"):
        run(order.barrier, {}, failed=["f1"])
