"""carp-auto-failback.sh: back to the primary only when nothing can be lost by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from f3s.controller import HOLD, STARTED
from tests.files.storage import StorageHost

NOW = 1_795_363_200
CURSOR = "zdata/enc/nfsdata#zrepl_CURSOR_G_54fe0d84ea1b4e1c_J_f0_to_f1_nfsdata"


def replicated(host: StorageHost, txg: int = 300, age: int = 20, name: str = CURSOR) -> None:
    """The standby confirmed a snapshot of transaction group `txg` that is `age` seconds old."""
    old = "50\t1700000000\tzdata/enc/nfsdata#zrepl_CURSOR_G_0_J_f0_to_f1_nfsdata\n"
    host.state("bookmarks", f"{txg}\t{NOW - age}\t{name}\n{old}")


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    """Everything speaks for a failback."""
    host = StorageHost(tmp_path)
    host.command("date", f'[ "$1" != +%s ] || {{ echo {NOW}; exit; }}; exec /bin/date "$@"', record=False)
    host.write("/var/run/f3s/backup.createtxg", "250\n")
    replicated(host)
    return host


def run(host: StorageHost) -> str:
    result = host.run(host.failback)
    assert result.rc == 0, result
    assert (result.out, result.err) == ("", "")
    line = host.path("/var/log/carp-auto-failback.log").read_text().splitlines()[-1]
    return line[len("2026-01-01 00:00:00 ") :]


def test_a_proven_standby_gives_the_address_back(host: StorageHost) -> None:
    assert run(host).startswith("failback: MASTER again; the standby has a snapshot that is 20 s old")
    assert host.carp_now() == ("MASTER", 0)
    assert host.log()[-1].startswith("failback: MASTER again")


def test_a_failback_that_does_not_hold(host: StorageHost) -> None:
    host.flag("peer_wins")
    result = host.run(host.failback)
    assert result.rc == 1
    log = host.path("/var/log/carp-auto-failback.log").read_text()
    assert "failback failed: carp: state is BACKUP, not MASTER, 1 s after the change" in log
    assert host.log()[-1].startswith("failback failed: ")


def test_a_link_that_goes_down_meanwhile_is_no_failed_failback(host: StorageHost) -> None:
    """Both links of the pair went down for some seconds (seen): nothing was decided, and the next runs look again."""
    host.flag("blip", "2")
    assert run(host) == (
        "stay: carp: re0 has no link (state is INIT), 2 s after the change: who has the address is decided when the "
        "link is back"
    )
    assert not any("failed" in line for line in host.log())
    assert not host.path("/var/run/f3s/service.failed").exists()
    assert run(host) == "stay: re0 has no link (state is INIT)"
    (host._state / "blip").unlink()
    host.carp("BACKUP")
    assert run(host).startswith("failback: MASTER again")


def test_a_deploy_that_replaces_the_program_while_it_runs_makes_it_jump_over_no_check(host: StorageHost) -> None:
    """files.put writes into the file, and sh goes on reading where it was. bash reads on after each command, FreeBSD's
    sh after each kilobyte."""
    text = host.failback.read_text()
    here = text.index("\n", text.index("dataset_ready ||")) + 1
    host.state("newer", f"{'#' * (here - 1)}\n{text[text.index('proof=') :]}")
    host.command("zpool", f'cat "$STATE/newer" >"{host.failback}"; cat "$STATE/health"')
    host.state("bookmarks", "")
    host.run(host.failback, shell="/bin/bash")  # noqa: S604 (the name of the shell, not a switch)
    assert host.carp_now() == ("BACKUP", 0)


def only_of(host: StorageHost, name: str) -> None:
    host.state("bookmarks", f"300\t{NOW}\tzdata/enc/nfsdata#zrepl_{name}\n")


UNCONFIRMED = "no replication by f0_to_f1_nfsdata has ever been confirmed"
DIVERGED = "the last replicated snapshot is 3600 s old (at most 300): the standby may have diverged"
TWICE = "this host gave the address away twice within 1800 s: no automatic failback until the last time is 1800 s ago"
FLOOR = "/var/run/f3s/backup.createtxg"
REASONS: list[tuple[Callable[[StorageHost], object], str]] = [
    (lambda host: host.carp("MASTER"), "already MASTER"),
    (lambda host: host.carp("INIT"), "re0 has no link (state is INIT)"),
    (lambda host: host.carp("none"), "no CARP state of vhid 1 on re0"),
    (lambda host: host.path(STARTED).unlink(), "f3s_storage is not started"),
    (lambda host: host.write(HOLD, "since now\n"), "held by carp backup (since now): carp master ends that"),
    (
        lambda host: host.write("/var/run/f3s/service.failed", "service nfsd did not start\n"),
        "service nfsd did not start here: mend it, then run carp master",
    ),
    (lambda host: host.state("health", "SUSPENDED\n"), "pool zdata is SUSPENDED"),
    (lambda host: host.properties(keystatus="unavailable"), "the key of zdata/enc/nfsdata is not loaded"),
    (lambda host: host.mounted(None), "zdata/enc/nfsdata is not mounted on SHARE"),
    (lambda host: host.path("/data/nfs/nfs.DO_NOT_REMOVE").unlink(), "marker SHARE/nfs.DO_NOT_REMOVE is missing"),
    (
        lambda host: host.write("/data/nfs/nfs.NO_AUTO_FAILBACK", ""),
        "SHARE/nfs.NO_AUTO_FAILBACK is there: carp auto-failback enable removes it",
    ),
    (lambda host: host.command("zpool", "exec /bin/sleep 30"), "zpool list zdata did not end in 1 s"),
    (
        lambda host: host.path(FLOOR).unlink(),
        "the controller has not recorded yet where the snapshots stood when this host became BACKUP",
    ),
    # as a list of no snapshots left it: an empty line, which is no number to compare with
    (lambda host: host.write(FLOOR, "\n"), "FLOOR is damaged: service f3s_storage restart makes it anew"),
    (lambda host: (host._state / "bookmarks").unlink(), "the bookmarks of zdata/enc/nfsdata cannot be read"),
    (lambda host: host.state("bookmarks", ""), UNCONFIRMED),
    (lambda host: only_of(host, "CURSOR_G_1_J_f0_to_f2_nfsdata"), UNCONFIRMED),
    # made before a step is sent: it proves nothing
    (lambda host: only_of(host, "CURSORTENTATIVE_G_1_J_f0_to_f1_nfsdata"), UNCONFIRMED),
    (lambda host: replicated(host, txg=250), "no replication has succeeded since this host became BACKUP in this boot"),
    # replication worked after the boot and then stopped: so it does when the standby was written to
    (lambda host: replicated(host, age=3600), DIVERGED),
    (lambda host: replicated(host, age=-3600), "the last replicated snapshot is from the future: check the clock"),
    (lambda host: host.write("/var/run/f3s/flaps", f"{NOW - 1700}\n"), f"{TWICE}; carp master ends that"),
]


@pytest.mark.parametrize(("breaks", "said"), REASONS)
def test_each_single_reason_is_enough_to_stay(
    host: StorageHost, breaks: Callable[[StorageHost], object], said: str
) -> None:
    breaks(host)
    assert run(host) == f"stay: {said.replace('SHARE', str(host.mountpoint)).replace('FLOOR', str(host.path(FLOOR)))}"
    assert host.changes() == []


def test_calm_does_not_last_for_ever(host: StorageHost) -> None:
    host.write("/var/run/f3s/flaps", f"{NOW - 1801}\n")
    assert run(host).startswith("failback: MASTER again")
    assert not host.path("/var/run/f3s/flaps").exists()


def test_a_silent_block_file_means_stay(host: StorageHost) -> None:
    host.command("test", 'case $2 in *NO_AUTO*) exec /bin/sleep 30 ;; esac; exec /usr/bin/test "$@"')
    assert run(host) == f"stay: not known whether {host.mountpoint}/nfs.NO_AUTO_FAILBACK is there"


def test_the_standby_never_fails_back(tmp_path: Path) -> None:
    host = StorageHost(tmp_path, "standby")
    assert run(host) == "stay: this host is not the primary"


def test_every_run_leaves_a_line(host: StorageHost) -> None:
    host.carp("MASTER")
    run(host)
    run(host)
    assert len(host.path("/var/log/carp-auto-failback.log").read_text().splitlines()) == 2
    assert host.log() == [], "syslog gets successes and failures only"


def test_the_proof_comes_from_the_controller(host: StorageHost) -> None:
    """The whole way: BACKUP at boot, a replication, failback."""
    host.state("bookmarks", "")
    host.run(host.control, "start")
    assert run(host).startswith("stay: no replication")
    replicated(host, txg=251, age=5)
    assert run(host).startswith("failback: ")


def test_usage_and_root(host: StorageHost) -> None:
    assert host.run(host.failback, "now").rc == 64
    host.state("uid", "1001\n")
    assert host.run(host.failback).rc == 77
