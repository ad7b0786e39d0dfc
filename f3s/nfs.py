"""NFS as this project uses it: its port, and what lies in the served dataset."""

from __future__ import annotations

from f3s.parsing import UnknownOutput, sections

LOOPBACK = "127.0.0.1"
"""Where it listens: clients come through the tunnel."""
PORT = 2049
"""TCP; nfsd has no option for another one (nfsd(8))."""


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
