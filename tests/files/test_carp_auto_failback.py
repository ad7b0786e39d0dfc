"""carp-auto-failback.sh: back to the primary only when nothing can be lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from f3s.controller import HOLD, STARTED
from tests.files.storage import FLOOR, LOSSES, Breaks, StorageHost, advskew

NOW = 1_795_363_200


def replicated(host: StorageHost, txg: int = 300, age: int = 20) -> None:
    """The standby confirmed a snapshot of transaction group `txg` that is `age` seconds old."""
    host.replicated(txg, NOW - age)
    old = "50\t1700000000\tzdata/enc/nfsdata#zrepl_CURSOR_G_0_J_f0_to_f1_nfsdata\n"
    host.state("bookmarks", host.state("bookmarks") + old)


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    """Everything speaks for a failback."""
    host = StorageHost(tmp_path)
    host.quick()
    host.serving("BACKUP")
    host.carp("BACKUP", peer=20)
    host.command("date", f'[ "$1" != +%s ] || {{ echo {NOW}; exit; }}; exec /bin/date "$@"', record=False)
    host.write(FLOOR, "250\n")
    replicated(host)
    return host


def run(host: StorageHost) -> str:
    result = host.run(host.failback)
    assert result.rc == 0, result
    assert (result.out, result.err) == ("", "")
    line = host.path("/var/log/carp-auto-failback.log").read_text().splitlines()[-1]
    return line[len("2026-01-01 00:00:00 ") :]


PROOF = "the standby has a snapshot that is 20 s old"


@pytest.mark.parametrize(("state", "logged"), [("BACKUP", [f"failback: MASTER again; {PROOF}"]), ("MASTER", [])])
def test_a_proven_standby_gives_the_address_back(host: StorageHost, state: str, logged: list[str]) -> None:
    """A MASTER at 60, which was alone when it came up, claims the address in the same way, and announces nothing."""
    host.carp(state)
    assert run(host) == f"failback: MASTER, and claims the address; {PROOF}"
    assert host.carp_now() == ("MASTER", 10)
    assert host.changes() == [advskew(10)]
    assert host.log() == ["MASTER, ready", *logged]
    host.forget()
    assert run(host) == "stay: MASTER, and claims the address"
    assert (host.changes(), host.log()) == ([], []), "syslog gets successes and failures only"
    assert len(host.path("/var/log/carp-auto-failback.log").read_text().splitlines()) == 2, "each run leaves a line"


@pytest.mark.parametrize(
    ("state", "started", "says"),
    [
        ("BACKUP", "866\n", "stay: nfsd was started less than 135 s ago, and keeps new clients waiting"),
        ("BACKUP", "865\n", f"failback: MASTER, and claims the address; {PROOF}"),
        ("BACKUP", "", f"failback: MASTER, and claims the address; {PROOF}"),  # there was no room to note it
        ("MASTER", "866\n", f"failback: MASTER, and claims the address; {PROOF}"),  # who is here waits in any case
    ],
)
def test_no_client_is_moved_into_the_grace_period(host: StorageHost, state: str, started: str, says: str) -> None:
    host.booted(NOW - 1000)
    host.write("/var/run/f3s/nfsd", started)
    host.carp(state, peer=20)
    assert run(host) == says


def test_a_failback_that_does_not_hold(host: StorageHost) -> None:
    host.state("peer", "0\n")
    assert host.run(host.failback).rc == 1
    said = "failback failed: still BACKUP after 6 s: 192.168.1.131 claims the address with a lower advskew"
    assert said in host.path("/var/log/carp-auto-failback.log").read_text()
    assert host.log()[-1].startswith(said)
    assert host.carp_now() == ("BACKUP", 60)


def test_a_link_that_goes_down_meanwhile_is_no_failed_failback(host: StorageHost) -> None:
    """Both links of the pair went down for some seconds (seen): nothing was decided, and the next runs look again."""
    host.state("peer", "0\n")
    host.flag("flip", "4 INIT\n")
    assert run(host).startswith("stay: re0 has no link (state is INIT)")
    assert not any("failed" in line for line in host.log())
    assert host.carp_now() == ("INIT", 60)
    assert run(host) == "stay: re0 has no link (state is INIT)"
    host.carp("BACKUP", peer=20)
    assert run(host).startswith("failback: MASTER")


@pytest.mark.parametrize(
    ("lockf", "said"),
    [
        ("exit 75", "f3s_storage is at work for more than 60 s, nothing changed: try again"),
        (f'shift 5; echo now >"$ROOT{HOLD}"; exec "$@"', "held by carp backup, nothing changed"),
    ],
)
def test_a_controller_at_work_is_no_failed_failback(host: StorageHost, lockf: str, said: str) -> None:
    host.command("lockf", lockf)
    assert run(host) == f"stay: {said}"
    assert not any("failed" in line for line in host.log())
    assert host.carp_now() == ("BACKUP", 60)


def test_a_deploy_that_replaces_the_program_while_it_runs_makes_it_jump_over_no_check(host: StorageHost) -> None:
    """files.put writes into the file, and sh goes on reading where it was. bash reads on after each command, FreeBSD's
    sh after each kilobyte."""
    text = host.failback.read_text()
    here = text.index("\n", text.index("dataset_ready ||")) + 1
    host.state("newer", f"{'#' * (here - 1)}\n{text[text.index('proof=') :]}")
    host.command("zpool", f'cat "$STATE/newer" >"{host.failback}"; cat "$STATE/health"')
    host.state("bookmarks", "")
    host.run(host.failback, shell="/bin/bash")  # noqa: S604 (the name of the shell, not a switch)
    assert host.carp_now() == ("BACKUP", 60)


def lost(host: StorageHost, *ago: int) -> None:
    """The clock of the stub host starts at 0."""
    host.write(LOSSES, "".join(f"{NOW - seconds}\n" for seconds in ago))


def only_of(host: StorageHost, name: str) -> None:
    host.state("bookmarks", f"300\t{NOW}\tzdata/enc/nfsdata#zrepl_{name}\n")


UNCONFIRMED = "no replication by f0_to_f1_nfsdata has ever been confirmed"
DIVERGED = "the last replicated snapshot is 3600 s old (at most 300): the standby may have diverged"
LOST = "this host lost the address 3 times within 3600 s: no automatic failback until it was quiet for so long"
REASONS: list[tuple[Breaks, str]] = [
    (lambda host: host.carp("MASTER", 10), "MASTER, and claims the address"),
    (lambda host: host.carp("INIT"), "re0 has no link (state is INIT)"),
    (lambda host: host.carp("none"), "no CARP state of vhid 1 on re0"),
    (lambda host: host.path(STARTED).unlink(), "f3s_storage is not started"),
    (lambda host: host.write(HOLD, "since now\n"), "held by carp backup (since now): carp master ends that"),
    (lambda host: host.properties(keystatus="unavailable"), "the key of zdata/enc/nfsdata is not loaded"),
    (lambda host: host.write("/data/nfs/nfs.NO_AUTO_FAILBACK", ""),
     "/data/nfs/nfs.NO_AUTO_FAILBACK is there: carp auto-failback enable removes it"),
    (lambda host: host.quick(endless="NO_AUTO"), "not known whether /data/nfs/nfs.NO_AUTO_FAILBACK is there"),
    (lambda host: host.carp("BACKUP", 254), "the controller found this host not ready: see service f3s_storage status"),
    (lambda host: host.quick(endless="zpool"), "zpool list zdata did not end in 1 s"),
    (lambda host: host.path(FLOOR).unlink(),
     "the controller has not recorded yet where the snapshots stood when this host lost its claim"),
    # as a list of no snapshots left it: an empty line, which is no number to compare with
    (lambda host: host.write(FLOOR, "\n"), f"{FLOOR} is damaged: service f3s_storage restart makes it anew"),
    (lambda host: (host._state / "bookmarks").unlink(), "the bookmarks of zdata/enc/nfsdata cannot be read"),
    (lambda host: host.state("bookmarks", ""), UNCONFIRMED),
    (lambda host: only_of(host, "CURSOR_G_1_J_f0_to_f2_nfsdata"), UNCONFIRMED),
    # made before a step is sent: it proves nothing
    (lambda host: only_of(host, "CURSORTENTATIVE_G_1_J_f0_to_f1_nfsdata"), UNCONFIRMED),
    (lambda host: replicated(host, txg=250), "no replication has succeeded since this host lost its claim or booted"),
    # replication worked after the boot and then stopped: so it does when the standby was written to
    (lambda host: replicated(host, age=3600), DIVERGED),
    (lambda host: replicated(host, age=-3600), "the last replicated snapshot is from the future: check the clock"),
    (lambda host: lost(host, 7000, 5500, 3500), f"{LOST}; carp master ends that"),
    (lambda host: lost(host, 3500, 60, 20), f"{LOST}; carp master ends that"),
]  # fmt: skip


@pytest.mark.parametrize(("breaks", "said"), REASONS)
def test_each_single_reason_is_enough_to_stay(host: StorageHost, breaks: Breaks, said: str) -> None:
    breaks(host)
    assert run(host) == f"stay: {host.rewrite(said)}"
    assert host.changes() == []


@pytest.mark.parametrize("ago", [(3700, 60, 20), (7000, 5500, 3700), (60, 20)])
def test_losses_that_are_few_or_long_ago(host: StorageHost, ago: tuple[int, ...]) -> None:
    lost(host, *ago)
    assert run(host).startswith("failback: MASTER")
    assert host.path(LOSSES).exists(), "only an operator's move ends the count"


def test_the_standby_never_fails_back(tmp_path: Path) -> None:
    assert run(StorageHost(tmp_path, "standby")) == "stay: this host is not the primary"


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
