"""The controller: services follow the CARP state and the dataset, whatever the events say."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from f3s.carp import CarpState
from f3s.controller import Status, parse_status
from tests.files.storage import DATASET, SERVICES, StorageHost

STARTS = [["service", name, "onestart"] for name in SERVICES]
STOPS = [["service", name, "onestop"] for name in reversed(SERVICES)]
GIVE_AWAY = ["ifconfig", "re0", "vhid", "1", "advskew", "254", "state", "backup"]


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    return StorageHost(tmp_path)


@pytest.fixture
def standby(tmp_path: Path) -> StorageHost:
    return StorageHost(tmp_path, "standby")


def set_skew(skew: int) -> list[str]:
    return ["ifconfig", "re0", "vhid", "1", "advskew", str(skew)]


def status(host: StorageHost) -> tuple[Status, list[str]]:
    """As Python understands it, and the lines as people see them."""
    host.forget()
    result = host.run(host.control, "status")
    assert host.changes() == []
    found = parse_status(result.out.splitlines())
    assert (result.rc, result.err) == (0 if found.right else 1, "")
    return found, result.out.splitlines()


# MASTER and ready


def test_a_ready_master_starts_the_services_in_order(host: StorageHost) -> None:
    host.carp("MASTER")
    result = host.reconcile()
    assert result.rc == 0, result
    assert host.changes() == STARTS
    assert host.log()[-1] == "MASTER, serving zdata/enc/nfsdata"
    assert "started stunnel" in host.log()


def test_a_second_run_changes_and_logs_nothing(host: StorageHost) -> None:
    host.carp("MASTER")
    host.reconcile()
    host.forget()
    assert host.reconcile().rc == 0
    assert host.changes() == []
    assert host.log() == []


def test_the_states_of_other_vhids_do_not_count(host: StorageHost) -> None:
    """The stub always shows `carp: INIT vhid 2` and `carp: MASTER vhid 11`."""
    host.carp("none")
    assert host.reconcile().rc == 1
    assert host.changes() == []
    assert host.log() == ["no CARP state of vhid 1 on re0, not serving; could serve"]


def test_a_degraded_pool_serves(host: StorageHost) -> None:
    host.carp("MASTER")
    host.state("health", "DEGRADED\n")
    assert host.reconcile().rc == 0
    assert host.running() == SERVICES


def test_mountd_is_restarted_when_the_mount_point_is_not_exported(host: StorageHost) -> None:
    host.serving()
    host.mounted(host.dataset, exported=False)
    assert host.reconcile().rc == 0
    assert host.changes() == [["service", "mountd", "onerestart"]]
    assert f"{host.mountpoint} is not NFS exported: restarting mountd" in host.log()


def test_an_export_that_never_comes_is_not_served(host: StorageHost) -> None:
    host.carp("MASTER")
    host.flag("export_fails")
    assert host.reconcile().rc == 1
    assert host.running() == ()
    assert GIVE_AWAY in host.changes()
    assert f"giving the address to the peer: mountd does not export {host.mountpoint}" in host.log()


def test_a_service_that_crashed_is_started_again(host: StorageHost) -> None:
    host.serving()
    (host._state / "running.nfsd").unlink()
    assert host.reconcile().rc == 0
    assert host.changes() == [["service", "nfsd", "onestart"]]


def test_a_serving_master_gets_its_configured_advskew_back(host: StorageHost) -> None:
    host.serving()
    host.carp("MASTER", 254)
    assert host.reconcile().rc == 0
    assert host.changes() == [set_skew(0)]
    assert "advskew 254 -> 0" in host.log()


# BACKUP


@pytest.mark.parametrize("state", ["BACKUP", "INIT", "none", "absent"])
def test_only_a_master_serves(host: StorageHost, state: str) -> None:
    host.serving()
    host.carp(state)
    host.reconcile()
    assert host.changes() == STOPS
    assert host.running() == ()


def test_a_backup_says_that_it_could_serve(host: StorageHost) -> None:
    assert host.reconcile().rc == 0
    assert host.log() == ["BACKUP, not serving; could serve"]
    found, _ = status(host)
    assert (found.right, found.decided_as, found.ready, found.floor) == (True, CarpState.BACKUP, True, 250)
    assert "decision=BACKUP, not serving; could serve\ndecided_since=2" in host.path("/var/run/f3s/last").read_text()


def test_a_service_that_does_not_stop_is_reported(host: StorageHost) -> None:
    host.serving()
    host.carp("BACKUP")
    host.flag("clings.nfsd")
    host.reconcile()
    assert "nfsd did not stop" in host.log()
    assert host.running() == ("nfsd",)


def test_a_backup_that_cannot_serve_lowers_its_rank_and_raises_it_when_it_can(host: StorageHost) -> None:
    host.properties(keystatus="unavailable")
    host.reconcile()
    assert host.carp_now() == ("BACKUP", 254)
    host.properties()
    host.forget()
    host.reconcile()
    assert host.changes() == [set_skew(0)]
    assert host.log() == ["advskew 254 -> 0", "BACKUP, not serving; could serve"]


def test_with_preempt_a_lower_advskew_would_take_the_address(host: StorageHost) -> None:
    host.carp("BACKUP", 254)
    host.state("preempt", "1\n")
    host.reconcile()
    assert host.changes() == []


def test_a_hold_keeps_the_rank_low(host: StorageHost) -> None:
    host.write("/var/db/f3s/carp.hold", "since yesterday\n")
    host.reconcile()
    assert host.carp_now() == ("BACKUP", 254)
    assert host.log()[-1] == "BACKUP, not serving; could serve; held by carp backup"


def test_a_change_that_the_kernel_ignored_is_reported(host: StorageHost) -> None:
    host.carp("BACKUP", 254)
    host.flag("skew_sticks")
    host.reconcile()
    assert "advskew is 254, not 0, after ifconfig" in host.log()


def test_a_change_that_the_kernel_refused_is_reported(host: StorageHost) -> None:
    host.carp("BACKUP", 254)
    host.flag("ifconfig_fails")
    host.reconcile()
    assert "ifconfig re0 vhid 1 advskew 0 failed: ifconfig: SIOCSVH: Device busy" in host.log()


def test_no_snapshot_at_all_is_remembered_as_a_number(host: StorageHost) -> None:
    """carp-auto-failback.sh compares with it: an empty line would pass as proof."""
    host.state("snapshots", "")
    host.reconcile()
    assert host.path("/var/run/f3s/backup.createtxg").read_text() == "0\n"


def test_the_newest_snapshot_is_remembered_once(host: StorageHost) -> None:
    host.reconcile()
    host.state("snapshots", "900\n")
    host.reconcile()
    assert host.path("/var/run/f3s/backup.createtxg").read_text() == "250\n"
    host.carp("MASTER")
    host.reconcile()
    assert not host.path("/var/run/f3s/backup.createtxg").exists()


# MASTER and not ready: each reason alone


def suspended(host: StorageHost) -> None:
    host.state("health", "SUSPENDED\n")


def wrong_dataset_on_top(host: StorageHost) -> None:
    host.state("mount", host.state("mount") + f"zdata/other on {host.mountpoint} (zfs, local)\n")


def wrong_mountpoint(host: StorageHost) -> None:
    host.mounted(None)
    host.state("dataset", "keystatus\tavailable\nmountpoint\t/elsewhere\nreadonly\toff\n")


def mount_fails(host: StorageHost) -> None:
    """The bare directory has a marker file in it, a leftover of a run without the dataset: it is not served."""
    assert host.path("/data/nfs/nfs.DO_NOT_REMOVE").exists()
    host.mounted(None)
    host.flag("mount_fails")


Breaks = Callable[[StorageHost], object]
OTHER = "zdata/other is mounted on SHARE instead of zdata/enc/nfsdata"
NOT_MOUNTED = "zdata/enc/nfsdata is not mounted on SHARE"
REASONS: list[tuple[Breaks, str]] = [
    (lambda host: (host._state / "health").unlink(), "pool zdata is not imported"),
    (suspended, "pool zdata is SUSPENDED"),
    (lambda host: (host._state / "dataset").unlink(), "dataset zdata/enc/nfsdata does not exist"),
    (lambda host: host.properties(keystatus="unavailable"), "the key of zdata/enc/nfsdata is not loaded"),
    (lambda host: host.properties(keystatus="-"), "zdata/enc/nfsdata is not encrypted"),
    (lambda host: host.mounted("zdata/other"), OTHER),
    (wrong_dataset_on_top, OTHER),
    (wrong_mountpoint, f"{NOT_MOUNTED}, its mountpoint is /elsewhere"),
    (mount_fails, f"{NOT_MOUNTED}; zfs mount failed: cannot mount 'zdata/enc/nfsdata': Input/output error"),
    (lambda host: host.path("/data/nfs/nfs.DO_NOT_REMOVE").unlink(), "marker SHARE/nfs.DO_NOT_REMOVE is missing"),
]


@pytest.mark.parametrize(("breaks", "said"), REASONS)
def test_a_master_that_cannot_serve_gives_way_to_the_peer(host: StorageHost, breaks: Breaks, said: str) -> None:
    host.serving()
    breaks(host)
    assert host.reconcile().rc == 1
    assert host.running() == ()
    assert [c for c in host.changes() if c[:2] != ["zfs", "mount"]] == [*STOPS, set_skew(254), GIVE_AWAY]
    assert host.carp_now() == ("BACKUP", 254)
    assert f"giving the address to the peer: {said.replace('SHARE', str(host.mountpoint))}" in host.log()
    assert "decided_as=none\ndecided_ready=no\n" in host.path("/var/run/f3s/last").read_text()


@pytest.mark.parametrize(("breaks", "said"), REASONS)
def test_nothing_is_started_on_a_master_that_cannot_serve(host: StorageHost, breaks: Breaks, said: str) -> None:
    host.carp("MASTER")
    host.flag("peer_dead")
    breaks(host)
    assert host.reconcile().rc == 1
    assert not any(call[0] == "service" for call in host.changes())
    staying = "staying, since the peer 192.168.1.131 does not answer"
    said = said.replace("SHARE", str(host.mountpoint))
    assert host.log()[-1] == f"MASTER but not serving: {said}; {staying}"
    assert "decided_as=MASTER\ndecided_ready=no\n" in host.path("/var/run/f3s/last").read_text()
    # still MASTER, but it loses the election against a host that serves when a split heals
    assert host.carp_now() == ("MASTER", 254)


def test_two_hosts_that_cannot_serve_do_not_play_ping_pong(host: StorageHost) -> None:
    host.carp("MASTER")
    suspended(host)
    host.reconcile()
    host.carp("MASTER")
    host.forget()
    assert host.reconcile().rc == 1
    assert host.changes() == []
    why = "pool zdata is SUSPENDED"
    assert host.log() == [f"MASTER but not serving: {why}; the peer did not keep the address"]
    host.write("/var/run/f3s/gave.way", f"{int(time.time()) - 301}\n")
    host.forget()
    host.reconcile()
    assert host.changes() == [GIVE_AWAY]


def test_a_service_that_does_not_start_costs_the_mastership(host: StorageHost) -> None:
    host.carp("MASTER")
    host.flag("refuse.nfsd")
    assert host.reconcile().rc == 1
    attempts = [["service", "nfsd", "onestart"]] * 2
    assert host.changes() == [
        *STARTS[:2],
        *attempts,
        ["service", "mountd", "onestop"],
        ["service", "rpcbind", "onestop"],
        set_skew(254),
        GIVE_AWAY,
    ]
    failed = "nfsd is not running after attempt 2: /etc/rc.d/nfsd: WARNING: failed to start nfsd"
    assert failed in host.log()
    # As BACKUP it is not known whether nfsd would start now: the rank stays low.
    host.reconcile()
    assert host.carp_now() == ("BACKUP", 254)
    assert host.log()[-1] == "BACKUP, not serving; would not serve: service nfsd did not start"
    assert "decided_as=BACKUP\ndecided_ready=no\n" in host.path("/var/run/f3s/last").read_text()


def test_a_failed_service_that_starts_after_all_ends_the_demotion(host: StorageHost) -> None:
    host.carp("MASTER", 254)
    host.write("/var/run/f3s/service.failed", "service nfsd did not start\n")
    assert host.reconcile().rc == 0
    assert host.carp_now() == ("MASTER", 0)
    assert not host.path("/var/run/f3s/service.failed").exists()


def test_start_makes_the_folder_of_stunnels_pid_file_where_a_boot_took_it_away(host: StorageHost) -> None:
    host.path("/var/run/stunnel").rmdir()
    assert host.run(host.control, "start").rc == 0
    folder = str(host.path("/var/run/stunnel"))
    assert host.calls("install") == [["-d", "-o", "stunnel", "-g", "stunnel", "-m", "755", folder]]
    host.forget()
    assert host.run(host.control, "start").rc == 0
    assert host.calls("install") == []


# Commands that never answer


def hang(host: StorageHost, command: str) -> None:
    host.command(command, "exec /bin/sleep 30")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("zpool", "zpool list zdata did not end in 1 s"),
        ("zfs", "zfs get zdata/enc/nfsdata did not end in 1 s"),
        ("mount", "mount did not answer"),
    ],
)
def test_a_serving_master_does_not_give_way_for_one_slow_check(host: StorageHost, command: str, said: str) -> None:
    host.serving()
    hang(host, command)
    assert host.reconcile().rc == 1
    assert host.running() == SERVICES
    assert host.changes() == []
    assert host.log() == [f"MASTER, services left as they are for now: {said}"]
    assert "decided_as=MASTER\ndecided_ready=no\n" in host.path("/var/run/f3s/last").read_text()


def test_a_master_gives_way_when_the_silence_lasts(host: StorageHost) -> None:
    host.serving()
    hang(host, "zpool")
    host.reconcile()
    host.write("/var/run/f3s/doubt", f"{int(time.time()) - 31}\n")
    host.reconcile()
    assert host.running() == ()
    assert host.carp_now() == ("BACKUP", 254)


@pytest.mark.parametrize("step", [-7200, 7200])
@pytest.mark.parametrize(("seconds", "state"), [(20, "MASTER"), (31, "BACKUP")])
def test_a_clock_that_is_set_changes_nothing_of_the_silence(
    host: StorageHost, step: int, seconds: int, state: str
) -> None:
    now = int(time.time())
    host.booted(now - 86400)
    host.serving()
    hang(host, "zpool")
    host.reconcile()
    began = int(host.path("/var/run/f3s/doubt").read_text())
    assert 86400 <= began < 86430
    # what the kernel does with a step: the time of the boot moves along
    host.command(
        "date", f'[ "$1" != +%s ] || {{ echo {now + seconds + step}; exit; }}; exec /bin/date "$@"', record=False
    )
    host.booted(now - 86400 + step)
    host.write("/var/run/f3s/doubt", "86400\n")
    host.reconcile()
    assert host.carp_now()[0] == state


@pytest.mark.parametrize("stamp", [None, "", "soon", "in an hour"])
def test_a_mark_that_tells_no_time_of_this_boot_keeps_nobody_waiting(host: StorageHost, stamp: str | None) -> None:
    """None: soon after a boot the first offer waits for nothing either."""
    host.serving()
    suspended(host)
    host.booted(int(time.time()) - 60)
    # a parameter that tells the time would be another one in each of pytest's workers
    if stamp is not None:
        host.write("/var/run/f3s/gave.way", f"{stamp.replace('in an hour', str(int(time.time()) + 3600))}\n")
    host.reconcile()
    assert host.carp_now() == ("BACKUP", 254)


def test_giving_way_twice_is_noted_for_the_failback_and_once_is_not(host: StorageHost) -> None:
    flaps = host.path("/var/run/f3s/flaps")
    for expected in (False, True):
        host.serving()
        suspended(host)
        host.reconcile()
        assert host.carp_now() == ("BACKUP", 254)
        host.state("health", "ONLINE\n")
        host.reconcile()
        assert host.carp_now() == ("BACKUP", 0)
        assert flaps.exists() == expected
        assert host.run(host.carp_program, "master").rc == 0  # as the automatic failback does
    assert not flaps.exists()
    host.write("/var/run/f3s/lost", f"{int(time.time()) - 1801}\n")
    host.carp("MASTER", 0)
    suspended(host)
    host.reconcile()
    assert not flaps.exists(), "half an hour later it is a trouble of its own"
    host.carp("MASTER", 254)
    host.write("/var/run/f3s/gave.way", f"{int(time.time()) - 301}\n")
    host.forget()
    host.reconcile()
    assert host.changes() == [GIVE_AWAY]
    assert not flaps.exists(), "the peer could not serve either: still the same trouble"
    host.write("/var/run/f3s/flaps", f"{int(time.time())}\n")
    host.run(host.control, "start")
    assert not flaps.exists()


# A full root file system


def full_tmp(host: StorageHost) -> None:
    host.command("mktemp", 'echo "mktemp: mkdtemp failed on $2: No space left on device" >&2; exit 1')


def nearly_full_tmp(host: StorageHost) -> None:
    """A folder can be made, and nothing written in it."""
    host.command("mktemp", 'dir=$(/usr/bin/mktemp "$@") && ln -s /dev/full "$dir/out" && echo "$dir"')


def full_run(host: StorageHost) -> None:
    """No file can be made in /var/run: not by root either."""
    for name in ("pending", "last.new"):
        path = host.path(f"/var/run/f3s/{name}")
        path.unlink(missing_ok=True)
        path.symlink_to("/nowhere/file")


@pytest.mark.parametrize("full", [full_tmp, nearly_full_tmp, full_run])
def test_a_full_file_system_keeps_nobody_from_serving(host: StorageHost, full) -> None:
    host.carp("MASTER")
    full(host)
    assert host.reconcile().rc == 0
    assert host.changes() == STARTS
    host.carp("BACKUP")
    host.forget()
    full(host)
    assert host.reconcile().rc == 0
    assert host.changes() == STOPS


def test_a_slow_command_is_known_as_one_without_room_in_tmp(host: StorageHost) -> None:
    host.serving()
    full_tmp(host)
    assert host.reconcile().rc == 0
    assert host.changes() == []
    hang(host, "zpool")
    assert host.reconcile().rc == 1
    assert host.running() == SERVICES
    assert host.log()[-1] == "MASTER, services left as they are for now: zpool list zdata did not end in 1 s"


def test_a_slow_check_costs_nothing_where_its_time_cannot_be_noted(host: StorageHost) -> None:
    host.serving()
    host.path("/var/run/f3s/doubt").symlink_to("/nowhere/file")
    hang(host, "zpool")
    assert host.reconcile().rc == 1
    assert host.running() == SERVICES
    assert host.carp_now() == ("MASTER", 0)
    assert "since when cannot be noted in " in host.log()[-1]


def test_a_start_without_room_for_its_mark_serves_and_says_so(host: StorageHost) -> None:
    mark = host.path("/var/run/f3s/started")
    mark.unlink()
    mark.symlink_to("/nowhere/file")
    host.carp("MASTER")
    assert host.run(host.control, "start").rc == 0
    assert host.running() == SERVICES
    assert f"{mark} cannot be made: after this nothing is done until the next start" in host.log()


def test_no_room_for_the_lock(host: StorageHost) -> None:
    host.command("lockf", 'echo "lockf: cannot open $5: No space left on device" >&2; exit 73')
    host.carp("MASTER")
    assert host.reconcile().rc == 0
    assert host.running() == SERVICES


def test_an_empty_record_of_the_newest_snapshot_is_made_again(host: StorageHost) -> None:
    host.write("/var/run/f3s/backup.createtxg", "")
    host.reconcile()
    assert host.path("/var/run/f3s/backup.createtxg").read_text() == "250\n"


def test_nothing_is_started_while_the_pool_is_silent(host: StorageHost) -> None:
    host.carp("MASTER")
    hang(host, "zpool")
    host.reconcile()
    assert host.running() == ()


def test_a_command_that_cannot_be_killed_does_not_hold_the_controller(host: StorageHost) -> None:
    """A process that waits for a suspended pool survives SIGKILL, and timeout(1) waits for it."""
    host.serving()
    stuck = '[ "$2" != -k ] || exec /bin/sleep 20; shift; exec /usr/bin/timeout "$@"'
    host.command("timeout", stuck, record=False)
    before = time.monotonic()
    host.command("service", 'echo "service must not be needed" >&2; exit 1')
    assert host.reconcile().rc == 1
    assert time.monotonic() - before < 15
    pid = int(host.path("/var/run/f3s/hung").read_text().splitlines()[0])
    host.command("timeout", 'exec /usr/bin/timeout "$@"', record=False)
    host.forget()
    host.reconcile()
    assert host.calls("zpool") == [], "a further check would hang as well"
    assert f"an earlier command still hangs (process {pid})" in host.path("/var/run/f3s/last").read_text()


def test_a_hung_command_that_ended_is_forgotten(host: StorageHost) -> None:
    host.carp("MASTER")
    host.write("/var/run/f3s/hung", "1\nThu Jan  1 00:00:00 1970\n")
    assert host.reconcile().rc == 0
    assert not host.path("/var/run/f3s/hung").exists()


# Mounting


@pytest.mark.parametrize("state", ["MASTER", "BACKUP"])
def test_the_dataset_is_mounted_when_its_key_is_there(host: StorageHost, state: str) -> None:
    host.carp(state)
    host.mounted(None)
    assert host.reconcile().rc == 0
    assert host.changes()[0] == ["zfs", "mount", "zdata/enc/nfsdata"]
    assert "mounted zdata/enc/nfsdata" in host.log()
    assert host.running() == (SERVICES if state == "MASTER" else ())


def test_a_replica_is_made_read_only_before_its_first_mount(standby: StorageHost) -> None:
    standby.mounted(None)
    standby.properties(readonly="off")
    standby.reconcile()
    replica = DATASET["standby"]
    assert standby.changes() == [["zfs", "set", "readonly=on", replica], ["zfs", "mount", replica]]


def test_a_replica_that_cannot_be_made_read_only_is_not_mounted(standby: StorageHost) -> None:
    standby.mounted(None)
    standby.properties(readonly="off")
    standby.flag("readonly_fails")
    standby.reconcile()
    assert [change for change in standby.changes() if change[:2] == ["zfs", "mount"]] == []
    [decision] = [line for line in standby.log() if line.startswith("BACKUP")]
    assert "could not serve" in decision
    assert "readonly=on failed: cannot set property: pool I/O is currently suspended" in decision


def test_a_mounted_replica_is_left_as_it_is(standby: StorageHost) -> None:
    """readonly=off on a mounted replica is an operator's promotion."""
    standby.carp("MASTER")
    standby.properties(readonly="off")
    assert standby.reconcile().rc == 0
    assert standby.changes() == STARTS


