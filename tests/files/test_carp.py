"""carp: show and move the address by hand; what it says is what it saw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from f3s.controller import HOLD, STARTED, WITH_ALL
from tests.files.storage import FLOOR, LOSSES, SERVICES, Breaks, StorageHost, advskew
from tests.files.stubs import Result

HELD = "BACKUP, and held: 192.168.1.131 serves; 'carp master' takes the address back\n"
ANYWAY = "; nothing changed. `service f3s_storage stop` gives the address away without any of that\n"
READONLY = ["zfs", "set", "readonly=on", "zdata/enc/nfsdata"]
WRITABLE = ["zfs", "set", "readonly=off", "zdata/enc/nfsdata"]


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    """A primary that serves; the standby is ready, and confirms what is replicated."""
    return pair(tmp_path, "primary")


@pytest.fixture
def standby(tmp_path: Path) -> StorageHost:
    return pair(tmp_path, "standby")


def pair(base: Path, role: str) -> StorageHost:
    host = StorageHost(base / role, role)
    host.quick()
    host.serving()
    host.carp("MASTER", peer=100 if role == "primary" else 60)
    host.replicated()
    return host


def carp(host: StorageHost, *arguments: str) -> Result:
    return host.run(host.carp_program, *arguments)


# -- the state --


@pytest.mark.parametrize("arguments", [(), ("status",)])
def test_the_state(host: StorageHost, arguments: tuple[str, ...]) -> None:
    host.state("uid", "1001\n")
    said = "MASTER vhid 1 on re0, 192.168.1.138, claim (advskew) 10\n"
    assert carp(host, *arguments) == Result(0, said, "")
    host.carp("none")
    assert carp(host, *arguments) == Result(2, "", "carp: no CARP state of vhid 1 on re0\n")
    assert host.changes() == []


def test_a_failback_that_is_off_and_a_hold_are_warnings(host: StorageHost, standby: StorageHost) -> None:
    file = host.write("/data/nfs/nfs.NO_AUTO_FAILBACK", "")
    said = f"warning: automatic failback is off: {file} is there (carp auto-failback enable removes it)\n"
    assert (carp(host).rc, carp(host).err) == (0, said)
    for each in (host, standby):
        each.write(HOLD, "since yesterday\n")
    assert "off while carp backup holds (since yesterday): carp master ends that" in carp(host).err
    assert carp(standby).err == "warning: held by carp backup: since yesterday\n"


# -- carp backup --


def test_backup_replicates_what_was_written_before_the_address_moves(host: StorageHost) -> None:
    assert carp(host, "backup") == Result(0, HELD, "")
    readonly, snapshot, moved = host.changes()
    assert (readonly, snapshot[:2], moved) == (READONLY, ["zfs", "snapshot"], advskew(200))
    assert re.fullmatch(r"zdata/enc/nfsdata@zrepl_\d{8}_\d{6}_002", snapshot[2]), (
        "zrepl may take 000 in the same second"
    )
    assert host.carp_now() == ("BACKUP", 200)
    assert re.fullmatch(f"since 2.*, {WITH_ALL}\n", host.path(HOLD).read_text())
    assert host.running() == SERVICES
    # and so it stays
    host.forget()
    assert host.reconcile().rc == 0
    assert (host.changes(), host.readonly()) == ([], "on")
    assert host.log() == ["BACKUP, ready; held by carp backup"]


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_backup_of_who_has_no_new_data_only_moves_the_address(tmp_path: Path, role: str) -> None:
    host = pair(tmp_path, role)
    if role == "primary":
        host.carp("BACKUP", 60, peer=20)
    assert carp(host, "backup").rc == 0
    assert host.changes() == [advskew(200)]
    assert host.carp_now() == ("BACKUP", 200)
    assert WITH_ALL not in host.path(HOLD).read_text()


def test_backup_again_keeps_the_first_hold(host: StorageHost) -> None:
    host.write(HOLD, "since yesterday\n")
    assert carp(host, "backup").rc == 0
    assert host.path(HOLD).read_text() == "since yesterday\n"


def unconfirmed(host: StorageHost) -> None:
    host.replicated(299)  # one snapshot before
    host.command("zrepl", "echo 'connection refused' >&2; exit 1")


NOT_TAKEN = "the peer 192.168.1.131 did not take the address (still MASTER after 6 s): it is not ready, or not heard"
FAILURES: list[tuple[Breaks, str]] = [
    (lambda host: host.flag("readonly_fails"),
     "readonly=on failed: cannot set property: pool I/O is currently suspended"),
    (lambda host: host.flag("snapshot_fails"), "no snapshot: cannot create snapshot: out of space"),
    (unconfirmed, r"the standby has not confirmed zdata/enc/nfsdata@zrepl_\w+ within 0 s: connection refused"),
    # a file that cannot be made: not by root either
    (lambda host: host.path(f"{HOLD}.new").symlink_to("/nowhere/file"), f"{HOLD} cannot be written"),
    (lambda host: host.flag("skew_sticks"), "advskew is 10, not 200, after ifconfig"),
    (lambda host: host.flag("ifconfig_fails"),
     "ifconfig re0 vhid 1 advskew 200 failed: ifconfig: SIOCSVH: Device busy"),
    (lambda host: host.state("peer", "254\n"), re.escape(NOT_TAKEN)),
    (lambda host: host.quick(endless="zfs snapshot"), "no snapshot: "),
    (lambda host: host.quick(endless="createtxg zdata/enc/nfsdata@"), r"zdata/enc/nfsdata@zrepl_\w+ cannot be read: "),
    (lambda host: host.quick(endless="bookmark"), "the bookmarks of zdata/enc/nfsdata cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("breaks", "said"), FAILURES)
def test_backup_that_fails_is_taken_back(host: StorageHost, breaks: Breaks, said: str) -> None:
    breaks(host)
    result = carp(host, "backup")
    assert result.rc == 1
    assert re.search(f"(?m)^{host.rewrite(said)}{re.escape(ANYWAY)}", result.err), result.err
    assert host.carp_now() == ("MASTER", 10)
    assert not host.path(HOLD).exists()
    assert host.readonly() == "off"


def test_backup_of_a_held_master_that_fails_leaves_it_as_it_was(host: StorageHost) -> None:
    """The peer is dead, so it is MASTER in spite of its hold."""
    held(host)
    host.carp("MASTER", peer=254)
    unconfirmed(host)
    assert carp(host, "backup").rc == 1
    assert host.carp_now() == ("MASTER", 200)
    assert host.readonly() == "on"
    assert host.path(HOLD).read_text() == "since yesterday\n"


def test_backup_waits_until_the_standby_has_it(host: StorageHost) -> None:
    """Whatever else has a bookmark."""
    host.configure(catch_up=60)
    job = host.values.replication_job
    names = f"zrepl_CURSOR_G_1f_J_{job}", f"zrepl_CURSOR_G_1f_J_other_{job}", f"mine_J_{job}"
    lines = [f"{txg}\t1\t{host.dataset}#{name}\n" for txg, name in zip((299, 400, 400), names, strict=True)]
    host.state("bookmarks", "".join(lines))
    host.command("sleep", 'sed "s/^299/300/" "$STATE/bookmarks" >"$STATE/b"; mv "$STATE/b" "$STATE/bookmarks"')
    assert carp(host, "backup").rc == 0
    assert host.calls("zrepl") == [["signal", "wakeup", job]] * 2
    assert len([call for call in host.calls("zfs") if call[0] == "snapshot"]) == 1


def test_backup_to_a_dead_peer_is_refused_before_a_writer_waits(host: StorageHost) -> None:
    host.flag("no_sink")
    said = "zrepl does not answer on 192.168.1.131 (192.168.2.131:8888), so it would not get the last writes"
    assert carp(host, "backup") == Result(1, "", said + ANYWAY)
    assert host.changes() == []
    host.carp("BACKUP", 60, peer=20)
    assert carp(host, "backup").rc == 0, "where there are none it only holds"


def test_unicast_is_told_with_each_claim(host: StorageHost) -> None:
    host.configure(unicast="yes", catch_up=0)
    assert carp(host, "backup").rc == 0
    assert host.changes()[-1] == [*advskew(200), "peer", "192.168.1.131"]


@pytest.mark.parametrize("looks", [0, 4])
def test_backup_without_a_link_does_not_blame_the_peer(host: StorageHost, looks: int) -> None:
    host.flag("flip", f"{looks} INIT\n")
    host.state("peer", "254\n")
    result = carp(host, "backup")
    assert result.rc == 3
    assert "re0 has no link (state is INIT)" in result.err
    assert (host.carp_now(), host.readonly(), host.path(HOLD).exists()) == (("INIT", 10), "off", False)


# -- carp master --


def held(host: StorageHost) -> None:
    """After carp backup."""
    host.write(HOLD, "since yesterday\n")
    host.write(LOSSES, "1\n2\n3\n")
    host.properties(readonly="on")
    host.serving("BACKUP", 200)
    host.carp("BACKUP", peer=20)


def test_master_takes_the_address_and_ends_the_hold(host: StorageHost) -> None:
    held(host)
    assert carp(host, "master") == Result(0, "MASTER, and ready\n", "")
    assert host.changes() == [WRITABLE, advskew(10)], "writable before a client can ask"
    assert host.carp_now() == ("MASTER", 10)
    for record in (HOLD, LOSSES, FLOOR):
        assert not host.path(record).exists(), record
    assert host.log()[-1] == "MASTER, ready"


def test_master_makes_the_host_ready_first(host: StorageHost) -> None:
    held(host)
    host.unflag("running.nfsd")
    assert carp(host, "master").rc == 0
    assert host.changes()[0] == ["service", "nfsd", "onestart"]


STILL = "f3s_storage is not started here, or could not note it; nobody would serve, nothing changed: "
KEY = (
    "not ready, nothing changed: the key of zdata/enc/nfsdata is not loaded (service f3s_storage reconcile tries again)"
)
REFUSALS: list[tuple[Breaks, int, str]] = [
    (lambda host: host.carp("none"), 2, "no CARP state of vhid 1 on re0"),
    (lambda host: host.carp("INIT"), 3, "re0 has no link (state is INIT), nothing changed: nobody could be reached"),
    (lambda host: host.path(STARTED).unlink(), 1, f"{STILL}service f3s_storage start"),
    (lambda host: host.properties(keystatus="unavailable"), 1, KEY),
]


@pytest.mark.parametrize(
    ("verb", "breaks", "rc", "said"),
    [*(("master", *each) for each in REFUSALS), *(("backup", *each) for each in REFUSALS[:2])],
)
def test_a_move_is_refused(host: StorageHost, verb: str, breaks: Breaks, rc: int, said: str) -> None:
    if verb == "master":
        held(host)
    breaks(host)
    assert carp(host, verb) == Result(rc, "", f"{said}\n")
    assert host.changes() == []
    assert host.path(HOLD).exists() is (verb == "master")


def test_master_against_a_lower_claim_is_refused_and_the_claim_raised_again(standby: StorageHost) -> None:
    standby.serving("BACKUP")
    standby.carp("BACKUP", peer=0)
    said = "still BACKUP after 6 s: 192.168.1.130 claims the address with a lower advskew; run 'carp backup' there\n"
    assert carp(standby, "master") == Result(1, "", said)
    assert standby.carp_now() == ("BACKUP", 100)


def test_master_whose_link_goes_down_meanwhile(host: StorageHost) -> None:
    host.serving("BACKUP")
    host.state("peer", "0\n")
    host.flag("flip", "3 INIT\n")
    assert carp(host, "master").rc == 3
    assert host.carp_now() == ("INIT", 60)


# -- readonly after a move that did not come about --


@pytest.mark.parametrize("verb", ["reconcile", "start"])
def test_what_a_killed_move_has_frozen_is_writable_again(host: StorageHost, verb: str) -> None:
    host.properties(readonly="on")
    host.flag("readonly_fails")
    host.run(host.control, verb)
    assert "readonly=off failed: cannot set property: pool I/O is currently suspended" in host.log()
    host.unflag("readonly_fails")
    assert host.run(host.control, verb).rc == 0
    assert host.readonly() == "off"


# -- usage, and automatic failback --


@pytest.mark.parametrize(
    "arguments", [("master",), ("backup",), ("auto-failback", "enable"), ("auto-failback", "disable")]
)
def test_changes_need_root(host: StorageHost, arguments: tuple[str, ...]) -> None:
    host.state("uid", "1001\n")
    result = carp(host, *arguments)
    assert result.rc == 77
    assert result.err.endswith(": root is needed for this: run it with doas or sudo\n")
    assert host.changes() == []


@pytest.mark.parametrize(
    "arguments",
    [("bogus",), ("master", "now"), ("auto-failback",), ("auto-failback", "x"), ("promote", "f1"), ("-h",), ("", "")],
)
def test_usage(host: StorageHost, arguments: tuple[str, ...]) -> None:
    result = carp(host, *arguments)
    assert result.rc == 64
    assert result.err.startswith("usage: carp [status]")
    assert host.changes() == []


def test_failback_off_and_on_again(host: StorageHost) -> None:
    block = host.path("/data/nfs/nfs.NO_AUTO_FAILBACK")
    assert carp(host, "auto-failback", "status").rc == 0
    off = carp(host, "auto-failback", "disable")
    assert off.rc == 0
    assert off.out.startswith("automatic failback: off: ")
    assert block.exists()
    assert carp(host, "auto-failback", "status").rc == 1
    on = carp(host, "auto-failback", "enable")
    assert (on.rc, on.out) == (0, "automatic failback: on\n")
    assert not block.exists()
    assert host.log() == [off.out.strip(), on.out.strip()]


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_failback_is_not_switched_in_the_bare_directory(host: StorageHost, verb: str) -> None:
    host.mounted(None)
    result = carp(host, "auto-failback", verb)
    assert result.rc == 1
    assert "is not mounted" in result.err
    assert not host.path("/data/nfs/nfs.NO_AUTO_FAILBACK").exists()
    assert carp(host, "auto-failback", "status").rc == 2


@pytest.mark.parametrize(("verb", "rc"), [("enable", 1), ("disable", 1), ("status", 2)])
def test_failback_is_the_business_of_the_primary(standby: StorageHost, verb: str, rc: int) -> None:
    result = carp(standby, "auto-failback", verb)
    assert result.rc == rc
    assert "the primary decides on automatic failback" in result.out + result.err


def test_failback_on_a_silent_file_system_is_not_known(tmp_path: Path) -> None:
    host = StorageHost(tmp_path)
    host.command("test", "exec /bin/sleep 30", record=False)
    result = carp(host, "auto-failback", "status")
    assert (result.rc, result.out) == (2, f"automatic failback: not known: {host.mountpoint} does not answer\n")
