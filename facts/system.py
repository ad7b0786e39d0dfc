"""What a system is made of: its release, packages and addresses."""

from __future__ import annotations

from typing_extensions import override

from f3s.quoting import Shell
from f3s.system import System, parse_system
from f3s.textfile import from_hex
from facts.base import HostFact, marked


class FreebsdSystem(HostFact[System]):
    """Release of the kernel, all packages, all interfaces. A host on which pkg was never installed has no packages."""

    @override
    def command(self) -> str:
        return marked(
            Shell(
                "echo '=== release' && uname -rs && echo '=== packages' && "
                "if pkg -N >/dev/null 2>&1; then pkg query '%n %v'; fi && echo '=== ifconfig' && ifconfig"
            )
        )

    read = staticmethod(parse_system)


class LinuxSystem(HostFact[System]):
    """Name and version of the distribution, all packages, all addresses."""

    @override
    def command(self) -> str:
        return marked(
            Shell(
                "echo '=== release' && ( . /etc/os-release && echo $NAME $VERSION_ID ) && echo '=== packages' && "
                "{ ! command -v rpm >/dev/null || rpm -qa --queryformat '%{NAME} %{VERSION}\\n'; } && "
                "echo '=== ip' && ip -4 -o address show"
            )
        )

    read = staticmethod(parse_system)


class RootCrontab(HostFact[tuple[str, ...]]):
    """The lines of root's crontab(1) on FreeBSD; none without one. In hex on the way: no byte is lost."""

    @override
    def command(self) -> str:
        listed = "crontab -l >/dev/null && crontab -l | od -An -v -tx1"
        return marked(Shell(f"if [ -e /var/cron/tabs/root ]; then {listed}; fi"))

    @override
    def read(self, lines: list[str]) -> tuple[str, ...]:
        return tuple(from_hex(lines).removesuffix("\n").split("\n")) if lines else ()
