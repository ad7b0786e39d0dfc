"""How far the clocks of hosts are apart."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 30
"""Seconds that a clock may be off, and that a thing may seem to come from the future.

Hosts that keep time are milliseconds apart. Half a minute is more than a slow host needs for its answer, so nobody is
accused who is only slow. It is less than half of the shortest `allowed_age`, so no replica that is late passes for
fresh; and for as long as a clock was set back zrepl takes no snapshot.
"""


@dataclass(frozen=True)
class Offset:
    """A host's clock minus the controller's, in seconds; the truth is within `error` of it."""

    seconds: float
    error: float

    def against(self, other: Offset) -> Offset:
        """Minus another host's clock."""
        return Offset(self.seconds - other.seconds, self.error + other.error)

    @property
    def off(self) -> bool | None:
        """Whether it is off by more than LIMIT; None: the question took too long to say so."""
        if abs(self.seconds) - self.error > LIMIT:
            return True
        return None if self.error > LIMIT else False

    def __str__(self) -> str:
        return f"{abs(self.seconds):.0f} s {'behind' if self.seconds < 0 else 'ahead of'}"


@dataclass(frozen=True)
class Reading:
    """A host's clock, in seconds since 1970, and what it was off the controller's then.

    :param keeper: name of the NTP daemon that runs there; empty: none does
    """

    now: int
    off: Offset
    keeper: str = ""


def offset(before: float, answer: int, after: float) -> Offset:
    """The offset of a host that gave its whole seconds as `answer`, asked between `before` and `after`."""
    return Offset(answer + 0.5 - (before + after) / 2, (after - before) / 2 + 0.5)