def test_a_promoted_replica_whose_key_came_late_stays_read_write(standby: StorageHost) -> None:
    """At boot nothing was mounted; what was written since the promotion tells it from a fresh replica."""
    standby.carp("MASTER")
    standby.mounted(None)
    standby.properties(readonly="off", written=8192)
    assert standby.reconcile().rc == 0
    assert standby.changes() == [["zfs", "mount", DATASET["standby"]], *STARTS]
    assert f"{DATASET['standby']} was written to and stays read-write, as promoted" in standby.log()


# Start, stop, locks and events


def test_nothing_happens_before_start(host: StorageHost) -> None:
    host.path("/var/run/f3s/started").unlink()
    host.carp("MASTER")
    assert host.reconcile().rc == 0
    assert host.changes() == []
    assert host.run(host.control, "start").rc == 0
    assert host.running() == SERVICES


def test_a_start_that_gives_the_address_away_is_no_failed_start(host: StorageHost) -> None:
    host.carp("MASTER")
    host.properties(keystatus="unavailable")
    assert host.run(host.control, "start").rc == 0
    assert host.carp_now() == ("BACKUP", 254)


def test_a_master_that_was_held_before_the_boot_gives_the_address_back(host: StorageHost) -> None:
    """rc.conf's advskew has won the election before the hold was known."""
    host.carp("MASTER")
    host.write("/var/db/f3s/carp.hold", "since yesterday\n")
    assert host.run(host.control, "start").rc == 0
    assert host.carp_now() == ("BACKUP", 254)
    assert host.running() == ()
    assert "held by carp backup: giving the address to the peer" in host.log()


