"""Mounted file systems and the directories that they are mounted on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from f3s.parsing import UnknownOutput, matched, sections

# autofs has devices such as `map -hosts`; a directory begins with the first slash after a blank
_LINE = re.compile(r"(\S.*?)\s+(/.*?)\s+(\S+)\s+(\S+)\s+\d+\s+\d+")


@dataclass(frozen=True)
class Mount:
    """A line of `mount -p`: device (without /dev/, or dataset), directory, type, options."""

    device: str
    directory: str
    fstype: str
    options: frozenset[str]

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


@dataclass(frozen=True)
class Directory:
    """What is at a path: nothing (`kind` None), or its kind, flags (schg ...) and the first few entries."""

    path: str
    kind: str | None
    flags: frozenset[str]
    entries: tuple[str, ...]

    @property
    def guarded(self) -> bool:
        return "schg" in self.flags


@dataclass(frozen=True)
class MountTable:
    """All mounts of a host, in mount order, and some directories as they are seen now."""

    mounts: tuple[Mount, ...]
    directories: Mapping[str, Directory]

    def at(self, directory: str) -> Mount | None:
        """What is mounted there: the last mount covers the ones before it."""
        return next((mount for mount in reversed(self.mounts) if mount.directory == directory), None)

    def above(self, directory: str) -> Mount | None:
        """The mount that the directory is in, other than one on itself."""
        found = [mount for mount in self.mounts if f"{directory}/".startswith(f"{mount.directory.rstrip('/')}/")]
        return max((m for m in found if m.directory != directory), key=lambda m: len(m.directory), default=None)

    def below(self, directory: str) -> list[Mount]:
        """What is mounted in directories below it."""
        return [mount for mount in self.mounts if mount.directory.startswith(f"{directory}/")]

    def of(self, device: str) -> Mount | None:
        return next((mount for mount in self.mounts if mount.device == device), None)


def below_export(table: MountTable, mountpoint: str) -> str | None:
    """Why clients would not see all that is mounted below the served dataset; None if they would.

    What is exported is a null mount, and nullfs does not cross mounts of the layer below (docs/design.md, Serving).
    """
    if not (below := table.below(mountpoint)):
        return None
    there = ", ".join(f"{mount.device} on {mount.directory}" for mount in below)
    return (
        f"{there}: a client of the export would find the bare directory there, on both hosts. Move the data into the "
        f"dataset on {mountpoint}, or give what is mounted another mount point and a job of its own"
    )


def parse_mounts(lines: Iterable[str]) -> tuple[Mount, ...]:
    """Read `mount -p`: fields as in fstab(5), but blanks in names are not escaped (mount.c, putfsent).

    Raises UnknownOutput on other lines.
    """
    mounts = []
    for line in lines:
        device, directory, fstype, options = matched(_LINE, line.strip(), "unexpected line from mount -p").groups()
        mounts.append(Mount(device.removeprefix("/dev/"), directory, fstype, frozenset(options.strip(",").split(","))))
    return tuple(mounts)


def parse_mount_table(lines: Iterable[str]) -> MountTable:
    """Read the section `mounts`, then one `dir PATH` each: nothing, or `KIND FLAGS` and some entries."""
    parts = sections(lines)
    if "mounts" not in parts:
        raise UnknownOutput("no section mounts")
    directories = {}
    for name, text in parts.items():
        if name == "mounts":
            continue
        path = name.removeprefix("dir ")
        if not text:
            directories[path] = Directory(path, None, frozenset(), ())
            continue
        kind, mark, flags = text[0].partition("|")
        if not mark:
            raise UnknownOutput(f"unexpected line from stat for {path}: {text[0]!r}")
        directories[path] = Directory(path, kind, frozenset(flags.split(",")) - {"-"}, tuple(text[1:]))
    return MountTable(parse_mounts(parts["mounts"]), directories)
