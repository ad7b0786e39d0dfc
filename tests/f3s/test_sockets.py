"""Lines of sockstat from the recording and as usr.bin/sockstat/sockstat.c prints them."""

from __future__ import annotations

import pytest

from f3s.parsing import UnknownOutput
from f3s.sockets import ANY, Listener, parse_sockstat

STUNNEL = Listener("stunnel", 3729, "tcp4", "192.168.1.138", 2323)
SEEN = [
    ("stunnel  stunnel    3729  9  tcp4   192.168.1.138:2323    *:*", STUNNEL),
    ("root     nfsd       3718  5  tcp4   *:2049                *:*", Listener("nfsd", 3718, "tcp4", ANY, 2049)),
    ("?        ?          ?     ?  udp4   *:2049                *:*", Listener("?", None, "udp4", ANY, 2049)),
    ("root     rpcbind    1553  10 udp4   *:778                 *:*", Listener("rpcbind", 1553, "udp4", ANY, 778)),
    ("root     a daemon   12345 12  tcp46  *:80  *:*  ", Listener("a daemon", 12345, "tcp46", ANY, 80)),
    ("ntpd     ntpd       900   20 udp6   fe80::1%lo0:123  *:*", Listener("ntpd", 900, "udp6", "fe80::1%lo0", 123)),
    ("root     nfsd       3718  5  tcp6   ::1:2049  *:*", Listener("nfsd", 3718, "tcp6", "::1", 2049)),
    ("root     syslogd    800   6  udp4   *:*       *:*", None),
    # as FreeBSD 15 prints them: libxo's `??`, and a long user name that pushes the command into the PID
    ("??       ??         ??    ??  udp4   *:51820               *:*", Listener("?", None, "udp4", ANY, 51820)),
    ("prometheus prometheus1234  7  tcp46  *:9090  *:*", Listener("prometheus", 1234, "tcp46", ANY, 9090)),
    ("ntpd ntpd 901 27  udp6   fe80::5a47:caff:fe78:1f0e%re0:123 *:*",
     Listener("ntpd", 901, "udp6", "fe80::5a47:caff:fe78:1f0e%re0", 123)),
]  # fmt: skip


def test_each_line_is_a_socket_that_listens() -> None:
    assert parse_sockstat([line for line, _ in SEEN]) == tuple(found for _, found in SEEN if found)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "USER COMMAND PID FD PROTO LOCAL ADDRESS",
        "root nfsd x 5 tcp4 *:1 *:*",
        # where the name ends and the PID begins cannot be told
        "usernamelong python3.912345 7 tcp4 *:1 *:*",
    ],
)
def test_anything_else_is_unknown(line: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_sockstat([line])


@pytest.mark.parametrize(
    ("listener", "takes"),
    [
        (STUNNEL, True),
        (Listener("x", 1, "tcp46", ANY, 2323), True),
        (Listener("x", 1, "tcp6", ANY, 2323), False),
        (Listener("x", 1, "udp4", ANY, 2323), False),
        (Listener("x", 1, "tcp4", "127.0.0.1", 2323), False),
        (Listener("x", 1, "tcp4", ANY, 2324), False),
    ],
)
def test_whose_connections_it_takes(listener: Listener, takes: bool) -> None:
    assert listener.takes("192.168.1.138", 2323) is takes
