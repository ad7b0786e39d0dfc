"""The facts that only verify, failover and failback ask: their commands under sh, and what they refuse."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.controller import CONTROL, STORAGE_CONF, Status, wanted_values
from facts.base import END
from facts.clients import MountStates
from facts.clock import Clock
from facts.controller import Decisions, StorageController
from facts.tls import Tls
from tests.f3s.settings_data import build, good
from tests.shell import shell

SITE = build(good())


def sh(command: str) -> list[str]:
    return shell(command).stdout.splitlines()


def test_the_clock() -> None:
    fact = Clock()
    found = fact.process(sh(fact.command()))
    assert found is not None
    assert abs(found.now - time.time()) < 60
    assert found.off.off is False
    kept = fact.process(["1", "42 ntpd", END])
    assert (found.keeper in ("", "ntpd", "chronyd"), kept and kept.keeper) == (True, "ntpd")
    with pytest.raises(FactProcessError):
        fact.process(["1", "2", END])


def test_the_controller_is_asked_for_its_status(tmp_path: Path) -> None:
    """Its exit status says whether the host serves or could; from 64 on it was not asked at all."""
    control, conf = tmp_path / "control", tmp_path / "storage.conf"
    command = StorageController().command().replace(CONTROL, str(control)).replace(STORAGE_CONF, str(conf))
    assert StorageController().process(sh(command)) == Status()
    values = wanted_values(SITE.primary, SITE)
    conf.write_text("".join(f"{name}='{value}'\n" for name, value in values.variables.items()))
    for ends in (0, 1, 78):
        lines = "status=3\nstarted=yes\nright=no\ncarp=none\nclaim=\nready=no\nreason=no key\nfsid=none\nfsid_number=0"
        lines += "\nepoch=0\nwriter=f0\nsince=0\nproven=no"
        control.write_text(f'#!/bin/sh\n[ "$*" = status ] || exit 64\necho "{lines}"\nexit {ends}\n')
        control.chmod(0o755)
        if ends < 64:
            assert StorageController().process(sh(command)) == Status(
                started=True, reason="no key", writer="f0", values=values
            )
            continue
        with pytest.raises(FactProcessError):
            StorageController().process(sh(command))


def test_what_the_controller_decided_is_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "messages"
    ours = ["Nov 30 07:38:05 f0 f3s_storage: event: 1@re0 MASTER", "Dec  1 00:00:00 f0 f3s_storage: MASTER, ready"]
    log.write_text("\n".join([*ours, "Dec  1 00:00:01 f0 f3s_report: wrong: x", "junk f3s_storage: "]) + "\n")
    command = Decisions().command().replace("/var/log/messages", str(log))
    assert Decisions().process(sh(command)) == tuple(line.replace(" f0 f3s_storage:", "") for line in ours)


@pytest.mark.parametrize(("status", "known"), [(0, True), (1, True), (2, False), (127, False)])
def test_the_monitor_is_believed_by_its_exit_status(tmp_path: Path, status: int, known: bool) -> None:
    monitor = tmp_path / "the monitor"
    monitor.write_text(f"#!/bin/sh\n[ \"$*\" = --status ] || exit 9\necho '{{}}'\nexit {status}\n")
    monitor.chmod(0o755)
    output = sh(MountStates().command(str(monitor)))
    if known:
        assert MountStates().process(output) == ()
    else:
        with pytest.raises(FactProcessError):
            MountStates().process(output)


def test_the_question_about_tls_is_quoted() -> None:
    command = Tls().command("192.0.2.1", 2323, "a b", "/nonexistent/$(reboot)", "/nonexistent/ca")
    done = shell(command)
    assert done.returncode == 1
    assert "/nonexistent/$(reboot) is missing" in done.stderr
