"""Numbers and tables as ZFS prints and reads them."""

from __future__ import annotations

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
    """A size such as ``64M``, ``1.5G`` or ``512``; None if it is none."""
    word = text.upper().removesuffix("B") if text[-1:].upper() == "B" and text[-2:-1].isalpha() else text.upper()
    scale = 1
    if word and word[-1] in UNITS:
        scale = 1 << (10 * UNITS.index(word[-1]))
        word = word[:-1]
    try:
        value = float(word)
    except ValueError:
        return None
    if word.strip() != word or not word[0].isdigit():
        return None
    return int(value * scale)


def ctime(seconds: float) -> str:
    """The ``creation`` property for people: ``Sun Nov 22  8:22 2026``."""
    moment = time.gmtime(seconds)
    return (
        f"{time.strftime('%a %b', moment)} {moment.tm_mday:2d} {moment.tm_hour:2d}:{moment.tm_min:02d} {moment.tm_year}"
    )


def asctime(seconds: float) -> str:
    """Dates of ``zpool status``: ``Sun Nov 22 08:56:58 2026``."""
    moment = time.gmtime(seconds)
    return time.strftime("%a %b ", moment) + f"{moment.tm_mday:2d}" + time.strftime(" %H:%M:%S %Y", moment)


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
