"""The clock of a host."""

from __future__ import annotations

import time
from collections.abc import Callable

from typing_extensions import override

from f3s.clock import Offset, offset
from f3s.parsing import number, only_line
from f3s.quoting import Shell
from facts.base import HostFact, marked


def controller_time() -> float:
    """The clock that the others are compared with: of the machine that pyinfra runs on, in seconds since 1970."""
    return time.time()


def asked_between(ask: Callable[[], int | None]) -> tuple[int | None, Offset | None]:
    """A host's clock as `ask` reads it, and how far it is off the controller's; None: it was not told."""
    before = controller_time()
    answer = ask()
    return answer, None if answer is None else offset(before, answer, controller_time())


class Clock(HostFact[int]):
    """Seconds since 1970."""

    @override
    def command(self) -> str:
        return marked(Shell("date +%s"))

    @override
    def read(self, lines: list[str]) -> int:
        return number(only_line(lines, "the time"), "the time")
