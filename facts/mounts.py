"""What is mounted where, and the state of mount point directories."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.mounts import MountTable, parse_mount_table
from f3s.quoting import Shell, command
from facts.base import HostFact, marked


class Mounts(HostFact[MountTable]):
    """The mount table, and for each directory its kind, flags and first entries, as seen now.

    + directories: absolute paths; what lies below a mounted file system is not visible
    """

    @override
    def command(self, directories: Sequence[str] = ()) -> str:
        looks = [
            command(
                "echo \"=== dir \"{}; if [ -e {} ] || [ -L {} ]; then stat -f '%HT|%Sf' {} && ls -A {} | head -n 5; fi",
                *[directory] * 5,
            )
            for directory in directories
        ]
        return marked(Shell(" &&\n".join(["echo '=== mounts' && mount -p", *looks])))

    read = staticmethod(parse_mount_table)
