from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.stunnel import StunnelState
from facts.base import END
from facts.stunnel import Stunnel
from tests.shell import lines_of, program_of


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        (["stopped"], StunnelState(running=False)),
        (["running"], StunnelState(running=True)),
        (["running", "stale /a b", "stale /c"], StunnelState(running=True, stale=("/a b", "/c"))),
    ],
)
def test_reads(lines: list[str], state: StunnelState) -> None:
    assert Stunnel().process([*lines, END]) == state


@pytest.mark.parametrize("lines", [[], ["stopped", "stale /a"], ["running", "other /a"], ["runs"]])
def test_refuses_what_it_does_not_know(lines: list[str]) -> None:
    with pytest.raises(FactProcessError):
        Stunnel().process([*lines, END])


TO_COME = 4_000_000_000
"""A time that a clock which is right has not reached."""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host on which stunnel started at second 1000 and has one file from before."""
    (tmp_path / "service").write_text('#!/bin/sh\n[ "$*" = "stunnel onestatus" ] && [ ! -e "${0%/*}/down" ]\n')
    (tmp_path / "service").chmod(0o755)
    for name, age in (("pid", 1000), ("old one", 900)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    return tmp_path


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    ("changed", "reloaded", "stale"),
    [
        (900, None, False),
        (1100, None, True),
        (1100, 1200, False),
        (1300, 1200, True),
        (900, 800, False),
        # reloaded while the clock was ahead: that says nothing
        (1100, TO_COME, True),
        (900, TO_COME, False),
    ],
)
def test_the_script(host: Path, shell: str, changed: int, reloaded: int | None, stale: bool) -> None:
    file, stamp = host / "it's new", host / "stamp"
    file.touch()
    os.utime(file, (changed, changed))
    if reloaded:
        stamp.touch()
        os.utime(stamp, (reloaded, reloaded))
    script = Stunnel().command(str(host / "pid"), str(stamp), [str(host / "old one"), str(file), str(host / "gone")])
    command = shlex.join([shell, "-c", script])
    stale_files = (str(file),) if stale else ()
    assert Stunnel().process(lines_of(command, host)) == StunnelState(running=True, stale=stale_files)
    (host / "down").touch()
    assert Stunnel().process(lines_of(command, host)) == StunnelState(running=False)


def test_a_daemon_that_started_while_the_clock_was_ahead_may_have_read_nothing(host: Path) -> None:
    os.utime(host / "pid", (TO_COME, TO_COME))
    script = Stunnel().command(str(host / "pid"), str(host / "stamp"), [str(host / "old one")])
    assert lines_of(script, host)[1] == f"stale {host}/old one"


def test_quotes_its_values() -> None:
    program = program_of(Stunnel().command("/p", "/var/run/it's", ["/c"]))
    assert "/var/run/it's" in shlex.split(program.split("stamp=")[1].split("\n")[0])
