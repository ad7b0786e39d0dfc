"""/etc/fstab and the kernel's table of mounts, which has the same form: fstab(5), proc(5)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from f3s.parsing import UnknownOutput

NFS_TYPES = ("nfs", "nfs4")
_OCTAL = re.compile(r"\\([0-3][0-7]{2})")


class FstabConflict(ValueError):
    """The mount point is claimed by a line that is not ours to change."""


@dataclass(frozen=True)
class Entry:
    """One mount: source, mount point, type, options in the order in which they are written."""

    source: str
    mountpoint: str
    fstype: str
    options: tuple[str, ...]

    def line(self) -> str:
        """The line of /etc/fstab, without a newline. Not dumped and not checked at boot: network file systems."""
        fields = (self.source, self.mountpoint, self.fstype, ",".join(self.options))
        return " ".join([*map(escape, fields), "0", "0"])


def escape(value: str) -> str:
    """A field of fstab: white space, backslashes and # in octal. Raises ValueError for an empty one."""
    if not value:
        raise ValueError("a field of /etc/fstab cannot be empty")
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\#" else char for char in value)


def unescape(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _entry(line: str) -> Entry | None:
    """The entry of a line; None for a comment, an empty line or one with too few fields (mount skips it, too).

    Three fields are enough, the options may be missing: util-linux, libmount/src/tab_parse.c, mnt_parse_table_line.
    """
    fields = line.split()
    if len(fields) < 3 or fields[0].startswith("#"):
        return None
    source, mountpoint, fstype, options = map(unescape, [*fields, "defaults"][:4])
    return Entry(source, mountpoint, fstype, tuple(options.split(",")))


def _lines(text: str) -> Iterator[tuple[str, Entry | None]]:
    # split at newlines only: splitlines() would also break a line at a form feed
    return ((line, _entry(line)) for line in text.split("\n"))


def entries(text: str) -> tuple[Entry, ...]:
    """The mounts of /etc/fstab."""
    return tuple(entry for _, entry in _lines(text) if entry is not None)


def mount_table(text: str) -> tuple[Entry, ...]:
    """The mounts of /proc/self/mounts; of two at one place the later is on top.

    Raises UnknownOutput on a line that has not its six fields: then the table is not what it seems.
    """
    found = []
    for line, entry in _lines(text):
        if not line:
            continue
        if entry is None or len(line.split()) != 6:
            raise UnknownOutput(f"unexpected line in the table of mounts: {line!r}")
        found.append(entry)
    return tuple(found)


def mounted_at(table: tuple[Entry, ...], mountpoint: str) -> Entry | None:
    """What is on top at a mount point, None when nothing is mounted."""
    return next((entry for entry in reversed(table) if entry.mountpoint == mountpoint), None)


def mount_unit(mountpoint: str) -> str:
    """The systemd unit of a mount point: systemd.unit(5), "string escaping for inclusion in unit names"."""
    name = "/".join(part for part in mountpoint.split("/") if part)
    escaped = "".join(
        "-" if char == "/" else char if re.match(r"[A-Za-z0-9:_.]", char) else f"\\x{byte:02x}"
        for char, byte in ((chr(byte), byte) for byte in name.encode())
    )
    return f"{escaped.replace('.', chr(92) + 'x2e', 1) if escaped.startswith('.') else escaped}.mount"


def _place(mountpoint: str) -> str:
    """A mount point in its one spelling: mount(8) takes doubled or trailing slashes, `.` and `..` for the same place
    (util-linux, lib/strutils.c, streq_paths, and the canonical paths of libmount/src/tab.c)."""
    return posixpath.normpath(re.sub("^/+", "/", mountpoint))


def with_entry(text: str, wanted: Entry) -> str:
    """The text of /etc/fstab with one line for the wanted mount; every other line stays as it is, byte for byte.

    A line is ours when it mounts NFS from the same server (the stunnel on 127.0.0.1) at the same place. It keeps its
    place, and the text is returned unchanged when that line says the same already.

    Raises FstabConflict when another line claims the mount point, or two do.
    """
    server = wanted.source.partition(":")[0]
    place = _place(wanted.mountpoint)
    lines = text.split("\n")
    claims = [(n, e) for n, (_, e) in enumerate(_lines(text)) if e is not None and _place(e.mountpoint) == place]
    for number, entry in claims:
        if entry.fstype not in NFS_TYPES or entry.source.partition(":")[0] != server:
            raise FstabConflict(f"line {number + 1} mounts {entry.source} ({entry.fstype}) at {entry.mountpoint}")
    if len(claims) > 1:
        numbers = " and ".join(str(number + 1) for number, _ in claims)
        raise FstabConflict(f"lines {numbers} both mount something at {wanted.mountpoint}")
    if claims:
        [(number, entry)] = claims
        if entry == wanted:
            return text
        lines[number] = wanted.line()
        return "\n".join(lines)
    newline = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{newline}{wanted.line()}\n"