def test_the_folder_of_the_tunnel_that_cannot_be_made_is_reported(host: StorageHost) -> None:
    host.path("/var/run/stunnel").rmdir()
    host.command("install", 'echo "install: /var/run/stunnel: No space left on device" >&2; exit 1')
    host.run(host.control, "start")
    assert f"{host.path('/var/run/stunnel')} could not be made: stunnel will not start" in host.log()


def test_start_forgets_what_an_earlier_boot_left(host: StorageHost) -> None:
    for name in ("service.failed", "gave.way", "doubt", "backup.createtxg"):
        host.write(f"/var/run/f3s/{name}", "1\n")
    host.run(host.control, "start")
    assert host.path("/var/run/f3s/backup.createtxg").read_text() == "250\n"
    assert host.carp_now() == ("BACKUP", 0)


def test_a_held_host_serves_when_the_peer_is_dead(host: StorageHost) -> None:
    host.write("/var/db/f3s/carp.hold", "since yesterday\n")
    host.flag("peer_dead")
    host.carp("MASTER", 0)
    assert host.run(host.control, "start").rc == 0
    assert host.running() == SERVICES
    assert host.carp_now() == ("MASTER", 254)


def test_stop_gives_the_address_away_before_the_services_stop(host: StorageHost) -> None:
    host.serving()
    assert host.run(host.control, "stop").rc == 0
    assert host.changes() == [GIVE_AWAY, *STOPS]
    assert "stopped; another host advertises the address, its own log says whether it serves" in host.log()
    assert host.carp_now() == ("BACKUP", 254)
    host.forget()
    host.reconcile()
    assert host.changes() == [], "a stopped controller starts nothing"


