"""Numbers as ZFS prints and reads them."""

from __future__ import annotations

import time

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
