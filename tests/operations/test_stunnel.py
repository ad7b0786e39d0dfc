from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.facts.files import File, FileContents

from f3s.connections import Connection
from f3s.pki.certificates import Issued
from f3s.sockets import ANY, Listener
from f3s.stunnel import StunnelState
from facts.sockets import Listeners
from facts.stunnel import Passing, Stunnel, TunnelConnections
from operations import stunnel
from tests.operations.harness import Result, run
from tests.shell import words_of

FILES = ["/etc/c.conf", "/etc/it's.pem"]


def reloaded(state: StunnelState) -> Result:
    return run(stunnel.reloaded, {Stunnel: state}, "/var/run/stunnel/it's.pid", "/var/run/stamp", FILES)


def test_a_running_one_with_unread_files_is_reloaded_by_its_pid_file() -> None:
    [command] = reloaded(StunnelState(running=True, stale=(FILES[0],))).commands
    assert words_of(command)[3:] == ["reload-stunnel", "/var/run/stunnel/it's.pid", "/var/run/stamp"]
    for running, says in ((True, "has read its files"), (False, "does not run here")):
        result = reloaded(StunnelState(running))
        assert (result.commands, [says in noop for noop in result.noops]) == ([], [True])


CRL = "/etc/crl.pem"
ENDS = datetime(2030, 1, 1, tzinfo=UTC)
REVOKED = [Issued(0xAB, "r0", ENDS, datetime(2026, 1, 1, tzinfo=UTC)), Issued(0xCD, "r1", ENDS)]
OPEN = (
    Connection("10.0.0.1:7", "CN=r0, serialNumber=ab"),
    Connection("10.0.0.2:8", "CN=r1, serialNumber=cd"),
    Connection("10.0.0.3:9", None),
)


def ended(
    state: StunnelState, connections: tuple[Connection, ...] | None = OPEN, issued: Sequence[Issued] = REVOKED
) -> Result:
    facts = {Stunnel: state, TunnelConnections: connections}
    return run(stunnel.refused_ended, facts, "/run/pid", "/run/stamp", CRL, f"{VIP}:2323", "nfs", issued, {1})


def test_what_a_revoked_certificate_has_open_is_ended_and_what_nobody_knows() -> None:
    [command] = ended(StunnelState(running=True, stale=(CRL,))).commands
    assert words_of(command)[3:] == [
        "end-connections",
        "/run/stamp",
        VIP,
        "2323",
        "10.0.0.1:7",
        "r0: its certificate is revoked",
        "10.0.0.3:9",
        "the log does not say whose it is",
    ]


def test_a_list_on_which_nobody_is_ends_nothing_and_is_looked_at_once() -> None:
    [command] = ended(StunnelState(running=True, stale=(CRL,)), issued=[]).commands
    assert words_of(command)[3:] == ["end-connections", "/run/stamp", VIP, "2323"]


@pytest.mark.parametrize(
    ("state", "says"),
    [(StunnelState(running=True), "looked at since"), (StunnelState(running=False), "does not run here")],
)
def test_connections_are_not_looked_at_without_a_reason(state: StunnelState, says: str) -> None:
    result = ended(state, connections=None)
    assert result.commands == []
    assert [says in noop for noop in result.noops] == [True]


VIP = "192.168.1.138"
PID_FILE = "/var/run/stunnel/stunnel.pid"
OLD = Listener("stunnel", 1679, "tcp4", VIP, 2323)


def port(
    listeners: tuple[Listener, ...] | None,
    pid: list[str] | None,
    executing: bool = True,
    started: dict[str, int] | None = None,
    passing: bool = False,
) -> list[str]:
    facts = {Listeners: listeners, FileContents: pid, File: started, Passing: passing}
    result = run(stunnel.port_is_ours, facts, [VIP, "127.0.0.1"], 2323, PID_FILE, executing=executing)
    assert result.commands == []
    return result.noops


@pytest.mark.parametrize("executing", [True, False])
@pytest.mark.parametrize("pid", [None, ["0"], ["600"], []])
def test_a_stunnel_that_its_rc_script_does_not_know_stops_the_run(pid: list[str] | None, executing: bool) -> None:
    with pytest.raises(OperationError, match=r"stunnel \(process 1679\) listens on .*:2323.* Run `kill 1679` there"):
        port((OLD,), pid, executing)


@pytest.mark.parametrize(
    ("listener", "pid", "started", "says"),
    [
        (OLD, None, {"mode": 644}, "Run `service f3s_storage stop` and `kill 1679` there"),
        (Listener("nc", 844, "tcp4", ANY, 2323), ["1679"], None, r"nc \(process 844\) listens on \*:2323"),
        # a tunnel of a client: its port is wanted for the question whether the daemon answers
        (Listener("stunnel", 7, "tcp4", "127.0.0.1", 2323), None, None, r"\(process 7\) listens on 127.0.0.1:2323"),
    ],
    ids=["a controller would start it again", "somebody else on all addresses", "on loopback"],
)
def test_who_else_has_the_port_stops_it_too(
    listener: Listener, pid: list[str] | None, started: dict[str, int] | None, says: str
) -> None:
    with pytest.raises(OperationError, match=says):
        port((listener,), pid, started=started)


def test_one_that_is_just_started_or_stopped_stops_no_run() -> None:
    assert port((OLD,), None, passing=True) == [f"{VIP}:2323 and 127.0.0.1:2323: held by the stunnel of {PID_FILE}"]


def test_the_daemon_of_the_pid_file_and_what_listens_elsewhere_are_no_matter() -> None:
    both = f"{VIP}:2323 and 127.0.0.1:2323"
    assert port((OLD, Listener("nfsd", 1, "tcp4", "127.0.0.1", 2049)), ["1679"]) == [
        f"{both}: held by the stunnel of {PID_FILE}"
    ]
    assert port((Listener("stunnel", 7, "tcp4", "192.168.1.130", 2323),), None) == [f"{both}: free"]
