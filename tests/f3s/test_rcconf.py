from __future__ import annotations

import pytest

from f3s.parsing import UnknownOutput
from f3s.rcconf import is_variable, parse_variables, with_entries


@pytest.mark.parametrize("lines", [["=== a"], ["=== a", "x"], ["=== a", "|x", "y"], ["x"]])
def test_unknown_output(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_variables(lines)


@pytest.mark.parametrize(
    ("current", "wanted", "value"),
    [
        (None, ["a", "b"], "a b"),
        ("", ["a"], "a"),
        ("foreign/one a", ["a", "b"], "foreign/one a b"),
        ("  b   a ", ["a", "b"], "  b   a "),
        ("ab", ["a", "a"], "ab a"),
    ],
)
def test_lists_keep_foreign_entries(current: str | None, wanted: list[str], value: str) -> None:
    assert with_entries(current, wanted) == value


def test_names_of_variables() -> None:
    assert [is_variable(name) for name in ("zfskeys_enable", "_a1")] == [True] * 2
    assert [is_variable(name) for name in ("1a", "a-b", "a b", "", "a\n", "a=b", "$(id)")] == [False] * 7
