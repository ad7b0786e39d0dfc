"""carp: show and move the address by hand; what it says is what it saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.storage import IFCONFIG, StorageHost

HOLD = "/var/db/f3s/carp.hold"
WAKE = [["-cf", "service", "f3s_storage", "quietreconcile"]]


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    return StorageHost(tmp_path / "primary")


@pytest.fixture
def standby(tmp_path: Path) -> StorageHost:
    return StorageHost(tmp_path / "standby", "standby")


def carp(host: StorageHost, *arguments: str):
    return host.run(host.carp_program, *arguments)


def woken(host: StorageHost) -> list[list[str]]:
    return [[arg.rsplit("/", 1)[-1] for arg in call] for call in host.calls("daemon")]


@pytest.mark.parametrize("arguments", [(), ("status",)])
def test_the_state(host: StorageHost, arguments: tuple[str, ...]) -> None:
    host.state("uid", "1001\n")
    result = carp(host, *arguments)
    assert result.rc == 0
    assert result.out == "BACKUP vhid 1 on re0, 192.168.1.138, advskew 0 (configured 0)\n"
    assert result.err == ""
    assert host.changes() == []


def test_no_state(host: StorageHost) -> None:
    host.carp("none")
    result = carp(host)
    assert (result.rc, result.err) == (2, "carp: no CARP state of vhid 1 on re0\n")


def test_a_failback_that_is_off_is_a_warning(host: StorageHost) -> None:
    host.write("/data/nfs/nfs.NO_AUTO_FAILBACK", "")
    result = carp(host)
    assert result.rc == 0
    file = f"{host.mountpoint}/nfs.NO_AUTO_FAILBACK"
    assert result.err == (
        f"warning: automatic failback is off: {file} is there (carp auto-failback enable removes it)\n"
    )


def test_a_hold_is_a_warning(host: StorageHost, standby: StorageHost) -> None:
    for each in (host, standby):
        each.write(HOLD, "since yesterday\n")
    assert "off while carp backup holds (since yesterday): carp master ends that" in carp(host).err
    assert carp(standby).err == "warning: held by carp backup: since yesterday\n"


def test_backup_gives_the_address_away_and_holds(host: StorageHost) -> None:
    host.serving()
    result = carp(host, "backup")
    assert result.rc == 0
    assert result.out == (
        "BACKUP, held for 24 s, so another host keeps the address (service f3s_storage status there says whether it "
        "serves); 'carp master' takes it back\n"
    )
    assert host.carp_now() == ("BACKUP", 254)
    assert host.path(HOLD).read_text().startswith("since 2")
    assert woken(host) == WAKE


def test_backup_without_a_peer_takes_the_hold_back(host: StorageHost) -> None:
    host.serving()
    host.flag("peer_fails", "4")
    result = carp(host, "backup")
    assert result.rc == 1
    assert result.err == (
        "carp: the peer 192.168.1.131 did not take the address (state is MASTER), the hold is taken back\n"
    )
    assert host.carp_now() == ("MASTER", 0)
    assert not host.path(HOLD).exists()
    assert woken(host) == WAKE


def test_backup_to_a_peer_that_gives_the_address_back_takes_the_hold_back(host: StorageHost) -> None:
    """It advertises until its controller knows that a service does not start, and that is later than 6 s."""
    host.serving()
    host.flag("peer_fails", "16")
    result = carp(host, "backup")
    assert result.rc == 1
    assert result.err == (
        "carp: the peer 192.168.1.131 did not keep the address, see its log (state is MASTER), the hold is taken back\n"
    )
    assert host.carp_now() == ("MASTER", 0)
    assert not host.path(HOLD).exists()
    assert woken(host) == [*WAKE, *WAKE]


def test_backup_without_a_hold_changes_nothing(host: StorageHost) -> None:
    host.serving()
    host.path("/var/db/f3s").rmdir()
    host.path("/var/db/f3s").symlink_to("/nowhere")
    host.command("mkdir")
    result = carp(host, "backup")
    assert result.rc == 1
    assert result.err.endswith(f"carp: {host.path(HOLD)} cannot be written, nothing changed\n")
    assert host.changes() == []


def test_backup_again_keeps_the_first_hold(host: StorageHost) -> None:
    host.write(HOLD, "since yesterday\n")
    assert carp(host, "backup").rc == 0
    assert host.path(HOLD).read_text() == "since yesterday\n"


def test_backup_that_the_kernel_ignored(host: StorageHost) -> None:
    host.flag("skew_sticks")
    result = carp(host, "backup")
    said = "carp: advskew is 0, not 254, after ifconfig (state is BACKUP), the hold is taken back\n"
    assert (result.rc, result.err) == (1, said)
    assert not host.path(HOLD).exists()
    host.flag("ifconfig_fails")
    assert carp(host, "backup").rc == 1
    assert not host.path(HOLD).exists()


def test_master_is_refused_while_nobody_would_serve(host: StorageHost) -> None:
    host.path("/var/run/f3s/started").unlink()
    result = carp(host, "master")
    assert result.rc == 1
    assert "f3s_storage is not started here, or could not note it; nobody would serve, nothing changed" in result.err
    assert host.changes() == []


def test_master_without_a_link_changes_nothing(host: StorageHost) -> None:
    host.write(HOLD, "since yesterday\n")
    host.carp("INIT", 254)
    result = carp(host, "master")
    said = "carp: re0 has no link (state is INIT), nothing changed: nobody could be reached\n"
    assert (result.rc, result.err, host.changes()) == (3, said, [])
    assert host.path(HOLD).exists()


def test_backup_without_a_link_does_not_blame_the_peer(host: StorageHost) -> None:
    host.serving()
    host.carp("INIT")
    host.command("ifconfig", IFCONFIG.replace("echo BACKUP >", ": >>"))
    result = carp(host, "backup")
    said = "carp: re0 has no link (state is INIT), the hold is taken back\n"
    assert (result.rc, result.err, host.path(HOLD).exists()) == (3, said, False)


def test_master_takes_the_address_and_ends_the_hold(host: StorageHost) -> None:
    host.write(HOLD, "since yesterday\n")
    host.write("/var/run/f3s/service.failed", "service nfsd did not start\n")
    host.write("/var/run/f3s/flaps", "1800000000\n")
    host.carp("BACKUP", 254)
    result = carp(host, "master")
    assert result.rc == 0
    assert result.out == "MASTER, held for 6 s; service f3s_storage status shows the services\n"
    assert host.carp_now() == ("MASTER", 0)
    assert not host.path(HOLD).exists()
    assert not host.path("/var/run/f3s/service.failed").exists()
    assert not host.path("/var/run/f3s/flaps").exists()
    assert woken(host) == WAKE


def test_master_is_refused_without_the_dataset(host: StorageHost) -> None:
    host.write(HOLD, "since yesterday\n")
    host.properties(keystatus="unavailable")
    result = carp(host, "master")
    assert result.rc == 1
    assert "not ready, nothing changed: the key of zdata/enc/nfsdata is not loaded" in result.err
    assert host.changes() == []
    assert host.path(HOLD).exists()


def test_master_that_does_not_hold(host: StorageHost, standby: StorageHost) -> None:
    said = "carp: state is BACKUP, not MASTER, 1 s after the change"
    advice = ": the primary advertises a lower advskew; run 'carp backup' on 192.168.1.130 instead"
    for each, more in ((host, ""), (standby, advice)):
        each.flag("peer_wins")
        result = carp(each, "master")
        assert (result.rc, result.err) == (1, f"{said}{more}\n")


@pytest.mark.parametrize("verb", ["master", "backup"])
def test_no_carp_no_change(host: StorageHost, verb: str) -> None:
    host.carp("none")
    assert carp(host, verb).rc == 2
    assert host.changes() == []


@pytest.mark.parametrize(
    "arguments", [("master",), ("backup",), ("auto-failback", "enable"), ("auto-failback", "disable")]
)
def test_changes_need_root(host: StorageHost, arguments: tuple[str, ...]) -> None:
    host.state("uid", "1001\n")
    result = carp(host, *arguments)
    assert (result.rc, result.err) == (77, "carp: root is needed for this: run it with doas or sudo\n")
    assert host.changes() == []


@pytest.mark.parametrize(
    "arguments", [("bogus",), ("master", "now"), ("auto-failback",), ("auto-failback", "x"), ("-h",), ("", "")]
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


def test_failback_on_a_silent_file_system_is_not_known(host: StorageHost) -> None:
    host.command("test", "exec /bin/sleep 30", record=False)
    result = carp(host, "auto-failback", "status")
    assert (result.rc, result.out) == (2, f"automatic failback: not known: {host.mountpoint} does not answer\n")
