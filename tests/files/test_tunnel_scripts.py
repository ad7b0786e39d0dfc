"""files/once/reload-stunnel.sh and end-connections.sh under a real sh."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import Result, StubHost

PID_FILE, STAMP = "/var/run/stunnel/stunnel.pid", "/var/run/stamp"
LINE = "Nov 29 20:23:09 f0 stunnel[925]: LOG{}[main]: {}\n"
GOOD = LINE.format(5, "Configuration successful")
FAILED = LINE.format(3, "Service [nfs]: Failed to initialize TLS context") + LINE.format(
    3, "Failed to reload the configuration file"
)
OTHERS = GOOD.replace("925", "926")


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    made = StubHost(tmp_path)
    made.write(PID_FILE, "925\n")
    made.write("/var/log/messages", f"{GOOD}{OTHERS}")
    return made


def reloaded(host: StubHost, said: str, after: int = 1) -> Result:
    """A reload; stunnel says so when it was waited that many times."""
    host.state("said", said)
    host.command("pkill", '[ -e "$ROOT/var/run/stamp.new" ]')
    host.counted("sleep", f'[ $n -ne {after} ] || cat "$STATE/said" >>"$ROOT/var/log/messages"')
    return host.once("reload-stunnel", host.path(PID_FILE), host.path(STAMP))


@pytest.mark.parametrize("after", [1, 50])
def test_a_reload_is_waited_for(host: StubHost, after: int) -> None:
    result = reloaded(host, GOOD, after)
    assert (result.rc, result.err) == (0, "")
    assert host.calls("pkill") == [["-HUP", "-F", str(host.path(PID_FILE)), "-x", "stunnel"]]
    assert len(host.calls("sleep")) == after
    assert host.path(STAMP).exists()


def test_a_refused_reload_is_told_with_its_reason_and_tried_again_by_the_next_run(host: StubHost) -> None:
    result = reloaded(host, FAILED)
    assert result.rc == 1
    assert "keeps what it read before" in result.err
    assert "Failed to initialize TLS context" in result.err
    assert not host.path(STAMP).exists()
    assert reloaded(host, GOOD).rc == 0


@pytest.mark.parametrize("said", ["", OTHERS])
def test_a_reload_of_which_the_log_says_nothing_is_not_believed(host: StubHost, said: str) -> None:
    result = reloaded(host, said)
    assert result.rc == 1
    assert "service stunnel onerestart" in result.err
    assert not host.path(STAMP).exists()


def test_without_the_log_it_stops_before_the_signal(host: StubHost) -> None:
    host.path("/var/log/messages").unlink()
    assert reloaded(host, GOOD).rc != 0
    assert host.calls("pkill") == []


def ended(host: StubHost, *words: str) -> Result:
    return host.once("end-connections", host.path(STAMP), "192.168.1.138", "2323", *words)


def test_each_connection_is_ended_by_its_two_ends_and_told(host: StubHost) -> None:
    host.command("tcpdrop", 'echo "$*: dropped"')
    result = ended(host, "192.168.1.120:36202", "r0: revoked", "192.168.1.121:50000", "it's not known")
    assert (result.rc, result.err) == (0, "")
    assert host.calls("tcpdrop") == [
        ["192.168.1.138", "2323", "192.168.1.120", "36202"],
        ["192.168.1.138", "2323", "192.168.1.121", "50000"],
    ]
    assert result.out.splitlines() == [
        "ended the connection from 192.168.1.120:36202 (r0: revoked)",
        "ended the connection from 192.168.1.121:50000 (it's not known)",
    ]
    assert host.path(STAMP).exists()


def test_nothing_to_end_is_remembered_too(host: StubHost) -> None:
    assert ended(host).rc == 0
    assert host.path(STAMP).exists()


def test_one_that_has_ended_by_itself_is_right(host: StubHost) -> None:
    host.command("tcpdrop", 'echo "tcpdrop: $*: No such process" >&2; exit 1')
    assert ended(host, "192.168.1.120:36202", "r0").rc == 0


def test_another_failure_stops_it_and_is_not_remembered(host: StubHost) -> None:
    host.command("tcpdrop", 'echo "tcpdrop: $*: Operation not permitted" >&2; exit 1')
    result = ended(host, "192.168.1.120:36202", "r0", "192.168.1.121:50000", "r1")
    assert result.rc == 1
    assert "Operation not permitted" in result.err
    assert len(host.calls("tcpdrop")) == 1
    assert not host.path(STAMP).exists()
