"""Which snapshots zrepl's pruning rules keep (zrepl 0.7.0, internal/pruning)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
ALL = -1
"""The keep count of a grid's interval that keeps everything."""


@dataclass(frozen=True)
class Snap:
    """A snapshot before pruning.

    :param date: seconds since the epoch
    """

    name: str
    date: float
    replicated: bool


@dataclass(frozen=True)
class Rule:
    """A keep rule; which fields it uses is up to its kind.

    :param grid: (length in seconds, how many to keep) of each interval, the newest first
    """

    kind: str
    regex: str = ""
    negate: bool = False
    count: int = 0
    grid: tuple[tuple[int, int], ...] = ()

    def drops(self, snaps: Sequence[Snap]) -> set[str]:
        """The names of the snapshots that this rule does not keep."""
        if self.kind == "not_replicated":
            return {snap.name for snap in snaps if snap.replicated}
        mine = [snap for snap in snaps if bool(re.search(self.regex, snap.name)) != self.negate]
        others = {snap.name for snap in snaps} - {snap.name for snap in mine}
        if self.kind == "regex":
            return others
        newest_first = sorted(mine, key=lambda snap: (snap.date, snap.name), reverse=True)
        if self.kind == "last_n":
            return others | {snap.name for snap in newest_first[self.count :]}
        return others | self._outside(newest_first)

    def _outside(self, newest_first: list[Snap]) -> set[str]:
        """Every interval keeps its oldest snapshots; it begins at the newest snapshot, and includes its younger end."""
        dropped: set[str] = set()
        if not newest_first:
            return dropped
        edge = newest_first[0].date
        left = newest_first
        for length, count in self.grid:
            inside = [snap for snap in left if snap.date > edge - length]
            left = left[len(inside) :]
            if count != ALL:
                dropped |= {snap.name for snap in inside[: max(0, len(inside) - count)]}
            edge -= length
        return dropped | {snap.name for snap in left}


def destroyed(snaps: Sequence[Snap], rules: Sequence[Rule]) -> list[str]:
    """The snapshots that no rule keeps, oldest first; without rules everything is kept."""
    if not rules:
        return []
    dropped = set.intersection(*(rule.drops(snaps) for rule in rules))
    return [snap.name for snap in sorted(snaps, key=lambda snap: snap.date) if snap.name in dropped]


def grid(text: str) -> tuple[tuple[int, int], ...]:
    """A retention grid such as `1x1h(keep=all) | 24x1h` (internal/config/retentiongrid.go, pruning/keep_grid.go).

    :raises ValueError: zrepl refuses it
    """
    intervals: list[tuple[int, int]] = []
    for part in text.split("|"):
        match = re.fullmatch(r"\s*(\d+)\s*x\s*(\d+)\s*([smhdw])\s*(?:\(\s*keep=(all|\d+)\s*\))?\s*", part)
        if not match:
            raise ValueError(f"cannot parse interval: retention string does not match expected format: {part.strip()}")
        times, length = int(match[1]), int(match[2]) * UNITS[match[3]]
        if times <= 0 or length <= 0:
            raise ValueError(f"cannot parse interval: contains factor <= 0: {part.strip()}")
        count = ALL if match[4] == "all" else int(match[4] or 1)
        intervals += [(length, count)] * times
    previous = 0
    keeps_all = True
    for length, count in intervals:
        if length < previous and not keeps_all:
            raise ValueError("retention grid interval length must be monotonically increasing")
        keeps_all = keeps_all and count == ALL
        previous = length
    return tuple(intervals)
