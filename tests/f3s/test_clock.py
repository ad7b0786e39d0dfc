"""Offsets of clocks, and how sure they are."""

from __future__ import annotations

import pytest

from f3s.clock import LIMIT, Offset, offset
from f3s.replication import allowed_age


def test_the_error_is_bounded_by_the_time_that_the_question_took() -> None:
    # the answer came somewhere between 100 and 104, and has whole seconds
    assert offset(100.0, 102, 104.0) == Offset(0.5, 2.5)
    assert offset(100.0, 60, 100.0) == Offset(-39.5, 0.5)


@pytest.mark.parametrize(
    ("seconds", "error", "off"),
    [(0, 1, False), (30, 1, False), (-31.5, 1, True), (32, 3, False), (7200, 40, True), (0, 31, None), (60, 31, None)],
)
def test_off_is_what_no_slow_answer_explains(seconds: float, error: float, off: bool | None) -> None:
    assert Offset(seconds, error).off is off


def test_two_hosts_are_compared_with_both_errors() -> None:
    assert Offset(-20, 1).against(Offset(20, 2)) == Offset(-40, 3)
    assert str(Offset(-40, 3)) == "40 s behind"


def test_the_limit_is_less_than_half_of_the_shortest_age_that_is_right() -> None:
    assert allowed_age(1) > LIMIT * 2
