"""What every reader of command output shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SECTION = "=== "


class UnknownOutput(ValueError):
    """Output in a form that we do not know: nothing may be concluded from it."""


@dataclass(frozen=True)
class NoAnswer:
    """Who was asked and did not answer in time, which says nothing else about it; and what to do."""

    reason: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.next_step}"


def sections(lines: Iterable[str]) -> dict[str, list[str]]:
    """Split output at its `=== NAME` lines.

    Raises UnknownOutput on text before the first section and on a section that comes twice.
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        if line.startswith(SECTION):
            name = line.removeprefix(SECTION)
            if name in found:
                raise UnknownOutput(f"section {name!r} comes twice")
            current = found[name] = []
        elif current is None:
            raise UnknownOutput(f"output before the first section: {line!r}")
        else:
            current.append(line)
    return found


def number(text: str, what: str) -> int:
    """A non-negative whole number in decimal; raises UnknownOutput naming what it should have been."""
    if not (text.isascii() and text.isdigit()):
        raise UnknownOutput(f"{what} is not a number: {text!r}")
    return int(text)
