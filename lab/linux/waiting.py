"""Programs that wait: virtual time passes, and timeout(1) ends them at its limit on the virtual clock."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from lab import clock
from lab.core import INSIDE, Context, LabError

FOR_EVER = 3600.0
"""Virtual seconds after which a program that would wait for ever is given up as a mistake of whoever started it."""


def _limits(ctx: Context) -> list[tuple[float, int, Path]]:
    """Seconds left, pid and account of each timeout(1) around this program (lab/wrappers/timeout)."""
    found = []
    for word in ctx.env.get("LAB_TIMEOUT", "").split():
        limit, _, pid = word.partition(":")
        account = INSIDE / "ns" / f"waited-{pid}"
        spent = float(account.read_text()) if account.exists() else 0.0
        found.append((round(float(limit) - spent, 6), int(pid), account))
    return found


def wait(ctx: Context, seconds: float | None, over: Callable[[], bool], what: str) -> bool:
    """Lets virtual time pass until something is the case.

    :param seconds: at most; None: for ever, and then only timeout(1) ends it
    :param what: what hangs, for the message
    :returns: whether it came to be the case
    :raises LabError: it hangs for ever and nothing ends it
    """
    passed = 0.0
    while not over():
        if seconds is not None and passed >= seconds:
            return False
        if seconds is None and passed >= FOR_EVER:
            raise LabError(f"{what} hangs for ever, as it would on a real host; use timeout(1)")
        limits = _limits(ctx)
        for left, pid, _ in limits:
            if left <= 0:
                _expire(pid)
        # nothing changes before the next event
        cluster = ctx.store.read()
        coming = min((event.due - cluster.now for event in cluster.events), default=FOR_EVER)
        step = min(
            [*(left for left, _, _ in limits), FOR_EVER if seconds is None else seconds - passed, max(coming, 0.1)]
        )
        clock.advance(ctx.store, step)
        passed += step
        for left, pid, account in limits:
            limit = next(float(w.split(":")[0]) for w in ctx.env["LAB_TIMEOUT"].split() if w.endswith(f":{pid}"))
            account.write_text(str(limit - left + step))
    with ctx.cluster():
        pass  # mounts may have changed meanwhile
    return True


def _expire(pid: int) -> None:
    """The real timeout(1) does the rest: it takes the signal of its timer for the end of its patience."""
    try:
        os.kill(pid, signal.SIGALRM)
    except ProcessLookupError:
        raise LabError("a program outlived the timeout(1) that it was started by") from None
    while True:
        signal.pause()


def sleep(ctx: Context) -> int:
    """sleep(1) of GNU: numbers with s, m, h or d."""
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    found = [re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd]?)", word) for word in ctx.args]
    if not found or None in found:
        raise ctx.not_simulated()
    wait(ctx, sum(float(match[1]) * units[match[2]] for match in found if match), lambda: False, "sleep")
    with ctx.cluster():
        pass
    return 0
