"""Which snapshots zrepl's keep rules destroy: zrepl 0.7.0, internal/pruning, internal/config/retentiongrid.go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from f3s.parsing import UnknownOutput
from f3s.settings.model import is_within
from f3s.settings.values import duration_seconds
from f3s.zfs import Snapshot

Rules = Sequence[Mapping[str, Any]]
"""A list of keep rules as in zrepl.yml."""


def destroyed(rules: Rules, snapshots: Iterable[Snapshot]) -> set[Snapshot]:
    """The snapshots of one dataset that no rule keeps, once all of them are replicated; without rules none.

    Raises UnknownOutput on a rule that is not known.
    """
    found = list(snapshots)
    return set.intersection(*({*found} - _kept(rule, found) for rule in rules)) if rules else set()


def _kept(rule: Mapping[str, Any], snapshots: list[Snapshot]) -> set[Snapshot]:
    try:
        kind = rule["type"]
        if kind == "not_replicated":
            return set()
        pattern = re.compile(rule.get("regex", ""))
        matching = [each for each in snapshots if pattern.search(each.short_name)]
        matching.sort(key=lambda each: (each.creation, each.short_name), reverse=True)
        if kind == "last_n":
            return set(matching[: int(rule["count"])])
        if kind == "regex":
            return {*snapshots} - {*matching} if rule.get("negate") else {*matching}
        if kind == "grid":
            return _in_grid(rule["grid"], matching)
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise UnknownOutput(f"the keep rule {rule!r}: {error}") from error
    raise UnknownOutput(f"the keep rule {rule!r} is not known")


_PART = re.compile(r"\s*(\d+)\s*x\s*(\d+)\s*([smhdw])\s*(?:\(\s*keep=(all|\d+)\s*\))?\s*")


def _in_grid(grid: str, newest_first: list[Snapshot]) -> set[Snapshot]:
    """Each interval keeps its oldest ones. The first begins at the newest snapshot, and each has its younger end."""
    kept: set[Snapshot] = set()
    left = newest_first
    edge = left[0].creation if left else 0
    for part in grid.split("|"):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no part of a grid")
        for _ in range(int(match[1])):
            edge -= duration_seconds(match[2].lstrip("0") + match[3])
            inside = [each for each in left if each.creation > edge]
            left = left[len(inside) :]
            kept.update(inside if match[4] == "all" else inside[max(0, len(inside) - int(match[4] or 1)) :])
    return kept


def selects(filesystems: Mapping[str, bool], dataset: str) -> bool:
    """Whether a job's filter selects a dataset: the most specific pattern decides (internal/daemon/filters)."""
    best, chosen = -1, False
    for pattern, value in filesystems.items():
        root = pattern.removesuffix("<")
        exact = root == pattern
        fits = dataset == root if exact else not root or is_within(dataset, root)
        if fits and 2 * len(root) + exact > best:
            best, chosen = 2 * len(root) + exact, bool(value)
    return chosen


def lost(before: Iterable[Rules], after: Rules, snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """What the rules `after` destroy of one dataset although none of the rules `before` does; oldest first.

    before: of every job that prunes it now. Rules that are not known destroy nothing.
    """
    rules = list(before)
    if after in rules:
        return ()
    gone = destroyed(after, snapshots)
    for each in rules:
        try:
            gone -= destroyed(each, snapshots)
        except UnknownOutput:
            continue
    return tuple(sorted(gone, key=lambda each: each.createtxg))
