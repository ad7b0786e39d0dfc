"""Who may write: the record with its epoch, what a start may believe, and a promotion (docs/controller.md)."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from f3s.controller import HOLD, RECORD, RETURN, STARTED
from tests.files.storage import DATASET, SERVICES, StorageHost

REPLICA = DATASET["standby"]
PROVEN = "/var/run/f3s/proven"


@pytest.fixture
def primary(tmp_path: Path) -> StorageHost:
    return made(tmp_path, "primary")


@pytest.fixture
def standby(tmp_path: Path) -> StorageHost:
    return made(tmp_path, "standby")


def made(base: Path, role: str) -> StorageHost:
    """It serves as BACKUP, and the other one says what a new site says."""
    host = StorageHost(base, role)
    host.quick()
    host.serving("BACKUP")
    host.state("creations", "1000\n")
    return host


def data(host: StorageHost) -> list[list[str]]:
    """What was done to the dataset and the record, in order."""
    return [call for call in host.calls() if call[:2] in (["zfs", "set"], ["zfs", "snapshot"]) or call[0] == "fsync"]


def set_to(host: StorageHost, value: str) -> list[str]:
    return ["zfs", "set", f"readonly={value}", host.dataset]


def silent(host: StorageHost) -> None:
    host.unflag("peer_record")


def boots(host: StorageHost, state: str = "MASTER") -> None:
    for path in (PROVEN, STARTED):
        host.path(path).unlink(missing_ok=True)
    host.carp(state, host.advskew)
    assert host.run(host.control, "start").rc == 0


# -- a primary that boots --


def test_a_primary_that_boots_alone_is_read_only_until_the_standby_says_that_it_was_not_promoted(
    primary: StorageHost,
) -> None:
    """A standby that was promoted and is down would have the newer data."""
    silent(primary)
    boots(primary)
    assert (primary.readonly(), primary.carp_now(), primary.running()) == ("on", ("MASTER", 60), SERVICES)
    assert primary.log()[-1] == "MASTER, ready, but read-only until f1 says that it was not promoted"
    assert not primary.status().proven
    refused = primary.run(primary.carp_program, "master")
    assert (refused.rc, primary.carp_now(), primary.readonly()) == (1, ("MASTER", 60), "on")
    assert "f1 does not answer, and it may have been promoted" in refused.err
    assert "carp promote without f1" in refused.err
    primary.state("peer_record", "0 f0 0\n")
    assert primary.reconcile().rc == 0
    assert (primary.readonly(), primary.status().proven, primary.log()[-1]) == ("off", True, "MASTER, ready")
    silent(primary)
    primary.forget()
    assert primary.reconcile().rc == 0
    assert data(primary) == [], "once is enough while it is MASTER"


def test_a_primary_that_lost_its_link_asks_again(primary: StorageHost) -> None:
    """Nobody heard it: the standby may have been promoted, be written to, and be dead by now."""
    primary.serving()
    assert (primary.reconcile().rc, primary.status().proven) == (0, True)
    silent(primary)
    primary.carp("INIT")
    primary.reconcile()
    assert (primary.readonly(), primary.status().proven) == ("on", False), "before the link is back"
    primary.carp("MASTER")
    assert primary.reconcile().rc == 0
    assert primary.run(primary.carp_program, "master").rc == 1
    assert (primary.readonly(), primary.carp_now()) == ("on", ("MASTER", 60))
    primary.state("peer_record", "0 f0 0\n")
    primary.reconcile()
    assert (primary.readonly(), primary.status().proven) == ("off", True)


def test_what_a_backup_was_told_is_old_a_minute_later(primary: StorageHost) -> None:
    assert (primary.reconcile().rc, primary.status().proven) == (0, True)
    silent(primary)
    primary.reconcile()
    assert (primary.readonly(), primary.status().proven) == ("on", False)


def test_a_primary_that_boots_beside_its_standby_never_serves_read_only(primary: StorageHost) -> None:
    boots(primary, "BACKUP")
    assert data(primary) == []
    assert (primary.readonly(), primary.status().proven) == ("off", True)


def test_a_second_start_of_a_primary_that_serves_changes_nothing(primary: StorageHost) -> None:
    primary.serving()
    silent(primary)
    assert primary.run(primary.control, "start").rc == 0
    assert (primary.readonly(), primary.carp_now()) == ("off", ("MASTER", 10))


def test_a_primary_of_an_earlier_version_that_serves_goes_on(primary: StorageHost) -> None:
    """It claims 0, and the standby has no service [record] yet."""
    primary.serving(skew=0)
    silent(primary)
    assert primary.reconcile().rc == 0
    assert (primary.readonly(), primary.carp_now(), primary.status().proven) == ("off", ("MASTER", 10), True)


def test_a_replication_proves_it_too(primary: StorageHost) -> None:
    silent(primary)
    boots(primary)
    primary.replicated(creation=int(time.time()) - 5)
    assert primary.run(primary.failback).rc == 0
    assert (primary.carp_now(), primary.readonly()) == (("MASTER", 10), "off")


# -- the higher epoch is right --


def test_the_primary_yields_to_a_higher_epoch(primary: StorageHost) -> None:
    primary.state("peer_record", f"1 f1 {int(time.time()) - 4711}\n")
    assert primary.reconcile().rc == 0
    assert data(primary)[0] == set_to(primary, "on"), "before it is remembered"
    assert primary.path(RECORD).read_text().startswith("1 f1 ")
    assert (primary.readonly(), primary.running(), primary.carp_now()) == ("on", (), ("BACKUP", 254))
    found = primary.status()
    assert (found.ready, found.epoch, found.writer, found.proven) == (False, 1, "f1", False)
    assert found.reason.startswith("f1 was promoted 47")
    assert "(epoch 1)" in found.reason
    silent(primary)
    for program, words in ((primary.carp_program, ("master",)), (primary.failback, ())):
        primary.forget()
        said = primary.run(program, *words)
        assert primary.changes() == []
        said_by_log = primary.path("/var/log/carp-auto-failback.log")
        text = said.err + (said_by_log.read_text() if said_by_log.exists() else "")
        assert "f1 was promoted 47" in text
    boots(primary)
    assert (primary.readonly(), primary.running()) == ("on", ()), "over a reboot, and with nobody to ask"


def test_a_higher_epoch_that_cannot_be_remembered_is_right_as_well(primary: StorageHost) -> None:
    """On a full or read-only root file system."""
    primary.path(f"{RECORD}.new").symlink_to("/nowhere/file")
    primary.state("peer_record", "1 f1 1000\n")
    for _ in "look", "again":
        primary.reconcile()
        assert (primary.readonly(), primary.running(), primary.carp_now()) == ("on", (), ("BACKUP", 254))
    assert "f1 was promoted" in primary.run(primary.carp_program, "master").err
    assert not primary.path(PROVEN).exists()
    silent(primary)
    primary.carp("MASTER")
    primary.reconcile()
    assert primary.readonly() == "on", "f1 has died"


def test_the_promoted_host_yields_to_a_higher_epoch(standby: StorageHost) -> None:
    standby.write(RECORD, "1 f1 1000\n")
    standby.properties(readonly="off", written=8192)
    standby.state("peer_record", "2 f0 2000\n")
    assert standby.reconcile().rc == 0
    assert (standby.readonly(), standby.path(RECORD).read_text()) == ("on", "2 f0 2000\n")
    assert (standby.running(), standby.carp_now()) == (SERVICES, ("BACKUP", 100)), "a standby again"


@pytest.mark.parametrize(
    "answer", ["", "what\n", "9 f9 1\n", "9 f1\n", "-1 f1 1\n", "0 f0 0\n9 f1 1\n", "9 f1 1 f0 x\n", "no answer\n"]
)
def test_an_answer_that_is_none_changes_nothing(primary: StorageHost, answer: str) -> None:
    primary.state("peer_record", answer)
    assert primary.reconcile().rc == 0
    assert not primary.path(RECORD).exists()
    assert not primary.path(PROVEN).exists()
    assert primary.readonly() == "on"


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_who_does_not_serve_stays_out_where_both_took_an_epoch(tmp_path: Path, role: str) -> None:
    host = made(tmp_path, role)
    host.write(RECORD, f"1 {host.values.name} 1000\n")
    host.state("peer_record", f"1 {host.values.peer_name} 1001\n")
    host.reconcile()
    assert (host.readonly(), host.running(), host.carp_now()) == (host.readonly(), (), ("BACKUP", 254))
    assert "both hosts took the same epoch" in host.log()[-1]


def test_a_damaged_record_lets_nobody_write(primary: StorageHost) -> None:
    primary.write(RECORD, "1 f")
    primary.reconcile()
    assert (primary.running(), primary.carp_now()) == ((), ("BACKUP", 254))
    assert primary.status().writer == ""
    assert primary.run(primary.control, "record").out == ""


def test_what_the_peer_is_told(standby: StorageHost) -> None:
    assert standby.run(standby.control, "record").out == "0 f0 0 f0\n"
    standby.write(RECORD, "3 f1 1000\n")
    assert standby.run(standby.control, "record").out == "3 f1 1000 f0\n"
    standby.path(STARTED).unlink()
    assert standby.run(standby.control, "record").out == "", "one that is stopped may be replaced"


def test_a_standby_that_was_replaced_and_boots_as_it_was_serves_nothing(standby: StorageHost) -> None:
    """As soon as the primary has told it, and when that is dead, too."""
    standby.state("peer_record", "0 f0 0 f2\n")
    standby.reconcile()
    silent(standby)
    for state in ("BACKUP", "MASTER"):
        standby.carp(state)
        standby.reconcile()
        assert (standby.running(), standby.carp_now()) == ((), (state, 254))
    assert "f2 is the standby of f0 now" in standby.log()[-1]
    standby.state("peer_record", "0 f0 0 f1\n")
    standby.carp("BACKUP")
    for _ in "again", "it is back":
        standby.reconcile()
    assert (standby.running(), standby.carp_now()) == (SERVICES, ("BACKUP", 100))


# -- promotion --


def promote(host: StorageHost, name: str = "f0") -> tuple[int, str, str]:
    result = host.run(host.carp_program, "promote", "without", name)
    return result.rc, result.out, result.err


def test_a_promotion_is_on_the_disk_before_the_first_write(standby: StorageHost) -> None:
    silent(standby)
    standby.serving()
    rc, out, err = promote(standby)
    assert (rc, err) == (0, "")
    assert re.search(
        r"epoch 1: f1 writes. The newest snapshot was \d{8,} s old: what f0 wrote after it is not here", out
    )
    record = standby.path(RECORD)
    assert data(standby) == [
        ["fsync", f"{record}.new"],
        ["fsync", str(record)],
        ["zfs", "snapshot", f"{REPLICA}@f3s_promoted_1"],
        set_to(standby, "off"),
    ]
    assert record.read_text().startswith("1 f1 ")
    assert (standby.readonly(), standby.carp_now(), standby.running()) == ("off", ("MASTER", 0), SERVICES)
    found = standby.status()
    assert (found.right, found.epoch, found.writer, found.proven) == (True, 1, "f1", True)
    standby.forget()
    assert promote(standby)[0] == 0
    assert data(standby) == [], "a second one changes nothing"


@pytest.mark.parametrize(
    ("moved", "says"),
    [(1042, "was 42 s old when f1 took the address:"), (100, "is 900 s younger than the move of the address, so the")],
)
def test_what_is_lost_ends_with_the_move_of_the_address(standby: StorageHost, moved: int, says: str) -> None:
    """However late the operator comes. The snapshot has the time of the other host's clock."""
    silent(standby)
    standby.serving()
    standby.write("/var/run/f3s/moves", f"7\n{moved}\n")
    assert standby.status().moved == moved
    assert f"The newest snapshot {says}" in promote(standby)[1]