def test_a_stopped_host_that_became_master_gives_the_address_to_a_peer_that_is_back(host: StorageHost) -> None:
    host.run(host.control, "stop")
    host.carp("MASTER")
    host.flag("peer_dead")
    host.forget()
    host.reconcile()
    assert host.changes() == [], "nobody is there to take it"
    host.command("ping")
    host.reconcile()
    assert host.changes() == [GIVE_AWAY]
    assert "stopped, and MASTER: giving the address to the peer" in host.log()
    # a peer that cannot serve gives it back: it is not thrown to and fro
    host.carp("MASTER")
    host.forget()
    host.reconcile()
    assert host.changes() == []
    host.write("/var/run/f3s/gave.way", f"{int(time.time()) - 301}\n")
    host.reconcile()
    assert host.changes() == [GIVE_AWAY]
    # at boot it is not stopped, but not started yet
    host.path("/var/run/f3s/stopped").unlink()
    host.carp("MASTER")
    host.write("/var/run/f3s/gave.way", "1\n")
    host.forget()
    host.reconcile()
    assert host.changes() == []


def test_a_stopped_host_takes_part_again_when_it_is_started(host: StorageHost) -> None:
    host.run(host.control, "stop")
    assert host.carp_now() == ("BACKUP", 254)
    assert host.run(host.control, "start").rc == 0
    assert host.carp_now() == ("BACKUP", 0)
    assert not host.path("/var/run/f3s/stopped").exists()


