"""The results of stories: a table to read, and ``build/vm-test.json`` for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Row:
    """The result of one scenario.

    :param expected: in words
    :param pause_max_s: the longest pause that a reading client felt, None where none was watched
    :param errors: that reading clients got
    :param reason: why it is not right; empty if it is
    """

    scenario: str
    expected: str
    pause_max_s: float | None
    errors: int
    lost_lines: int
    stray_lines: int
    verdict: Literal["right", "wrong", "not run"]
    reason: str
    seconds: float


def table(rows: Iterable[Row]) -> str:
    """For people: one line a row, then the reasons."""
    rows = list(rows)
    width = max((len(row.scenario) for row in rows), default=8)
    head = f"{'scenario':<{width}}  {'verdict':<7}  {'pause s':>7}  {'errors':>6}  lost  stray  {'seconds':>7}  reason"
    lines = [head]
    for row in rows:
        pause = "-" if row.pause_max_s is None else f"{row.pause_max_s:.1f}"
        reason = row.reason.splitlines()[0] if row.reason else ""
        lines.append(
            f"{row.scenario:<{width}}  {row.verdict:<7}  {pause:>7}  {row.errors:>6}  {row.lost_lines:>4}"
            f"  {row.stray_lines:>5}  {row.seconds:>7.0f}  {reason}".rstrip()
        )
    return "\n".join(lines)


def write(rows: Iterable[Row], file: Path) -> None:
    """The rows as a JSON list, replaced in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    new.rename(file)