def test_a_promotion_that_the_other_host_does_not_accept_is_made_in_a_new_epoch(standby: StorageHost) -> None:
    """Both took the first one. The operator has stopped f0."""
    standby.write(RECORD, "1 f1 1000\n")
    standby.state("peer_record", "1 f0 1001\n")
    assert "f0 answers, so it is not out" in promote(standby)[2]
    silent(standby)
    standby.carp("BACKUP", 254, peer=254)
    assert promote(standby)[0] == 0
    assert standby.path(RECORD).read_text().startswith("2 f1 ")


def test_a_promoted_host_boots_alone_and_writes_on(standby: StorageHost) -> None:
    silent(standby)
    standby.write(RECORD, "1 f1 1000\n")
    standby.properties(readonly="off")
    standby.mounted(None)
    boots(standby)
    assert not any(call[:2] == ["zfs", "set"] for call in standby.calls())
    assert (standby.readonly(), standby.carp_now(), standby.running()) == ("off", ("MASTER", 0), SERVICES)


def test_a_promoted_host_does_not_give_the_address_to_one_that_lacks_what_it_wrote(standby: StorageHost) -> None:
    """f0 stands by read-only while the role returns: clients would find the files of some minutes ago."""
    standby.write(RECORD, "1 f1 1000\n")
    standby.serving(skew=0)
    standby.carp("MASTER", 0, peer=60)
    said = standby.run(standby.carp_program, "backup")
    assert (said.rc, standby.carp_now(), standby.path(HOLD).exists()) == (1, ("MASTER", 0), False)
    assert "f0 does not have what was written here since epoch 1: tasks/return_primary.py brings it there" in said.err