def test_stop_gives_the_address_away_although_another_run_hangs(host: StorageHost) -> None:
    host.serving()
    host.command("lockf", "exit 75")
    stopped = host.run(host.control, "stop")
    assert stopped.rc == 75
    assert stopped.err == "the services are not stopped yet: the next reconcile does that\n"
    assert host.carp_now() == ("BACKUP", 254)
    assert not host.path("/var/run/f3s/started").exists()
    assert "stop: the lock was not free for 60 s, another run is still at work" in host.log()
    assert host.running() == SERVICES
    # what the other run did meanwhile, and the next one
    host.carp("BACKUP", 0)
    host.command("lockf", 'shift 5; exec "$@"')
    host.forget()
    assert host.reconcile().rc == 0
    assert host.running() == ()
    assert host.carp_now() == ("BACKUP", 254)
    host.forget()
    host.reconcile()
    assert host.changes() == []


def test_stop_says_when_nobody_took_the_address(host: StorageHost) -> None:
    host.serving()
    host.flag("peer_fails", "5")
    assert host.run(host.control, "stop").rc == 0
    assert host.running() == ()
    said = "state is MASTER, not BACKUP, 4 s after the change"
    assert f"stopped; no other host took the address: {said}" in host.log()


def test_stop_of_a_backup_makes_it_lose_the_next_election(host: StorageHost) -> None:
    host.serving()
    host.carp("BACKUP")
    host.run(host.control, "stop")
    assert host.changes() == [["ifconfig", "re0", "vhid", "1", "advskew", "254"], *STOPS]
    assert "stopped" in host.log()


