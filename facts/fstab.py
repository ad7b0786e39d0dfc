"""/etc/fstab to the byte, and what is mounted now, on a Linux host."""

from __future__ import annotations

from typing_extensions import override

from f3s.fstab import Entry, mount_table
from f3s.quoting import Shell
from f3s.textfile import from_hex
from facts.base import HostFact, marked


class Fstab(HostFact[str]):
    """The text of /etc/fstab, empty when there is none; in hex on the way, so that no byte of it is lost or added."""

    @override
    def command(self) -> str:
        return marked(Shell("if [ -e /etc/fstab ]; then od -An -v -tx1 /etc/fstab; fi"))

    @override
    def read(self, lines: list[str]) -> str:
        return from_hex(lines)


class LinuxMounts(HostFact[tuple[Entry, ...]]):
    """The kernel's table of mounts. No file system is asked: a dead NFS server would not answer."""

    @override
    def command(self) -> str:
        return marked(Shell("cat /proc/self/mounts"))

    @override
    def read(self, lines: list[str]) -> tuple[Entry, ...]:
        return mount_table("\n".join(lines))
