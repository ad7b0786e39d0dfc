"""The lab's own floor: hosts, guards, refusals, the connector."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import clock
from lab.core import LabError, Store
from lab.rc import boot
from scenarios.stage import pyinfra_words, ran
from tests.lab.cluster import Cluster

UNPLAYED = {
    "f0": (
        "grep -P x /etc/rc.conf",  # GNU's option
        "find / -printf x",  # GNU's primary
        "stat --format=%a /etc",
        "zdb -C",
        "sysctl hw.physmem",
        "ls --color",
        "dd if=/dev/zero of=/tmp/x conv=fsync bs=1M count=1 iflag=direct",
        "sed --in-place s/a/b/ /etc/rc.conf",
        "jail -c",
        "netstat -rn",
        "tcpdrop 192.168.1.138 2323 192.168.1.120 36202",
        "mount -t nullfs /etc /mnt",
    ),
    "r0": ("systemctl mask x", "dnf remove -y stunnel", "dnf install -y nosuch", "mount -o bind /a /b", "ip addr"),
}


@pytest.mark.parametrize("host", UNPLAYED)
def test_what_nobody_plays_fails_loudly(lab: Cluster, host: str) -> None:
    for line in UNPLAYED[host]:
        ran = lab.attempt(host, line)
        assert ran.rc == 99, line
        assert "lab: not simulated: " in ran.err, line


def test_a_program_that_is_over_before_the_asker_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    send = socket.send_fds

    def send_and_be_answered(link: socket.socket, data: list[bytes], streams: Sequence[int]) -> int:
        sent = send(link, data, streams)
        theirs.send((3).to_bytes(4, "big"))
        theirs.close()
        return sent

    monkeypatch.setattr(clock, "zygote", lambda: ours)
    monkeypatch.setattr(socket, "send_fds", send_and_be_answered)
    assert clock.run(Store(tmp_path), "f0", ["/bin/true"]).returncode == 3


def test_a_played_program_has_the_streams_the_folder_and_the_umask_of_its_caller(lab: Cluster) -> None:
    said = lab.sh("f0", "cd /tmp; umask 77; uname <&- >&- 2>&-; uname | cat; touch x; stat -f %Lp /tmp/x")
    assert said == "FreeBSD\n600\n"
    lab.sh("f0", "zfs create zroot/x; zfs snapshot zroot/x@1; zfs send zroot/x@1 | zfs recv zroot/y; zfs list zroot/y")


def test_a_program_that_takes_too_long_is_killed_and_what_it_said_is_kept(lab: Cluster) -> None:
    name = lab.hosts.host("f0").name
    done = clock.run(lab.store, name, ["/bin/sh", "-c", "echo said; while :; do :; done"], timeout=2)
    assert (done.returncode, done.stdout) == (124, b"said\n")


def test_a_refusal_fails_the_operation_even_when_the_text_is_thrown_away(lab: Cluster) -> None:
    ran = lab.pyinfra("-y", "--limit", "freebsd", "exec", "--", "jail -c 2>/dev/null; echo fine")
    assert ran.rc != 0
    assert "lab: not simulated: jail -c" in ran.output


def test_a_program_that_crashes_is_not_taken_for_one_that_fails(lab: Cluster) -> None:
    with lab.store.edit() as state:
        state.host("f0").parts["processes"] = "not a table of processes"
    with pytest.raises(LabError, match=r"the lab itself failed:\nf0\.lan\.buetow\.org: \S*sockstat -4l\nTraceback"):
        lab.sh("f0", "sockstat -4l 2>/dev/null || true")
    words = ("-y", "--limit", "f0.lan.buetow.org", "exec", "--", "sockstat -4l 2>/dev/null; echo fine")
    done = ran(pyinfra_words("lab/inventory.py", *words), None, lab.environment)
    assert done.rc != 0
    assert "lab: not simulated: " in done.output
    assert "sockstat -4l: AttributeError: " in done.output


def test_the_login_shell_of_root_is_csh(lab: Cluster) -> None:
    for line, problem in (("echo a\necho b", "Unmatched '''."), ("echo a!b", "b': Event not found.")):
        run = lab.pyinfra("exec", "--limit", "f0.lan.buetow.org", "--", line)
        assert run.rc == 1
        assert problem in run.output
    assert lab.pyinfra("exec", "--limit", "r0.lan.buetow.org", "--", "echo a!b").rc == 0


def test_without_doas_only_tmp_can_be_written(lab: Cluster) -> None:
    ran = lab.pyinfra(
        "-y", "--limit", "f0.lan.buetow.org", "--data", "_doas=False", "exec", "--", "touch /etc/x || touch /tmp/y"
    )
    assert ran.rc == 0, ran.output
    assert not (lab.store.root("f0.lan.buetow.org") / "etc/x").exists()
    assert (lab.store.root("f0.lan.buetow.org") / "tmp/y").exists()


def test_hosts_do_not_see_each_other_or_this_machine(lab: Cluster) -> None:
    lab.sh("f0", "echo mine > /root/x")
    assert lab.attempt("f1", "cat /root/x").rc == 1
    assert lab.sh("f0", "kill -9 1 2>/dev/null; kill -0 $PPID && echo alive") == "alive\n"


@pytest.mark.parametrize("host", ["f0", "r0"])
def test_a_host_cannot_write_on_this_machine(lab: Cluster, host: str, tmp_path: Path) -> None:
    for folder in (tmp_path, Path("/dev/shm")):  # another mount of the machine, too
        ran = lab.attempt(host, f"mkdir /.lab/real{folder}/from-a-host")
        assert "Read-only file system" in ran.err
        assert not (folder / "from-a-host").exists()
    if host == "r0":
        assert "Read-only file system" in lab.attempt(host, "touch /usr/lib/written-by-a-test").err


def test_a_host_that_is_down_cannot_be_reached(lab: Cluster) -> None:
    boot.crash(lab.store, "f2")
    ran = lab.pyinfra("-y", "--limit", "f2.lan.buetow.org", "exec", "--", "true")
    assert ran.rc != 0
    assert "f2.lan.buetow.org is down" in ran.output


def test_a_folder_without_a_lab_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="run `python -m lab up` first"):
        Store(tmp_path).read()


def test_time_passes_only_in_sleep_and_tick(lab: Cluster) -> None:
    start = lab.hosts.now
    lab.sh("f0", "sleep 1.5; sleep 2")
    lab.tick(10)
    assert lab.hosts.now == pytest.approx(start + 13.5)
    assert clock.text(start) == "2026-01-01 00:00:00 UTC"


def test_an_edit_that_fails_changes_nothing(lab: Cluster) -> None:
    def fail() -> None:
        with lab.store.edit() as cluster:
            cluster.now = 5.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert lab.hosts.now != 5.0