def test_stop_of_a_backup_that_could_not_lower_its_advskew_again(host: StorageHost) -> None:
    host.state("preempt", "1\n")
    host.run(host.control, "stop")
    assert host.carp_now() == ("BACKUP", 0)


def test_stop_without_carp(host: StorageHost) -> None:
    host.serving()
    host.carp("none")
    assert host.run(host.control, "stop").rc == 0
    assert host.changes() == STOPS


def test_an_event_storm_ends_in_the_actual_state(host: StorageHost) -> None:
    host.carp("MASTER")
    runs = [host.start(host.control, "reconcile") for _ in range(12)]
    host.carp("BACKUP")
    runs.append(host.start(host.control, "reconcile"))
    for run in runs:
        run.communicate(timeout=60)
    assert {run.returncode for run in runs} == {0}
    assert host.running() == ()
    assert len(host.calls("zpool")) < len(runs), "whoever waited behind a later look has nothing to do"


def test_two_runs_at_once_start_each_service_once(host: StorageHost) -> None:
    host.carp("MASTER")
    runs = [host.start(host.control, "reconcile") for _ in range(2)]
    for run in runs:
        run.communicate(timeout=60)
    assert sorted(host.changes()) == sorted(STARTS)


def test_a_lock_that_is_never_free_is_reported(host: StorageHost) -> None:
    host.command("lockf", "exit 75")
    assert host.reconcile().rc == 75
    assert host.log() == ["reconcile: the lock was not free for 60 s, another run is still at work"]


