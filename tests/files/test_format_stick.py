"""files/once/format-stick.sh under a real sh: newfs is played, and what kills a run on its way is real."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.files.stubs import FILES, StubHost

# as newfs does it: what it prints is told while it writes, and the stick has no right superblock before the end
NEWFS = """
echo "$2 on $3:"; : >"$STATE/begun"
while [ ! -e "$STATE/go-on" ]; do sleep 0.05; done
echo "super-block backups at:"; echo " 192, 33024" >&2
: >"$STATE/finished"
"""


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    stubs = StubHost(tmp_path)
    stubs.path("/tmp").mkdir()
    stubs.install(FILES / "once" / "format-stick.sh", "/format-stick.sh")
    return stubs


def test_output_and_status_of_newfs(host: StubHost) -> None:
    for status in (0, 36):
        host.command("newfs", f'echo "$3: 64.0MB"; echo "no space" >&2; exit {status}')
        result = host.run(host.path("/format-stick.sh"), "F3S_KEYS", "da0")
        assert (result.rc, result.out, result.err) == (status, "da0: 64.0MB\nno space\n", "")
    assert host.calls("newfs") == [["-L", "F3S_KEYS", "da0"]] * 2
    assert list(host.path("/tmp").iterdir()) == []


def test_nothing_is_formatted_where_its_output_cannot_be_kept(host: StubHost) -> None:
    host.command("newfs")
    host.path("/tmp").rmdir()
    assert host.run(host.path("/format-stick.sh"), "F3S_KEYS", "da0").rc != 0
    assert host.calls("newfs") == []


@pytest.mark.parametrize("status", [0, 36])
@pytest.mark.parametrize("numbers", [(), (signal.SIGHUP,), (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)])
def test_what_has_begun_is_finished(host: StubHost, numbers: tuple[signal.Signals, ...], status: int) -> None:
    """The reader is killed, as when ssh goes away; sshd or somebody sends signals to all that it has started."""
    host.command("newfs", f"{NEWFS}exit {status}")
    formatting = host.start(host.path("/format-stick.sh"), "F3S_KEYS", "da0", start_new_session=True)
    assert formatting.stdout is not None
    assert formatting.stderr is not None
    wait_for(host.bin.parent / "state" / "begun")
    formatting.stdout.close()
    formatting.stderr.close()
    for number in numbers:
        os.killpg(formatting.pid, number)
    host.state("go-on", "")
    assert formatting.wait(timeout=30) == status
    assert (host.bin.parent / "state" / "finished").exists()
    assert list(host.path("/tmp").iterdir()) == []


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.02)
