"""systemd units, as `systemctl show` tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from f3s.parsing import UnknownOutput, number

UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "ActiveEnterTimestamp")


@dataclass(frozen=True)
class Unit:
    """`exists`: systemd knows it; `stale`: its file changed since; `since`: epoch in seconds, None: never active."""

    exists: bool
    active: bool
    enabled: bool
    stale: bool
    since: int | None


@dataclass(frozen=True)
class Units:
    """Units by name, and for each file that is there when it was last changed, in seconds of the epoch."""

    units: Mapping[str, Unit]
    changed: Mapping[str, int]

    def newer(self, unit: Unit) -> tuple[str, ...]:
        """The files that changed after the unit was started, so that it may not have read them."""
        return tuple(file for file, when in self.changed.items() if unit.since is not None and when > unit.since)


def parse_units(lines: Iterable[str]) -> Units:
    """Read blocks of UNIT_PROPERTIES, and `File=WHEN PATH` lines; raises UnknownOutput on others."""
    units: dict[str, Unit] = {}
    changed: dict[str, int] = {}
    block: dict[str, str] = {}
    for line in [*lines, ""]:
        key, mark, value = line.partition("=")
        if key == "File" and mark:
            when, _, path = value.partition(" ")
            changed[path] = number(when, "the time of a file's last change")
        elif mark and key in UNIT_PROPERTIES and key not in block:
            block[key] = value
        elif line:
            raise UnknownOutput(f"unexpected line from systemctl show: {line!r}")
        elif block:
            if missing := set(UNIT_PROPERTIES) - set(block):
                raise UnknownOutput(f"systemctl show left out {sorted(missing)}")
            units[block["Id"]] = _unit(block)
            block = {}
    return Units(units, changed)


def _unit(block: Mapping[str, str]) -> Unit:
    since = block["ActiveEnterTimestamp"]
    return Unit(
        exists=block["LoadState"] != "not-found",
        active=block["ActiveState"] == "active",
        enabled=block["UnitFileState"] == "enabled",
        stale=block["NeedDaemonReload"] == "yes",
        since=_seconds(since) if since else None,
    )


def _seconds(when: str) -> int:
    try:
        # after the day of the week
        return int(datetime.strptime(when.partition(" ")[2], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise UnknownOutput(f"the time of a unit's start: {error}") from error
