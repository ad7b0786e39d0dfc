"""What keep rules destroy; the grid's example is worked out by hand from zrepl's retentiongrid.go."""

from __future__ import annotations

import pytest

from f3s import zrepl, zrepl_file
from f3s.parsing import UnknownOutput
from f3s.pruning import destroyed, lost, selects
from f3s.zfs import Snapshot
from tests.f3s.replication_sites import F0, SHIPPED

DAY = 86400
NOW = 200 * DAY


def snapshots(*ages: int, prefix: str = "zrepl_20260101_000000_") -> list[Snapshot]:
    return [Snapshot(f"a/b@{prefix}{n:03}", str(n), NOW - age, NOW - age) for n, age in enumerate(ages)]


def ages(found: object) -> list[int]:
    assert isinstance(found, set | tuple)
    return sorted(NOW - each.creation for each in found)


def test_a_grid_begins_at_the_newest_and_keeps_the_oldest_of_each_interval() -> None:
    grid = [{"type": "grid", "grid": "1x1h(keep=all) | 2x1h | 1x1d(keep=2)", "regex": "^zrepl_"}]
    # 3600 is as old as the end of the first interval, and belongs to the second
    found = snapshots(0, 10, 3599, 3600, 5000, 7199, 7200, 7201, 11000, 20000, 30000, 40000, 97200)
    assert ages(destroyed(grid, found)) == [3600, 5000, 7200, 11000, 20000, 97200]


def test_other_rules() -> None:
    found = snapshots(0, 1, 2) + snapshots(3, prefix="hand_")
    assert ages(destroyed([{"type": "last_n", "count": 2}], found)) == [2, 3]
    assert ages(destroyed([{"type": "last_n", "count": 2, "regex": "^hand"}], found)) == [0, 1, 2]
    assert ages(destroyed([{"type": "regex", "regex": "^hand"}], found)) == [0, 1, 2]
    assert ages(destroyed([{"type": "regex", "regex": "^hand", "negate": True}], found)) == [3]
    assert ages(destroyed([{"type": "not_replicated"}], found)) == [0, 1, 2, 3]
    assert ages(destroyed([{"type": "regex", "regex": "^hand"}, {"type": "last_n", "count": 1}], found)) == [1, 2]
    assert destroyed([], found) == set()
    for rule in ({"type": "grid", "grid": "1h", "regex": "x"}, {"type": "new"}, {"type": "regex", "regex": "("}):
        with pytest.raises(UnknownOutput):
            destroyed([rule], found)


def test_months_of_history_that_other_rules_kept_would_be_lost() -> None:
    config = zrepl.host_config(SHIPPED.host(F0), SHIPPED)
    assert config is not None
    new = config["jobs"][0]["pruning"]["keep_receiver"]
    # all of the last hour, and the oldest of the hour before
    assert len(destroyed(new, snapshots(*range(0, 75 * 60, 60)))) == 75 - 61
    history = snapshots(*range(0, 180 * DAY, DAY))
    old = [{"type": "grid", "grid": "1x1h(keep=all) | 24x1h | 30x1d | 6x30d", "regex": ".*"}]
    found = lost([old], new, history)
    assert len(found) == len(destroyed(new, history) - destroyed(old, history)) > 5
    assert ages(found)[0] > 14 * DAY
    assert found == tuple(sorted(found, key=lambda each: each.createtxg))
    # what is not known keeps everything; what is in force already is not asked
    assert set(lost([[{"type": "new"}]], new, history)) == destroyed(new, history)
    assert lost([old, new], new, history) == ()
    text = zrepl_file.loss("job", {"a/b on f0": found[:2]})
    assert f"2 of a/b on f0: {found[0].short_name}, {found[1].short_name}. Keep more" in text
    assert "zrepl_prune_history = ['job']" in text


def test_the_most_specific_pattern_of_a_filter_decides() -> None:
    chosen = {"<": True, "a/b<": False, "a/b/c": True}
    names = ("z", "a/b", "a/b/d", "a/b/c", "a/b/c/d", "a/bc")
    assert [name for name in names if selects(chosen, name)] == ["z", "a/b/c", "a/bc"]
    jobs = [
        {"filesystems": {"a<": True}, "pruning": {"keep": [1]}},
        {"filesystems": {"a": True}, "pruning": {"keep_sender": [2]}},
    ]
    assert zrepl_file.pruned_by(jobs, "a/b", "keep_sender") == [[1]]
    assert zrepl_file.pruned_by(jobs, "a", "keep_sender") == [[1], [2]]
    assert zrepl_file.pruned_by(jobs, "a", "keep_receiver") == []
