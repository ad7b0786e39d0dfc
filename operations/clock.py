"""The clock of a host: looked at, never set."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.context import host

from f3s.clock import LIMIT
from facts.clock import Clock
from operations.base import Commands, known
from operations.reasons import operation


@operation()
def compared() -> Commands:
    """Reports a clock that is far off the controller's. Snapshots, their ages and certificates depend on clocks.

    **Example:** `clock.compared()`
    """
    off = known(Clock).off
    if off.off:
        host.log(
            f"the clock of {host.name} is {off} the controller's, more than {LIMIT} s: set the one that is wrong first "
            "(docs/runbook.md, Clock off)",
            logger.warning,
        )
    host.noop("the clock is looked at, not set")
    yield from ()
