"""Lines as stunnel 5.68 and 5.75 write them to syslog (tests/templates/test_stunnel.py has them from the real one)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from f3s.connections import Connection, Ending, parse_connections, to_end
from f3s.parsing import UnknownOutput
from f3s.pki.certificates import Issued

VIP = "192.168.1.138:2323"
R0, R1, NAT = "192.168.1.120:36202", "192.168.1.121:50000", "192.168.1.99"


def accepted(number: int, client: str, pid: int = 925, service: str = "nfs") -> str:
    return f"Nov 22 08:59:18 f1 stunnel[{pid}]: LOG5[{number}]: Service [{service}] accepted connection from {client}"


def certificate(number: int, name: str, pid: int = 925) -> str:
    return f"Nov 22 08:59:18 f1 stunnel[{pid}]: LOG5[{number}]: Certificate accepted at depth=0: CN={name}"


def closed(number: int, how: str = "closed") -> str:
    count = "3136 byte(s) sent to TLS, 2912 byte(s) sent to socket"
    return f"Nov 22 08:59:20 f1 stunnel[925]: LOG5[{number}]: Connection {how}: {count}"


def connected(client: str, local: str = VIP, who: str = "stunnel  stunnel    925   3 ") -> str:
    """A line of sockstat.c, which has two forms for a socket that no process has any more."""
    return f"{who} tcp4   {local:<45} {client}"


def parsed(sockets: list[str], log: list[str]) -> dict[str, str | None]:
    lines = ["=== pid", "925", "=== sockets", *sockets, "=== log", *log, "=== whole"]
    return {each.client: each.subject for each in parse_connections(lines, VIP, "nfs")}


def test_the_certificate_of_each_open_connection_is_found_by_its_number() -> None:
    log = [accepted(0, R0), accepted(1, R1), certificate(1, "r1"), certificate(0, "r0"), accepted(2, "192.168.1.120:1")]
    assert parsed([connected(R0), connected(R1)], log) == {R0: "CN=r0", R1: "CN=r1"}


def test_clients_behind_one_address_are_told_apart_by_their_ports() -> None:
    log = [accepted(0, f"{NAT}:1"), certificate(0, "r0"), accepted(1, f"{NAT}:2"), certificate(1, "r1")]
    assert parsed([connected(f"{NAT}:1"), connected(f"{NAT}:2")], log) == {f"{NAT}:1": "CN=r0", f"{NAT}:2": "CN=r1"}


@pytest.mark.parametrize("how", ["closed", "reset", "reset/closed", "closed/reset"])
def test_a_connection_that_has_ended_says_nothing_about_the_next_one_from_there(how: str) -> None:
    ended = [accepted(0, R0), certificate(0, "r0"), closed(0, how)]
    assert parsed([connected(R0)], ended) == {R0: None}
    assert parsed([connected(R0)], [*ended, accepted(1, R0), certificate(1, "r1")]) == {R0: "CN=r1"}


@pytest.mark.parametrize("order", [(7, 3), (3, 7)])
def test_the_later_one_counts_if_the_end_of_the_other_is_lost(order: tuple[int, int]) -> None:
    first, second = order
    log = [accepted(first, R0), certificate(first, "r0"), accepted(second, R0), certificate(second, "r1")]
    assert parsed([connected(R0)], log) == {R0: "CN=r1"}
    again = [accepted(3, R1), accepted(7, R0), certificate(7, "r0"), accepted(3, R0), certificate(3, "r1")]
    assert parsed([connected(R0)], again) == {R0: "CN=r1"}


def test_another_process_is_another_count() -> None:
    """One of before a restart or a boot; the port may be the same."""
    old = [accepted(0, R0, pid=1679), certificate(0, "r0", pid=1679)]
    assert parsed([connected(R0)], old) == {R0: None}
    new = [accepted(0, R0), *old, certificate(0, "r1")]
    assert parsed([connected(R0)], new) == {R0: "CN=r1"}


def test_a_number_that_was_used_before_is_not_the_connection_of_then() -> None:
    """The process ID of an earlier boot, and its numbers, come again."""
    log = [accepted(0, R0), certificate(0, "r0"), accepted(0, R1, service="mine"), certificate(0, "r1")]
    assert parsed([connected(R0)], log) == {R0: None}


def test_no_certificate_yet_and_no_line_at_all_are_not_known() -> None:
    assert parsed([connected(R0), connected(R1)], [accepted(0, R0)]) == {R0: None, R1: None}


def test_only_connections_to_the_tunnel_that_a_process_has() -> None:
    others = [
        connected("127.0.0.1:2049 ", "127.0.0.1:40000"),
        connected("127.0.0.1:50001", "127.0.0.1:2323"),
        connected(R1, who="?        ?          ?     ? "),
        connected(R1, who="??       ??         ??    ??"),
    ]
    assert parsed([*others, connected(R0)], []) == {R0: None}


@pytest.mark.parametrize(
    "lines",
    [
        ["=== pid", "925", "=== sockets", "=== log"],
        ["=== pid", "=== sockets", "=== log", "=== whole"],
        ["=== pid", "x", "=== sockets", "=== log", "=== whole"],
        ["=== pid", "925", "=== sockets", "USER COMMAND", "=== log", "=== whole"],
        ["=== pid", "925", "=== sockets", "=== log", "Binary file (standard input) matches", "=== whole"],
    ],
)
def test_refuses_what_it_does_not_know(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_connections(lines, VIP, "nfs")


NOW = datetime(2026, 11, 29, tzinfo=UTC)


def issued(serial: int, name: str, *, revoked: bool = False, ca: int = 1) -> Issued:
    return Issued(serial, name, NOW, NOW if revoked else None, ca)


def test_a_revoked_certificate_ends_its_connections_and_no_others() -> None:
    known = [issued(0xAB, "r0", revoked=True), issued(0xCD, "r0"), issued(0xEF, "r1")]
    connections = [
        Connection("a:1", "CN=r0, serialNumber=ab"),
        Connection("a:2", "CN=r0, serialNumber=cd"),
        Connection("b:1", "CN=r1, serialNumber=ef"),
        # made before the number was part of the subject
        Connection("b:2", "CN=r1"),
    ]
    assert to_end(connections, known, {1}) == (Ending("a:1", "r0: its certificate is revoked"),)
    old = to_end([Connection("a:3", "CN=r0")], known, {1})
    assert old == (Ending("a:3", "r0: it may be one of its certificates that are refused now"),)


def test_a_ca_that_is_dropped_ends_what_its_certificates_have_open() -> None:
    known = [issued(0xAB, "r0"), issued(0xCD, "r0", ca=2), issued(0xEF, "r1", ca=2)]
    connections = [Connection(f"a:{serial}", f"CN=r0, serialNumber={serial}") for serial in ("ab", "cd", "12")]
    assert to_end(connections, known, {1, 2}) == ()
    assert to_end(connections, known, {2}) == (
        Ending("a:ab", "r0: its certificate is of a CA that is not trusted any more"),
        # whoever has the key of the old CA makes what he likes
        Ending("a:12", "r0: nobody knows its certificate"),
    )


@pytest.mark.parametrize("subject", [None, "", "O=somebody"])
def test_one_that_nobody_knows_ends_too_but_only_if_any_certificate_is_refused(subject: str | None) -> None:
    unknown = [Connection("a:1", subject)]
    assert to_end(unknown, [issued(1, "r0", revoked=True)], {1}) == (Ending("a:1", "the log does not say whose it is"),)
    assert to_end(unknown, [issued(1, "r0")], {1}) == ()
