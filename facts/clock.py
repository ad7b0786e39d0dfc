"""The clock of a host."""

from __future__ import annotations

import time

from typing_extensions import override

from f3s.clock import Reading, offset
from f3s.parsing import number, only_line
from f3s.quoting import Shell
from facts.base import HostFact, marked


def controller_time() -> float:
    """The clock that the others are compared with: of the machine that pyinfra runs on, in seconds since 1970."""
    return time.time()


class Clock(HostFact[Reading]):
    """Seconds since 1970, how far that is off the controller's clock, and which NTP daemon runs."""

    @override
    def command(self) -> str:
        self._before = controller_time()
        return marked(Shell("date +%s; pgrep -lx 'ntpd|chronyd' || [ $? -eq 1 ]"))

    @override
    def read(self, lines: list[str]) -> Reading:
        now = number(only_line(lines[:1], "the time"), "the time")
        keepers = [only_line([line], "an NTP daemon", "[0-9]+ [a-z]+").split()[1] for line in lines[1:]]
        return Reading(now, offset(self._before, now, controller_time()), next(iter(keepers), ""))