def test_a_promoted_host_takes_the_address_from_a_primary_that_it_has_asked(standby: StorageHost) -> None:
    standby.write(RECORD, "1 f1 1000\n")
    standby.properties(readonly="off")
    standby.carp("BACKUP", 100, peer=60)
    silent(standby)
    standby.reconcile()
    assert standby.carp_now() == ("BACKUP", 100), "the other one may have the higher epoch"
    standby.state("peer_record", "0 f0 0\n")
    standby.reconcile()
    assert standby.carp_now() == ("MASTER", 0)


def test_a_promotion_that_was_killed_after_the_record_is_ended_by_the_next_look(standby: StorageHost) -> None:
    standby.write(RECORD, "1 f1 1000\n")
    silent(standby)
    standby.serving()
    assert standby.reconcile().rc == 0
    assert data(standby) == [["zfs", "snapshot", f"{REPLICA}@f3s_promoted_1"], set_to(standby, "off")]
    assert standby.carp_now() == ("MASTER", 0)


def test_without_the_snapshot_that_stops_the_replication_nothing_is_written(standby: StorageHost) -> None:
    silent(standby)
    standby.serving()
    standby.flag("snapshot_fails")
    assert promote(standby)[0] == 1
    assert standby.readonly() == "on"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda host: None, "f0 answers, so it is not out"),
        (lambda host: (silent(host), host.carp("BACKUP", 100, peer=60)), "f0 is not out, it has the address"),
        (lambda host: (silent(host), host.state("creations", "")), "no replication is complete"),
        (lambda host: (silent(host), host.carp("INIT", 100)), "has no link"),
        (lambda host: (silent(host), host.path(STARTED).unlink()), "f3s_storage is not started here"),
        (lambda host: (silent(host), host.properties(keystatus="unavailable")), "the key of"),
        (lambda host: (silent(host), host.write(RECORD, "1 f")), "is damaged"),
        (lambda host: (silent(host), host.command("fsync", "exit 1")), "cannot be written"),
    ],
)
def test_a_promotion_is_refused(standby: StorageHost, breaks: object, said: str) -> None:
    standby.serving()
    breaks(standby)  # type: ignore[operator]
    before = standby.carp_now()
    rc, _, err = promote(standby)
    assert rc in (1, 3)
    assert said in err
    assert "nothing changed" in err
    assert (standby.readonly(), standby.carp_now()) == ("on", before)
    assert not standby.path(RECORD).exists() or standby.path(RECORD).read_text() == "1 f"
    assert not any(call[:2] in (["zfs", "set"], ["zfs", "snapshot"]) for call in standby.calls())


