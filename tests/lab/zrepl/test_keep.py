"""Pruning rules, with the examples of zrepl's documentation (docs/configuration/prune.rst) and tests."""

from __future__ import annotations

import pytest

from lab.zrepl.keep import ALL, Rule, Snap, destroyed, grid

HOUR = 3600


def hourly(name: str, age: float, replicated: bool = True) -> Snap:
    return Snap(name, 1_000_000 - age * HOUR, replicated)


def test_a_grid_keeps_the_oldest_of_each_interval() -> None:
    snaps = [hourly(name, n * 0.3) for n, name in enumerate("abcdefghijklmnopqrstuvwxyzABCD")]
    rule = Rule("grid", regex=".", grid=grid("1x1h(keep=all) | 2x2h | 1x3h"))
    kept = "".join(snap.name for snap in snaps if snap.name not in rule.drops(snaps))
    # 0 to 1 h all; the oldest younger than 3 h, 5 h and 8 h; older ones are gone
    assert kept == "abcdjqA"


def test_a_snapshot_is_destroyed_when_no_rule_keeps_it() -> None:
    snaps = [hourly(f"zrepl_{n}", n, replicated=n > 2) for n in range(6)] + [hourly("by hand", 9)]
    last = Rule("last_n", regex="^zrepl_", count=1)
    other = Rule("regex", regex="^zrepl_", negate=True)
    assert destroyed(snaps, [last, other]) == [f"zrepl_{n}" for n in (5, 4, 3, 2, 1)]
    assert destroyed(snaps, [Rule("not_replicated"), last, other]) == ["zrepl_5", "zrepl_4", "zrepl_3"]
    assert destroyed(snaps, []) == []
    assert destroyed([], [last]) == []


def test_last_n_of_snapshots_of_one_second_goes_by_name() -> None:
    snaps = [Snap(str(n), date, True) for n, date in ((1, 10), (2, 20), (3, 15), (4, 30), (5, 30))]
    assert Rule("last_n", count=1).drops(snaps) == {"1", "2", "3", "4"}
    assert Rule("last_n", count=2).drops(snaps) == {"1", "2", "3"}
    assert Rule("last_n", count=9).drops(snaps) == set()


def test_grids_are_read() -> None:
    assert grid("1x1h(keep=all) | 2x1d") == ((3600, ALL), (86400, 1), (86400, 1))
    with pytest.raises(ValueError, match="does not match"):
        grid("24 hours")