# status and usage


def test_status_of_a_serving_master(host: StorageHost) -> None:
    host.carp("MASTER")
    host.reconcile()
    found, lines = status(host)
    assert lines[:5] == ["status=1", "carp=MASTER", "vhid=1@re0", "advskew=0", "advskew_configured=0"]
    assert lines[5:8] == ["started=yes", "dataset=ready", f"dataset_reason={host.dataset} is mounted and complete"]
    assert lines[8:12] == [f"service.{name}=running" for name in SERVICES]
    assert (found.started, found.right, found.carp) == (True, True, CarpState.MASTER)
    assert (found.decided_as, found.ready) == (CarpState.MASTER, True)
    assert (found.decision or "").startswith(f"MASTER, serving {host.dataset} since 2")


def test_status_tells_what_is_not_as_it_should_be(host: StorageHost) -> None:
    host.serving()
    host.carp("BACKUP")
    host.write("/var/db/f3s/carp.hold", "since yesterday\nby hand\n")
    host.write("/var/run/f3s/service.failed", "service nfsd did not start\n")
    host.write("/var/run/f3s/backup.createtxg", "4711\n")
    host.path("/var/run/f3s/started").unlink()
    found, lines = status(host)
    assert "service.stunnel=running" in lines
    hold, failed = "since yesterday by hand", "service nfsd did not start"
    assert found == Status(carp=CarpState.BACKUP, hold=hold, failed=failed, floor=4711)


