"""getopt(3) for played commands: on FreeBSD options end at the first operand, on Linux they may come behind it."""

from __future__ import annotations

import getopt
from collections.abc import Sequence

from lab.core import Context


def parse(ctx: Context, known: str) -> tuple[dict[str, str], list[str]]:
    """The options (the last value of each) and the operands.

    :param known: as for getopt(3): letters, with a colon behind those that take a value
    """
    try:
        pairs, operands = getopt.getopt(ctx.args, known)
    except getopt.GetoptError as error:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} ({error})") from None
    return {name[1:]: value for name, value in pairs}, operands


def gnu(ctx: Context, short: str, long: Sequence[str] = ()) -> tuple[dict[str, str], list[str]]:
    """As `parse`, for a command of Linux; the options are named with their dashes."""
    try:
        pairs, operands = getopt.gnu_getopt(ctx.args, short, list(long))
    except getopt.GetoptError as error:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} ({error})") from None
    return dict(pairs), operands
