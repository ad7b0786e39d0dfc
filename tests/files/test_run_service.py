"""files/once/run-service.sh under a real sh: what it prints and how it ends, also with a daemon left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost


def run(host: StubHost) -> Result:
    """With its output on pipes, read to their end, as ssh does it."""
    host.path("/tmp").mkdir()
    program = host.install(FILES / "once" / "run-service.sh", "/run-service.sh")
    return host.run(program, "zrepl", "onestart", timeout=5)


@pytest.mark.parametrize("status", [0, 3])
def test_output_and_status_of_the_service(tmp_path: Path, status: int) -> None:
    host = StubHost(tmp_path)
    host.command("service", f'echo "Starting $1."; echo "no $2" >&2; exit {status}')
    assert run(host) == Result(status, "Starting zrepl.\nno onestart\n", "")
    assert host.calls("service") == [["zrepl", "onestart"]]
    assert list(host.path("/tmp").iterdir()) == []


def test_a_daemon_that_keeps_its_output_is_not_waited_for(tmp_path: Path) -> None:
    host = StubHost(tmp_path)
    host.command("service", 'echo "Starting $1."; sleep 20 &')
    assert run(host).out == "Starting zrepl.\n"
