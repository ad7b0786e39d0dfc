"""What a Rocky Linux client says about SELinux, and its monitor about the mounts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from typing_extensions import override

from f3s.parsing import UnknownOutput, number, sections
from f3s.quoting import Shell, command
from f3s.verify.mount_state import MountState, parse_status
from facts.base import HostFact, marked

MODES = ("Enforcing", "Permissive", "Disabled", "absent")
_PORT_LINE = re.compile(r"(?P<type>\w+)\s+(?P<protocol>tcp|udp|dccp|sctp)\s+(?P<ranges>[\d, -]+)")


@dataclass(frozen=True)
class PortLabel:
    """A type and the TCP ports from `low` to `high` that have it."""

    type: str
    low: int
    high: int


@dataclass(frozen=True)
class Selinux:
    """`mode`: one of MODES. `labels`: those of TCP ports; None where semanage is not installed or has no policy."""

    mode: str
    labels: tuple[PortLabel, ...] | None

    def type_of(self, port: int) -> str | None:
        """The type of a TCP port: the narrowest range counts, as in the kernel's policy. None: no range has it."""
        ranges = [label for label in self.labels or () if label.low <= port <= label.high]
        return min(ranges, key=lambda label: label.high - label.low).type if ranges else None


class HostName(HostFact[str]):
    """The name that the host has now (uname(1)), which need not be the one in the inventory."""

    @override
    def command(self) -> str:
        return marked(Shell("uname -n"))

    @override
    def read(self, lines: list[str]) -> str:
        if len(lines) != 1 or not lines[0]:
            raise UnknownOutput(f"a host has one name, not {lines}")
        return lines[0]


class SelinuxState(HostFact[Selinux]):
    """The mode of SELinux and the labels of TCP ports."""

    @override
    def command(self) -> str:
        return marked(
            Shell(
                "echo '=== mode' && if command -v getenforce >/dev/null; then getenforce; else echo absent; fi && "
                "if command -v semanage >/dev/null && selinuxenabled; then echo '=== ports' && semanage port -l -n; fi"
            )
        )

    @override
    def read(self, lines: list[str]) -> Selinux:
        parts = sections(lines)
        mode = parts.get("mode", [])
        if len(mode) != 1 or mode[0] not in MODES:
            raise UnknownOutput(f"unknown mode of SELinux: {mode!r}")
        ports = parts.get("ports")
        return Selinux(mode[0], None if ports is None else tuple(label for line in ports for label in _labels(line)))


class MountStates(HostFact[tuple[MountState, ...]]):
    """What the monitor found at its last check. Touches no mount.

    + monitor: path of check-nfs-mount.sh
    """

    @override
    def command(self, monitor: str) -> str:
        # 1: a mount is not healthy, 3: not checked lately
        return marked(command("{} --status || case $? in 1 | 3) ;; *) false ;; esac", monitor))

    @override
    def read(self, lines: list[str]) -> tuple[MountState, ...]:
        return parse_status(lines)


def _labels(line: str) -> list[PortLabel]:
    match = _PORT_LINE.fullmatch(line.rstrip())
    if match is None:
        raise UnknownOutput(f"unexpected line from semanage port -l: {line!r}")
    if match["protocol"] != "tcp":
        return []
    labels = []
    for item in match["ranges"].split(","):
        low, _, high = item.strip().partition("-")
        labels.append(PortLabel(match["type"], number(low, "a port"), number(high or low, "a port")))
    return labels
