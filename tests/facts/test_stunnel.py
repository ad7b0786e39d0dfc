from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.connections import Connection
from f3s.stunnel import StunnelState
from facts.base import END
from facts.stunnel import Passing, Stunnel, TunnelConnections
from tests.shell import lines_of, shell


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


@pytest.mark.parametrize("with_shell", ["sh", "bash"])
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
def test_the_script(host: Path, with_shell: str, changed: int, reloaded: int | None, stale: bool) -> None:
    file, stamp = host / "it's new", host / "the daemon's stamp"
    file.touch()
    os.utime(file, (changed, changed))
    if reloaded:
        stamp.touch()
        os.utime(stamp, (reloaded, reloaded))
    script = Stunnel().command(str(host / "pid"), str(stamp), [str(host / "old one"), str(file), str(host / "gone")])
    command = shlex.join([with_shell, "-c", script])
    stale_files = (str(file),) if stale else ()
    assert Stunnel().process(lines_of(command, host)) == StunnelState(running=True, stale=stale_files)
    (host / "down").touch()
    assert Stunnel().process(lines_of(command, host)) == StunnelState(running=False)


def test_a_daemon_that_started_while_the_clock_was_ahead_may_have_read_nothing(host: Path) -> None:
    os.utime(host / "pid", (TO_COME, TO_COME))
    files = (str(host / "old one"), str(host / "pid"))
    script = Stunnel().command(str(host / "pid"), str(host / "stamp"), files)
    assert Stunnel().process(lines_of(script, host)) == StunnelState(running=True, stale=files)


def log_line(number: int, text: str) -> str:
    return f"Nov 29 20:22:58 f0 stunnel[925]: LOG5[{number}]: {text}\n"


def connections(host: Path, with_shell: str) -> tuple[Connection, ...] | None:
    """What the fact finds, with one connection that is open and the logs of a folder."""
    (host / "pid").write_text("925\n")
    sockstat = "echo 'stunnel  stunnel    925   3  tcp4   192.168.1.138:2323    10.0.0.1:7'"
    fact = TunnelConnections()
    built = fact.command(str(host / "pid"), "192.168.1.138:2323", "nfs")
    built = shlex.join([with_shell, "-c", built.replace("/var/log/messages", str(host / "messages"))])
    done = shell(built, host, sockstat=f"[ \"$*\" = '-4cqw -P tcp' ] || exit 1\n{sockstat}")
    return fact.process(done.stdout.splitlines())


@pytest.mark.parametrize("with_shell", ["sh", "bash"])
@pytest.mark.parametrize("packed", ["gzip .gz", "bzip2 .bz2", "xz .xz", "zstd .zst", ""])
def test_connections_are_known_from_rotated_logs_too(tmp_path: Path, with_shell: str, packed: str) -> None:
    old = tmp_path / "messages.0"
    old.write_text(
        log_line(0, "Service [nfs] accepted connection from 10.0.0.1:7")
        + log_line(0, "Certificate accepted at depth=0: CN=r0, serialNumber=ab")
        + "Nov 29 20:22:59 f0 \xff\0: not for us\n"
    )
    os.utime(old, (1000, 1000))
    if packed:
        program, end = packed.split()
        subprocess.run([program, "-q", *(["--rm"] if program == "zstd" else []), old], check=True)
        os.utime(tmp_path / f"messages.0{end}", (1000, 1000))
    (tmp_path / "messages").write_text(
        log_line(0, "Connection closed: 1 byte(s) sent to TLS, 1 byte(s) sent to socket")
        + log_line(1, "Service [nfs] accepted connection from 10.0.0.1:7")
        + log_line(1, "Certificate accepted at depth=0: CN=r1, serialNumber=cd")
    )
    assert connections(tmp_path, with_shell) == (Connection("10.0.0.1:7", "CN=r1, serialNumber=cd"),)
    (tmp_path / "messages").write_text("")
    assert connections(tmp_path, with_shell) == (Connection("10.0.0.1:7", "CN=r0, serialNumber=ab"),)
    (tmp_path / "messages.1.bz2").write_text("no archive")
    with pytest.raises(FactProcessError):
        connections(tmp_path, with_shell)


@pytest.mark.parametrize(
    ("pids", "listening", "says"),
    [
        (["", "7"], 9, True),
        ([""], 2, True),
        ([""], 9, False),
        (["17"], 9, False),
    ],
    ids=["gets into its pid file", "ends", "is in no pid file", "another one is in the pid file"],
)
def test_whether_a_listener_is_just_started_or_stopped(
    tmp_path: Path, pids: list[str], listening: int, says: bool
) -> None:
    """With each sleep(1) the pid file gets its next content, and after so many looks nobody listens."""
    for name, content in zip(("pid", "next"), pids, strict=False):
        (tmp_path / name).write_text(content)
    fact = Passing()
    lines = lines_of(
        fact.command(pid=7, pid_file=f"{tmp_path}/pid"),
        tmp_path,
        sockstat=f'echo >>"$0.n"; [ "$(wc -l <"$0.n")" -gt {listening} ] || echo "root stunnel 7 8 tcp4 *:2323 *:*"',
        sleep=f'[ ! -e "{tmp_path}/next" ] || mv "{tmp_path}/next" "{tmp_path}/pid"',
    )
    assert fact.process(lines) is says
