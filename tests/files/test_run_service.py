"""files/once/run-service.sh under a real sh: what it prints and how it ends, also with a daemon left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.files.stubs import FILES, StubHost


def run(host: StubHost, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With its output on pipes, read to their end, as ssh does it."""
    host.path("/tmp").mkdir()
    program = host.install(FILES / "once" / "run-service.sh", "/run-service.sh")
    return subprocess.run(
        ["/bin/sh", str(program), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": host.path_variable},
        timeout=5,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 3])
def test_output_and_status_of_the_service(tmp_path: Path, status: int) -> None:
    host = StubHost(tmp_path)
    host.command("service", f'echo "Starting $1."; echo "no $2" >&2; exit {status}')
    result = run(host, "zrepl", "onestart")
    assert (result.returncode, result.stdout) == (status, "Starting zrepl.\nno onestart\n")
    assert host.calls("service") == [["zrepl", "onestart"]]
    assert list(host.path("/tmp").iterdir()) == []


def test_a_daemon_that_keeps_its_output_is_not_waited_for(tmp_path: Path) -> None:
    host = StubHost(tmp_path)
    host.command("service", 'echo "Starting $1."; sleep 20 &')
    assert run(host, "zrepl", "onestart").stdout == "Starting zrepl.\n"
