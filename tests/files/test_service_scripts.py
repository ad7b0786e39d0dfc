"""files/once/run-service.sh and stop-service.sh under a real sh."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import Result, StubHost

# -- run-service: what it prints and how it ends, also with a daemon left behind --


def run(host: StubHost) -> Result:
    """With its output on pipes, read to their end, as ssh does it."""
    host.path("/var/run").mkdir(parents=True)
    return host.once("run-service", "zrepl", "onestart", timeout=5)


@pytest.mark.parametrize("status", [0, 3])
def test_output_and_status_of_the_service(tmp_path: Path, status: int) -> None:
    host = StubHost(tmp_path)
    host.command("service", f'echo "Starting $1."; echo "no $2" >&2; exit {status}')
    assert run(host) == Result(status, "Starting zrepl.\nno onestart\n", "")
    assert host.calls("service") == [["zrepl", "onestart"]]
    said = host.path("/var/run/f3s-said-by-zrepl")
    assert said.read_text() == "Starting zrepl.\nno onestart\n"
    assert said.stat().st_mode & 0o077 == 0


def test_a_daemon_that_keeps_its_output_is_not_waited_for(tmp_path: Path) -> None:
    host = StubHost(tmp_path)
    host.command("service", 'echo "Starting $1."; sleep 20 &')
    assert run(host).out == "Starting zrepl.\n"


# -- stop-service: what counts is whether the service is gone --


@pytest.mark.parametrize(("stop", "looks", "rc", "sleeps"), [(0, 0, 0, 0), (1, 0, 0, 0), (1, 3, 0, 3), (0, 99, 1, 10)])
def test_it_waits_until_the_service_is_gone(tmp_path: Path, stop: int, looks: int, rc: int, sleeps: int) -> None:
    host = StubHost(tmp_path)
    host.counted("service", f"case $2 in onestop) exit {stop} ;; esac\n[ $n -le {looks + 1} ]")
    host.command("sleep")
    result = host.once("stop-service", "nfsuserd")
    assert result.rc == rc
    assert host.calls("service")[0] == ["nfsuserd", "onestop"]
    assert set(map(tuple, host.calls("service")[1:])) == {("nfsuserd", "onestatus")}
    assert len(host.calls("sleep")) == sleeps
    assert ("does not end" in result.err) is (rc == 1)
