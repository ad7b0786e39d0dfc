"""SELinux on a Rocky Linux client: its mode, the labels of TCP ports, and what containers may do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from f3s.parsing import matched, number, only_line, sections

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
    """`mode`: one of MODES. `labels`: those of TCP ports; None where semanage is not installed or has no policy.

    `containers_use_nfs`: None where there is no policy of k3s.
    """

    mode: str
    labels: tuple[PortLabel, ...] | None
    containers_use_nfs: bool | None = None

    def type_of(self, port: int) -> str | None:
        """The type of a TCP port: the narrowest range counts, as in the kernel's policy. None: no range has it."""
        ranges = [label for label in self.labels or () if label.low <= port <= label.high]
        return min(ranges, key=lambda label: label.high - label.low).type if ranges else None


def parse_selinux(lines: Iterable[str]) -> Selinux:
    """Read the sections of facts.clients.SelinuxState; raises UnknownOutput."""
    parts = sections(lines)
    mode = only_line(parts.get("mode", []), "the mode of SELinux", "|".join(MODES))
    ports = parts.get("ports")
    labels = None if ports is None else tuple(label for line in ports for label in _labels(line))
    containers = None
    if "containers" in parts:
        said = only_line(parts["containers"], "virt_use_nfs", "virt_use_nfs --> on|virt_use_nfs --> off")
        containers = said.endswith("on")
    return Selinux(mode, labels, containers)


def _labels(line: str) -> Iterator[PortLabel]:
    match = matched(_PORT_LINE, line.rstrip(), "unexpected line from semanage port -l")
    if match["protocol"] != "tcp":
        return
    for item in match["ranges"].split(","):
        low, _, high = item.strip().partition("-")
        yield PortLabel(match["type"], number(low, "a port"), number(high or low, "a port"))
