"""Variables of rc.conf, periodic.conf and loader.conf."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from f3s.parsing import UnknownOutput, sections


def is_variable(name: str) -> bool:
    """True for a name that sh and sysrc take for a variable."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


def parse_variables(lines: Iterable[str]) -> dict[str, str | None]:
    """Read `=== NAME` sections: `unset` is None, else lines that begin with `|` are the value.

    Raises UnknownOutput on anything else.
    """
    variables: dict[str, str | None] = {}
    for name, text in sections(lines).items():
        if text == ["unset"]:
            variables[name] = None
        elif text and all(line.startswith("|") for line in text):
            variables[name] = "\n".join(line[1:] for line in text)
        else:
            raise UnknownOutput(f"unexpected value of {name}: {text!r}")
    return variables


def with_entries(current: str | None, wanted: Sequence[str]) -> str:
    """A space-separated list with all wanted entries: those that are missing go to the end, in their order; what
    an operator has put there stays as it is."""
    present = (current or "").split()
    missing = [entry for entry in dict.fromkeys(wanted) if entry not in present]
    return " ".join([*present, *missing]) if missing else (current or "")