def test_a_promotion_names_the_host_that_is_out(standby: StorageHost) -> None:
    silent(standby)
    rc, _, err = promote(standby, "f2")
    assert (rc, err) == (64, "the other host is f0, not f2; nothing changed\n")


def test_the_replaced_primary_writes_again_once_the_promoted_one_is_stopped(primary: StorageHost) -> None:
    """The last step of the way back: it has everything, and 254 against 254 moves nothing."""
    primary.write(RECORD, "1 f1 1000\n")
    primary.properties(readonly="on")
    primary.carp("BACKUP", 254, peer=254)
    silent(primary)
    assert promote(primary, "f1")[0] == 0
    assert primary.path(RECORD).read_text().startswith("2 f0 ")
    assert (primary.readonly(), primary.carp_now(), primary.running()) == ("off", ("MASTER", 10), SERVICES)


# -- the way back (tasks/return_primary.py) --


def test_the_replaced_primary_stands_by_while_the_role_returns(primary: StorageHost) -> None:
    """Read-only, and nothing but the end of the way makes it claim the address."""
    primary.write(RECORD, "1 f1 1000\n")
    primary.properties(readonly="on")
    primary.state("peer_record", "1 f1 1000\n")
    primary.write(RETURN, "1\n")
    primary.replicated(creation=int(time.time()) - 5)
    assert primary.reconcile().rc == 0
    assert (primary.readonly(), primary.running(), primary.carp_now()) == ("on", SERVICES, ("BACKUP", 60))
    found = primary.status()
    assert (found.ready, found.returning, found.proven) == (True, True, False)
    for program, words in ((primary.carp_program, ("master",)), (primary.failback, ())):
        said = primary.run(program, *words)
        assert (primary.readonly(), primary.carp_now()) == ("on", ("BACKUP", 60))
    assert said.rc == 0
    assert "f1 was promoted" in primary.path("/var/log/carp-auto-failback.log").read_text()
    silent(primary)
    primary.carp("MASTER", 60)
    primary.reconcile()
    assert (primary.readonly(), primary.carp_now()) == ("on", ("MASTER", 60)), "f1 has died"
    primary.write(RETURN, "2\n")
    primary.reconcile()
    assert (primary.running(), primary.carp_now()[1]) == ((), 254), "that was another epoch's"


def test_the_promoted_host_writes_nothing_more_once_the_role_returns(standby: StorageHost) -> None:
    standby.write(RECORD, "1 f1 1000\n")
    silent(standby)
    standby.serving("MASTER", skew=0)
    standby.properties(readonly="off")
    standby.write(RETURN, "1\n")
    assert standby.reconcile().rc == 0
    assert (standby.readonly(), standby.carp_now(), standby.running()) == ("on", ("MASTER", 0), SERVICES)
    standby.path(RETURN).unlink()
    assert standby.reconcile().rc == 0
    assert standby.readonly() == "off", "the operator gave it up"
    standby.write(RETURN, "1\n")
    standby.state("peer_record", "2 f0 2000\n")
    standby.carp("BACKUP", 254, peer=10)
    standby.reconcile()
    assert (standby.readonly(), standby.carp_now(), standby.status().returning) == ("on", ("BACKUP", 100), False)
    assert not standby.path(RETURN).exists()
