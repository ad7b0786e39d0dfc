"""What every reader of command output shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
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


def sections(lines: Iterable[str], *names: str) -> dict[str, list[str]]:
    """Split output at its `=== NAME` lines; where names are given, there are these sections and no others.

    Raises UnknownOutput on text before the first section, on a section that comes twice, and on other names.
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
    if names and found.keys() != set(names):
        raise UnknownOutput(f"sections {', '.join(names)} expected, not {', '.join(found) or 'none'}")
    return found


def values(lines: Iterable[str]) -> dict[str, str | None]:
    """Sections of one line each; None for one without any.

    Raises UnknownOutput on a section with more lines.
    """
    found: dict[str, str | None] = {}
    for name, text in sections(lines).items():
        if len(text) > 1:
            raise UnknownOutput(f"{name} has more than one line")
        found[name] = text[0] if text else None
    return found


def meanings(lines: Iterable[str], meanings: Mapping[str, T]) -> dict[str, T]:
    """Sections of one line each, which is one of the words; what that word means, by section.

    Raises UnknownOutput on any other line.
    """
    found = {}
    for name, text in values(lines).items():
        if text is None or text not in meanings:
            raise UnknownOutput(f"{name}: {text!r}, not one of {', '.join(meanings)}")
        found[name] = meanings[text]
    return found


def only_line(lines: Sequence[str], what: str, form: str = ".+") -> str:
    """The only line of an output; raises UnknownOutput where there are more, or it has not the form of a pattern."""
    if len(lines) != 1 or not re.fullmatch(form, lines[0]):
        raise UnknownOutput(f"{what} is not {lines}")
    return lines[0]


def matched(form: re.Pattern[str], text: str, what: str) -> re.Match[str]:
    """The whole text in a form; raises UnknownOutput naming what it should have been."""
    if match := form.fullmatch(text):
        return match
    raise UnknownOutput(f"{what}: {text!r}")


def number(text: str, what: str) -> int:
    """A non-negative whole number in decimal; raises UnknownOutput naming what it should have been."""
    if not (text.isascii() and text.isdigit()):
        raise UnknownOutput(f"{what} is not a number: {text!r}")
    return int(text)
