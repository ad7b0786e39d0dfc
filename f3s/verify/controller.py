"""The records of f3s_storage on a storage host (docs/controller.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from f3s.carp import CarpState
from f3s.parsing import UnknownOutput, number, sections

RUN = "/var/run/f3s"
FILES = {
    "started": f"{RUN}/started",
    "hold": "/var/db/f3s/carp.hold",
    "failed": f"{RUN}/service.failed",
    "decision": f"{RUN}/last",
    "floor": f"{RUN}/backup.createtxg",
    "values": "/usr/local/etc/f3s/storage.conf",
}
"""As files/freebsd/f3s-storage-lib.sh names them."""


_IDLE = tuple(f"{state.value}, not serving" for state in CarpState)


@dataclass(frozen=True)
class Controller:
    """What the files of FILES say.

    + now: the host's clock, seconds since 1970
    + started: it was started and not stopped, so it moves the services
    + hold: what `carp backup` wrote there while a planned failover lasts, else None
    + failed: the service that did not start here as MASTER, else None
    + decision: its last decision and since when it holds, None before the first
    + floor: createtxg of the newest snapshot when this host was first seen as BACKUP, None where it is not
    + values: what the deploy told it, by variable; empty where nothing was
    """

    now: int
    started: bool
    hold: str | None
    failed: str | None
    decision: str | None
    floor: int | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def decided(self, state: CarpState) -> bool:
        """The last decision is about this state: the controller has looked since the address moved."""
        return (self.decision or "").partition(" ")[0].rstrip(",") == state.value

    @property
    def ready(self) -> bool:
        """It serves, or could: the dataset is there, and so advskew is the configured one unless held or failed."""
        return (self.decision or "").startswith(("MASTER, serving ", *(f"{state}; could serve" for state in _IDLE)))


def parse_controller(lines: Iterable[str]) -> Controller:
    """Read the sections of facts.controller.StorageController; raises UnknownOutput on others."""
    found = sections(lines)
    if found.keys() != {"now", *FILES}:
        raise UnknownOutput(f"sections of f3s_storage: {sorted(found)}")
    texts: dict[str, str | None] = {}
    for name in FILES:
        answer = found[name]
        if answer[:1] == ["absent"]:
            texts[name] = None
        elif answer[:1] == ["there"]:
            texts[name] = " ".join(" ".join(answer[1:]).split())
        else:
            raise UnknownOutput(f"record {name} of f3s_storage: {answer}")
    return Controller(
        number("".join(found["now"]), "the time"),
        texts["started"] is not None,
        texts["hold"],
        texts["failed"],
        texts["decision"],
        number(texts["floor"], "createtxg of the newest snapshot") if texts["floor"] else None,
        dict(re.findall(r"\b(F3S_\w+)='([^']*)'", texts["values"] or "")),
    )
