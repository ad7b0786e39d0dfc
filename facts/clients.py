"""What a Rocky Linux client says about SELinux, and its monitor about the mounts."""

from __future__ import annotations

from typing_extensions import override

from f3s.monitor import MountState, parse_status
from f3s.parsing import only_line
from f3s.quoting import Shell, command
from f3s.selinux import Selinux, parse_selinux
from f3s.stunnel import parse_attempt
from facts.base import HostFact, marked


class HostName(HostFact[str]):
    """The name that the host has now (uname(1)), which need not be the one in the inventory."""

    @override
    def command(self) -> str:
        return marked(Shell("uname -n"))

    @override
    def read(self, lines: list[str]) -> str:
        return only_line(lines, "the name of a host")


class SelinuxState(HostFact[Selinux]):
    """The mode of SELinux, the labels of TCP ports, and of k3s whether its containers may use NFS."""

    @override
    def command(self) -> str:
        return marked(
            Shell(
                "echo '=== mode' && if command -v getenforce >/dev/null; then getenforce; else echo absent; fi && "
                "if command -v semanage >/dev/null && selinuxenabled; then echo '=== ports' && semanage port -l -n; fi"
                # the package that makes containers of k3s a domain of their own; without SELinux getsebool fails
                " && if selinuxenabled && rpm -q k3s-selinux >/dev/null 2>&1; then "
                "echo '=== containers' && getsebool virt_use_nfs; fi"
            )
        )

    read = staticmethod(parse_selinux)


class PortIsOpen(HostFact[bool]):
    """Whether a user who is not root can connect to a TCP port of loopback."""

    @override
    def command(self, port: int) -> str:
        attempt = command("runuser -u nobody -- timeout 5 bash -c {}", f"exec 3<>/dev/tcp/127.0.0.1/{port}")
        return marked(Shell(f"if {attempt} 2>&1; then echo open; fi"))

    read = staticmethod(parse_attempt)


class MountStates(HostFact[tuple[MountState, ...]]):
    """What the monitor found at its last check. Touches no mount.

    + monitor: path of check-nfs-mount.sh
    """

    @override
    def command(self, monitor: str) -> str:
        # 1: a mount is not usable
        return marked(command("{} --status || test $? -eq 1", monitor))

    read = staticmethod(parse_status)
