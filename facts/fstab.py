"""What is mounted now on a Linux host."""

from __future__ import annotations

from typing_extensions import override

from f3s.fstab import Entry, mount_table
from f3s.quoting import Shell
from facts.base import HostFact, marked


class LinuxMounts(HostFact[tuple[Entry, ...]]):
    """The kernel's table of mounts. No file system is asked: a dead NFS server would not answer."""

    @override
    def command(self) -> str:
        return marked(Shell("cat /proc/self/mounts"))

    @override
    def read(self, lines: list[str]) -> tuple[Entry, ...]:
        return mount_table("\n".join(lines))
