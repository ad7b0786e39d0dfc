"""NFS as this project uses it: its port, what is exported, and what lies in the served dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable

from f3s.parsing import UnknownOutput, sections

PORT = 2049
"""TCP; nfsd has no option for another one (nfsd(8))."""
_MOUNT = re.compile(r".+? on (/.*) \(([^()]*)\)")


def parse_exported(lines: Iterable[str]) -> tuple[str, ...]:
    """The exported mount points in the output of `mount`; raises UnknownOutput on a line in another form."""
    found = []
    for line in lines:
        match = _MOUNT.fullmatch(line)
        if match is None:
            raise UnknownOutput(f"a line of mount: {line!r}")
        point, words = match.groups()
        if "NFS exported" in words.split(", "):
            found.append(point)
    return tuple(found)


def parse_entries(lines: list[str]) -> dict[str, str] | bool:
    """Read the sections of facts.nfs.ShareEntries; raises UnknownOutput on others."""
    if lines == ["=== not mounted"]:
        return False
    found = sections(lines, "entries")
    entries = {}
    for line in found["entries"]:
        kind, _, name = line.partition(" ")
        if not name or not (kind in ("file", "absent", "other") or kind.isdigit()):
            raise UnknownOutput(f"share entry {line!r}")
        entries[name] = kind
    return entries
