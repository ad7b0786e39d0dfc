"""Numbers and tables as ZFS prints and reads them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

UNITS = ("B", "K", "M", "G", "T", "P", "E")


def nice(number: int) -> str:
    """A size for people, as zfs_nicebytes() of libzutil prints it: at most five characters, ``0B`` for nothing."""
    index, scale = 0, 1
    while number // scale >= 1024 and index < len(UNITS) - 1:
        index += 1
        scale <<= 10
    if index == 0:
        return f"{number}B"
    if number % scale == 0:
        return f"{number // scale}{UNITS[index]}"
    for digits in (2, 1, 0):
        text = f"{number / scale:.{digits}f}"
        if len(text) <= 4 or digits == 0:
            return f"{text}{UNITS[index]}"
    raise AssertionError(number)


def parse(text: str) -> int | None:
    """A size such as ``64M`` or ``512``; None if it is none, or not a whole number."""
    found = re.fullmatch(rf"(\d+)([{''.join(UNITS)}]?)", text.upper())
    return int(found[1]) << 10 * UNITS.index(found[2] or "B") if found else None


def ctime(seconds: float) -> str:
    """The ``creation`` property for people: ``Sun Nov 22  8:22 2026``."""
    return time.strftime("%a %b %e %k:%M %Y", time.gmtime(seconds))


def asctime(seconds: float) -> str:
    """Dates of ``zpool status``: ``Sun Nov 22 08:56:58 2026``."""
    return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(seconds))


def table(rows: Sequence[Sequence[str]], least: Sequence[int], right: Sequence[bool], *, scripted: bool = False) -> str:
    """Rows in columns; scripted (-H): with a tab between them and without the first row, which has the headings.

    :param least: least width of each column
    :param right: whether a column's cells stand on the right; what stands on the left is not padded at the end
    """
    if scripted:
        return "".join("\t".join(row) + "\n" for row in rows[1:])
    widths = [max(width, *(len(row[i]) for row in rows)) for i, width in enumerate(least)]
    text = ""
    for row in rows:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        text += "  ".join(cells if right[-1] else [*cells[:-1], row[-1]]) + "\n"
    return text