def test_status_without_carp(host: StorageHost) -> None:
    host.carp("none")
    assert status(host)[0] == Status(started=True)
    host.reconcile()
    assert (status(host)[0].decided_as, status(host)[0].ready) == (None, False)


def test_a_master_without_a_service_or_dataset_is_not_right(host: StorageHost) -> None:
    host.serving()
    (host._state / "running.nfsd").unlink()
    assert not status(host)[0].right
    host.flag("running.nfsd")
    host.properties(keystatus="unavailable")
    found, lines = status(host)
    assert not found.right
    assert "dataset=unready" in lines
    assert f"dataset_reason=the key of {host.dataset} is not loaded" in lines


def test_a_decision_of_an_earlier_version_is_no_decision(host: StorageHost) -> None:
    """Nothing is concluded from its prose, and the next look replaces it."""
    host.write("/var/run/f3s/last", "BACKUP, not serving; could serve\nsince 2026-03-01 11:00:05\n")
    assert status(host)[0].decision is None
    host.reconcile()
    assert status(host)[0].decided_as is CarpState.BACKUP


def test_a_reason_of_several_lines_stays_one_value(host: StorageHost) -> None:
    host.mounted(None)
    host.command("zfs", 'case $1 in mount) printf "one\\ntwo=2\\n" >&2; exit 1 ;; *) cat "$STATE/dataset" ;; esac')
    host.reconcile()
    host.forget()
    host.reconcile()
    assert host.log() == [], "the same decision is logged once"
    assert "zfs mount failed: one two=2 since 2" in (status(host)[0].decision or "")


@pytest.mark.parametrize("arguments", [(), ("restart",), ("start", "now"), ("locked", "usage"), ("locked",)])
def test_usage(host: StorageHost, arguments: tuple[str, ...]) -> None:
    result = host.run(host.control, *arguments)
    assert result.rc == 64
    assert result.err == "usage: storage-control start | stop | status | reconcile\n"


@pytest.mark.parametrize("verb", ["start", "stop", "reconcile"])
def test_changes_need_root(host: StorageHost, verb: str) -> None:
    host.state("uid", "1001\n")
    result = host.run(host.control, verb)
    assert result.rc == 77
    assert "root is needed" in result.err
    assert host.changes() == []


def test_without_a_configuration(host: StorageHost) -> None:
    host.path("/usr/local/etc/f3s/storage.conf").unlink()
    result = host.reconcile()
    assert result.rc == 78
    assert "run the deploy" in result.err


def test_a_half_written_configuration_is_refused(host: StorageHost) -> None:
    path = host.path("/usr/local/etc/f3s/storage.conf")
    path.write_text(path.read_text().replace("F3S_DATASET", "F3S_OTHER"))
    result = host.reconcile()
    assert result.rc == 78
    assert result.err.endswith("storage.conf: F3S_DATASET is not set\n")
