"""Listening sockets, as sockstat(1) shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from f3s.parsing import matched

ANY = "*"
"""All addresses of the host."""


@dataclass(frozen=True)
class Listener:
    """A socket that waits for connections or datagrams.

    + command, pid: of the process; "?" and None for sockets of the kernel, such as nfsd's for UDP (observed)
    + protocol: e.g. tcp4, udp6
    + address: an address, or `ANY`
    """

    command: str
    pid: int | None
    protocol: str
    address: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.address == "::1" or self.address.startswith("127.")

    @property
    def owner(self) -> str:
        """The process, for people."""
        return "the kernel" if self.pid is None else f"{self.command} (process {self.pid})"

    def takes(self, address: str, port: int) -> bool:
        """Whether TCP connections to that IPv4 address come here."""
        return self.port == port and self.address in (ANY, address) and re.match("tcp4", self.protocol) is not None


# USER COMMAND PID FD PROTO LOCAL FOREIGN; a command may have blanks in its name, and run into the PID where the user's
# name is long. Sockets without a process have `?` (observed), since FreeBSD 15 `??`
_LINE = re.compile(
    r"\S+\s+(.+?)(?:\s+|(?<=[^\d.]))(\d+|\?+)\s+(?:\d+|\?+)\s+((?:tcp|udp)4?6?)\s+(\S+):(\d+|\*)\s+(\S+)\s*"
)


def parse_sockstat(lines: Iterable[str]) -> tuple[Listener, ...]:
    """Read `sockstat -46lqw -P tcp,udp`; sockets that are not bound to a port yet are left out.

    Raises UnknownOutput on a line in another form than observed on 13.2 (usr.bin/sockstat/sockstat.c).
    """
    found = []
    for command, pid, protocol, address, port, _ in _parsed(lines):
        if port != "*":
            kernel = pid.startswith("?")
            found.append(
                Listener("?" if kernel else command, None if kernel else int(pid), protocol, address, int(port))
            )
    return tuple(found)


@dataclass(frozen=True)
class Connected:
    """A connection of a process: address and port of both ends."""

    local: str
    foreign: str


def parse_connected(lines: Iterable[str]) -> tuple[Connected, ...]:
    """Read `sockstat -4cqw -P tcp`; what the kernel keeps after its process has closed it is left out.

    Raises UnknownOutput as `parse_sockstat`.
    """
    return tuple(
        Connected(f"{address}:{port}", foreign)
        for _, pid, _, address, port, foreign in _parsed(lines)
        if not pid.startswith("?")
    )


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The command, process id, protocol, local address and port, and the other end of each line."""
    for line in lines:
        yield matched(_LINE, line, "a line of sockstat").groups()
