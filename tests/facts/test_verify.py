"""The facts that only verify, failover and failback ask: their commands under sh, and what they refuse."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.verify.controller import FILES, Controller
from f3s.verify.mount_state import MountState
from facts.base import END
from facts.clients import MountStates
from facts.clock import Clock
from facts.controller import StorageController
from facts.nfs import NfsExported
from facts.tls import Tls


def sh(command: str) -> list[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout.splitlines()


def test_what_is_exported() -> None:
    """Lines of mount(8) as recorded on 13.2, and one of autofs."""
    lines = [
        "/dev/ada0p2 on / (ufs, local, soft-updates, journaled soft-updates)",
        "zdata on /data (zfs, local, nfsv4acls)",
        "zdata/enc/nfsdata on /data/nfs (zfs, NFS exported, local, nfsv4acls)",
        "map -hosts on /net (autofs)",
    ]
    assert NfsExported().process([*lines, END]) == ("/data/nfs",)
    with pytest.raises(FactProcessError):
        NfsExported().process(["mount: error", END])


def test_the_clock() -> None:
    now = Clock().process(sh(Clock().command()))
    assert now is not None
    assert abs(now - time.time()) < 60
    with pytest.raises(FactProcessError):
        Clock().process(["1", "2", END])


def test_the_controllers_files(tmp_path: Path) -> None:
    command = StorageController().command()
    for name, path in FILES.items():
        command = command.replace(path, str(tmp_path / name))
    found = StorageController().process(sh(command))
    assert found is not None
    assert replace_now(found) == Controller(0, False, None, None, None)
    (tmp_path / "started").touch()
    (tmp_path / "hold").write_text("since yesterday\n")
    (tmp_path / "decision").write_text("BACKUP, could serve\nsince now\n")
    (tmp_path / "floor").write_text("4711\n")
    found = StorageController().process(sh(command))
    assert found is not None
    assert replace_now(found) == Controller(0, True, "since yesterday", None, "BACKUP, could serve since now", 4711)


def replace_now(found: Controller) -> Controller:
    assert abs(found.now - time.time()) < 60
    return Controller(0, found.started, found.hold, found.failed, found.decision, found.floor)


@pytest.mark.parametrize(("status", "known"), [(0, True), (1, True), (3, True), (2, False), (127, False)])
def test_the_monitor_is_believed_by_its_exit_status(tmp_path: Path, status: int, known: bool) -> None:
    monitor = tmp_path / "the monitor"
    monitor.write_text(
        f"#!/bin/sh\n[ \"$*\" = --status ] || exit 9\necho '/data: not checked yet (x)'\nexit {status}\n"
    )
    monitor.chmod(0o755)
    output = sh(MountStates().command(str(monitor)))
    if known:
        assert MountStates().process(output) == (MountState("/data", None),)
    else:
        with pytest.raises(FactProcessError):
            MountStates().process(output)


def test_the_question_about_tls_is_quoted() -> None:
    command = Tls().command("192.0.2.1", 2323, "a b", "/nonexistent/$(reboot)", "/nonexistent/ca")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/nonexistent/$(reboot) is missing" in done.stderr
