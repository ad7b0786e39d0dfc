"""Who listens on a FreeBSD host."""

from __future__ import annotations

from typing_extensions import override

from f3s.quoting import Shell
from f3s.sockets import Listener, parse_sockstat
from facts.base import HostFact, marked


class Listeners(HostFact[tuple[Listener, ...]]):
    """The sockets of TCP and UDP that wait for somebody, with their processes; root sees all of them."""

    @override
    def command(self) -> str:
        # -w: without it FreeBSD 15 cuts addresses short (usr.bin/sockstat/main.c)
        return marked(Shell("sockstat -46lqw -P tcp,udp"))

    read = staticmethod(parse_sockstat)
