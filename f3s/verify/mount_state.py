"""What `check-nfs-mount.sh --status` says of a client's mounts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from f3s.parsing import UnknownOutput

_CHECKED = re.compile(
    r"(?P<point>/.*): (?P<state>[a-z-]+) since [0-9-]+ [0-9:]+, checked (?P<age>-?\d+) s ago, "
    r"failed checks in a row: (?P<failures>\d+), repairs: \d+"
)
_UNCHECKED = re.compile(r"(?P<point>/.*): not checked yet .*")


@dataclass(frozen=True)
class MountState:
    """A mount as the monitor last found it.

    + state: healthy, readonly, stale, hung, ... ; None before the first check
    + age: seconds since that check
    """

    mountpoint: str
    state: str | None
    age: int | None = None
    failures: int = 0
    detail: str = ""


def parse_status(lines: Iterable[str]) -> tuple[MountState, ...]:
    """Read the output of `check-nfs-mount.sh --status`; raises UnknownOutput on a line in another form."""
    found: list[MountState] = []
    for line in lines:
        if match := _CHECKED.fullmatch(line):
            found.append(MountState(match["point"], match["state"], int(match["age"]), int(match["failures"])))
        elif match := _UNCHECKED.fullmatch(line):
            found.append(MountState(match["point"], None))
        elif line.startswith("    ") and found:
            last = found.pop()
            detail = f"{last.detail}; {line.strip()}" if last.detail else line.strip()
            found.append(MountState(last.mountpoint, last.state, last.age, last.failures, detail))
        else:
            raise UnknownOutput(f"unexpected line from check-nfs-mount.sh --status: {line!r}")
    return tuple(found)
