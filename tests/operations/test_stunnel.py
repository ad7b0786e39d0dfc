from __future__ import annotations

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.facts.files import File, FileContents

from f3s.sockets import ANY, Listener
from f3s.stunnel import StunnelState
from facts.sockets import Listeners
from facts.stunnel import Stunnel
from operations import stunnel
from tests.operations.harness import Result, run

FILES = ["/etc/c.conf", "/etc/it's.pem"]


def reloaded(state: StunnelState | None) -> Result:
    return run(stunnel.reloaded, {Stunnel: state}, "/var/run/stunnel/it's.pid", "/var/run/stamp", FILES)


def test_a_running_one_with_unread_files_is_reloaded_by_its_pid_file() -> None:
    assert reloaded(StunnelState(running=True, stale=(FILES[0],))).commands == [
        "touch /var/run/stamp.new && pkill -HUP -F '/var/run/stunnel/it'\"'\"'s.pid' -x stunnel "
        "&& mv -f /var/run/stamp.new /var/run/stamp"
    ]
    for running, says in ((True, "has read its files"), (False, "does not run here")):
        result = reloaded(StunnelState(running))
        assert (result.commands, [says in noop for noop in result.noops]) == ([], [True])
    with pytest.raises(OperationError, match="could not be read"):
        reloaded(None)


VIP = "192.168.1.138"
PID_FILE = "/var/run/stunnel/stunnel.pid"
OLD = Listener("stunnel", 1679, "tcp4", VIP, 2323)


def port(
    listeners: tuple[Listener, ...] | None,
    pid: list[str] | None,
    executing: bool = True,
    started: dict[str, int] | None = None,
) -> list[str]:
    facts = {Listeners: listeners, FileContents: pid, File: started}
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


def test_the_daemon_of_the_pid_file_and_what_listens_elsewhere_are_no_matter() -> None:
    both = f"{VIP}:2323 and 127.0.0.1:2323"
    assert port((OLD, Listener("nfsd", 1, "tcp4", "127.0.0.1", 2049)), ["1679"]) == [
        f"{both}: held by the stunnel of {PID_FILE}"
    ]
    assert port((Listener("stunnel", 7, "tcp4", "192.168.1.130", 2323),), None) == [f"{both}: free"]


def test_unknown_listeners_stop_it() -> None:
    with pytest.raises(OperationError, match="Listeners could not be read"):
        port(None, None)
