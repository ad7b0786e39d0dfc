"""Who has a connection through the tunnel open, and which connections a revocation ends.

The kernel knows which connections are open, but not whose certificate made them. Only stunnel's log does
(src/client.c, src/verify.c), under the number that it gives to each connection.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from f3s.parsing import matched, only_line, sections
from f3s.pki.certificates import Issued
from f3s.sockets import parse_connected


@dataclass(frozen=True)
class Connection:
    """An open connection.

    + client: its address and port
    + subject: of its certificate, as stunnel tells it; None where the log does not
    """

    client: str
    subject: str | None


@dataclass(frozen=True)
class Ending:
    """A connection that has to end, and why."""

    client: str
    why: str


LOG_LINES = (
    "LOG5.[0-9]+.: (Service .* accepted connection from|Certificate accepted at depth=0:|Connection (closed|reset))"
)
"""Extended regular expression: the lines of stunnel that `parse_connections` looks at."""
_LINE = re.compile(r".*?\[(\d+)\]: LOG5\[(\d+)\]: (.*)")
_ACCEPTED = re.compile(r"Service \[(.*)\] accepted connection from (\S+)")
_CERTIFICATE = re.compile(r"Certificate accepted at depth=0: (.*)")


def parse_connections(lines: Sequence[str], listens: str, service: str) -> tuple[Connection, ...]:
    """Read the sections of facts.stunnel.TunnelConnections.

    They are `pid`, `sockets`, `log` with the oldest line first, and `whole`, without lines, if all of the log was read.

    + listens: address and port where the tunnel accepts connections
    + service: its name in stunnel.conf

    Lines of another process count for nothing: it has numbers of its own. So does a connection that has ended by the
    log: the one that is open from there is then not in it.
    """
    found = sections(lines, "pid", "sockets", "log", "whole")
    pid = only_line(found["pid"], "the process id of stunnel", r" *\d+ *").strip()
    clients: dict[str, str] = {}
    subjects: dict[str, str] = {}
    for line in found["log"]:
        process, number, text = matched(_LINE, line, "a line of stunnel's log").groups()
        if process != pid:
            continue
        if accepted := _ACCEPTED.fullmatch(text):
            subjects.pop(number, None)
            clients.pop(number, None)
            clients[number] = accepted[2] if accepted[1] == service else ""
        elif certificate := _CERTIFICATE.fullmatch(text):
            subjects[number] = certificate[1]
        else:
            clients.pop(number, None)
    # of two with one address the later one is open: the log has lost the end of the other
    whose = {client: subjects.get(number) for number, client in clients.items()}
    sockets = parse_connected(found["sockets"])
    return tuple(Connection(each.foreign, whose.get(each.foreign)) for each in sockets if each.local == listens)


def to_end(
    connections: Collection[Connection], issued: Collection[Issued], trusted: Collection[int]
) -> tuple[Ending, ...]:
    """The connections that were made with a certificate which would not be let in any more; and, as they may be such
    ones, those of which it is not known. None if every certificate is good.

    + issued: every certificate that was made
    + trusted: the numbers of the CAs that are
    """
    refused = [each for each in issued if each.revoked is not None or each.ca not in trusted]
    by_serial, names = {each.serial: each for each in issued}, {each.name for each in refused}
    endings = []
    for each in connections if refused else ():
        parts = dict(part.partition("=")[::2] for part in (each.subject or "").split(", "))
        name, serial = parts.get("CN"), parts.get("serialNumber")
        made = None if serial is None else by_serial.get(int(serial, 16))
        if name is None:
            endings.append(Ending(each.client, "the log does not say whose it is"))
        elif serial is None:  # from before certificates had their number in the subject
            if name in names:
                endings.append(Ending(each.client, f"{name}: it may be one of its certificates that are refused now"))
        elif made is None:
            endings.append(Ending(each.client, f"{name}: nobody knows its certificate"))
        elif made.revoked is not None:
            endings.append(Ending(each.client, f"{name}: its certificate is revoked"))
        elif made.ca not in trusted:
            endings.append(Ending(each.client, f"{name}: its certificate is of a CA that is not trusted any more"))
    return tuple(endings)
