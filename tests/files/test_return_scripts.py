"""The programs of the way back: a stream from one host to the other, and the wait for a host that stands by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.storage import StorageHost
from tests.files.stubs import StubHost

WHERE = ("192.168.2.131", "8889")


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    host = StubHost(tmp_path)
    host.command("zfs", 'case $1 in send) echo stream ;; recv) cat >"$STATE/received" ;; esac')
    host.command("timeout", 'shift; exec "$@"', record=False)
    host.command("sleep")
    return host


@pytest.mark.parametrize(
    ("words", "sends"),
    [
        (("whole", "r@a"), ["send", "-w", "r@a"]),
        (("from", "@a", "r@b"), ["send", "-w", "-i", "@a", "r@b"]),
        (("token", "1-abc"), ["send", "-t", "1-abc"]),
    ],
)
def test_a_snapshot_goes_to_who_connects(host: StubHost, words: tuple[str, ...], sends: list[str]) -> None:
    host.command("nc", 'cat >"$STATE/sent"')
    assert host.once("send-snapshot", *WHERE, *words).rc == 0
    assert (host.calls("zfs"), host.state("sent")) == ([sends], "stream\n")
    assert host.calls("nc") == [["-N", "-l", "-w", "600", *WHERE]]
    assert not host.path("/var/run/f3s/sender.pid").exists()


def test_a_sender_that_nobody_came_to_is_ended_by_the_next_one_and_nobody_else_is(host: StubHost) -> None:
    host.command("nc", 'cat >"$STATE/sent"')
    host.command("ps", 'cat "$STATE/command"')
    for command, alive in (("timeout 86400 nc -N -l", False), ("sh", True)):
        host.state("command", f"{command}\n")
        left = host.start(host.write("/sleeps", "exec /bin/sleep 60"))
        host.write("/var/run/f3s/sender.pid", f"{left.pid}\n")
        assert host.once("send-snapshot", *WHERE, "whole", "r@a").rc == 0
        assert host.calls("ps")[-1] == ["-o", "command=", "-p", str(left.pid)]
        assert (left.poll() is None) is alive or left.wait(5) == -15
        left.kill()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("old", ()),
        ("new", ("-u", "-o", "readonly=on", "-o", "canmount=noauto")),
        ("volume", ("-u", "-o", "readonly=on")),
    ],
)
def test_the_receiver_waits_for_the_sender_and_forces_nothing(
    host: StubHost, kind: str, options: tuple[str, ...]
) -> None:
    host.counted("nc", "[ $n -eq 3 ] && echo stream")
    assert host.once("receive-snapshot", *WHERE, kind, "d").rc == 0
    assert host.state("received") == "stream\n"
    assert host.calls("zfs") == [["recv", "-s", *options, "d"]]
    assert host.calls("nc") == [["-d", "-w", "600", *WHERE]] * 3


def test_the_receiver_does_not_wait_for_ever(host: StubHost) -> None:
    host.state("now", "1000")
    host.command("date", 'n=$(cat "$STATE/now"); echo $((n + 50)) >"$STATE/now"; echo "$n"', record=False)
    host.command("nc", "exit 1")
    host.command("zfs", "cat >/dev/null; exit 1")
    said = host.once("receive-snapshot", *WHERE, "old", "d")
    assert said.rc == 1
    assert said.err.startswith("receive-snapshot: nobody sends on 192.168.2.131:8889")
    for gone in ('echo other >"$ROOT/var/run/f3s/receiver"', 'rm "$ROOT/var/run/f3s/receiver"'):
        host.command("nc", f"{gone}; exit 1")
        host.forget()
        assert host.once("receive-snapshot", *WHERE, "old", "d").rc == 1
        assert len(host.calls("nc")) == 1, "the next run's has come, or is about to"


def test_who_stands_by_is_ready_and_past_the_grace_period_of_its_nfsd(tmp_path: Path) -> None:
    host = StorageHost(tmp_path)
    host.quick()
    host.command("service", 'echo "$*" >>"$STATE/started"; exit 0')
    control = host.path("/usr/local/libexec/f3s/storage-control")
    control.write_text(f"#!/bin/sh\ncat {host.root}/../state/status\n")
    host.state("status", "status=3\nready=no\nreason=the key of it is not loaded\n")
    said = host.once("await-standby", "10")
    assert said.rc == 1
    assert "not ready within 10 s" in said.err
    assert "the key of it is not loaded" in said.err
    assert host.state("started") == "f3s_storage start\n"
    host.state("status", "status=3\nready=yes\n")
    assert host.once("await-standby", "0").rc == 0
    host.command("service", '! rm "$STATE/busy" 2>/dev/null')
    host.state("busy", "")
    assert host.once("await-standby", "5").rc == 0, "another look had the lock"
    host.booted(0)
    host.write("/var/run/f3s/nfsd", "9999999999\n")
    assert host.once("await-standby", "0").rc == 1, "nfsd was just started"
