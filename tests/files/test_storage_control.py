"""The controller: services follow readiness, the claim follows that and the CARP state, whatever the events say."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from f3s.carp import CarpState
from f3s.controller import CLAIMS, HOLD, STARTED, STORAGE_CONF, Status, parse_status
from tests.files.storage import DATASET, FLOOR, FSID, LOSSES, SERVICES, Breaks, StorageHost, advskew

STARTS = [["service", name, "onestart"] for name in SERVICES]
STOPS = [["service", name, "onestop"] for name in reversed(SERVICES)]
ROLES = pytest.mark.parametrize("role", ["primary", "standby"])


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    return StorageHost(tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> StorageHost:
    return made(tmp_path)


def made(base: Path, role: str = "primary") -> StorageHost:
    """Its commands have no limit in time."""
    host = StorageHost(base, role)
    host.quick()
    return host


def restart(name: str) -> list[list[str]]:
    return [["service", name, "onestop"], ["service", name, "onestart"]]


def status(host: StorageHost) -> Status:
    host.forget()
    result = host.run(host.control, "status")
    assert host.changes() == []
    found = parse_status(result.out.splitlines())
    assert (result.rc, result.err) == (0 if found.right else 1, "")
    return found


# -- services follow readiness --


@ROLES
@pytest.mark.parametrize(("state", "skew"), [("MASTER", 0), ("BACKUP", 1), ("INIT", 1)])
def test_a_ready_host_serves_whatever_its_carp_state(tmp_path: Path, role: str, state: str, skew: int) -> None:
    host = StorageHost(tmp_path, role)
    host.carp(state, CLAIMS[role][skew])
    assert host.reconcile().rc == 0
    assert host.changes() == STARTS
    assert host.log() == [*(f"started {name}" for name in SERVICES), f"{state}, ready"]
    asked = [call for call in host.calls("answers") if call[0] != "record"]
    assert asked == [["nfs", "nfs.DO_NOT_REMOVE"], ["tls", "2323"]]
    host.forget()
    assert host.reconcile().rc == 0
    assert (host.changes(), host.log()) == ([], []), "a second run changes nothing and says nothing"


@pytest.mark.parametrize("state", ["none", "absent"])
def test_without_carp_nothing_is_touched(quick: StorageHost, state: str) -> None:
    """The stub always shows `carp: INIT vhid 2` and `carp: MASTER vhid 11`."""
    quick.serving()
    quick.carp(state)
    looked = quick.reconcile()
    assert (looked.rc, looked.err) == (1, "not ready: no CARP state of vhid 1 on re0\n")
    assert quick.changes() == []
    assert quick.log() == ["not ready: no CARP state of vhid 1 on re0"]


OLD_FLAGS = "mountd runs without -r -S -R: restarting mountd"


@pytest.mark.parametrize(
    ("breaks", "done", "said"),
    [
        (lambda host: host.state("health", "DEGRADED\n"), [], []),
        (lambda host: host.unflag("running.nfsd"), [["service", "nfsd", "onestart"]], ["started nfsd"]),
        (lambda host: host.state("running.mountd", "mountd -r /etc/exports\n"), restart("mountd"), [OLD_FLAGS]),
        (lambda host: host.write("/var/run/f3s/hung", "1\nThu Jan  1 00:00:00 1970\n"), [], []),
    ],
    ids=["a degraded pool", "a service that crashed", "a mountd with other flags", "a hung command that ended"],
)
def test_who_serves_goes_on(quick: StorageHost, breaks: Breaks, done: list[list[str]], said: list[str]) -> None:
    quick.serving()
    breaks(quick)
    assert quick.reconcile().rc == 0
    assert (quick.changes(), quick.running()) == (done, SERVICES)
    assert set(said) <= set(quick.log())
    assert not quick.path("/var/run/f3s/hung").exists()


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


def nullfs_fails(host: StorageHost) -> None:
    host.mounted(host.dataset)
    host.flag("nullfs_fails")


def busy(host: StorageHost) -> None:
    host.mounted(host.dataset)
    host.flag("busy")


def something_else_exported(host: StorageHost) -> None:
    host.mounted(host.dataset)
    host.state("mount", host.state("mount") + f"/data/other on {host.export} (nullfs, fsid 01ff002929000000)\n")


OTHER = "zdata/other is mounted on /data/nfs instead of zdata/enc/nfsdata"
OLD_EXPORTS = "/etc/exports does not have /export/nfs as the NFSv4 root: run tasks/nfs.py"
OLD_TUNNEL = "stunnel.conf is not of this deploy: run tasks/stunnel.py"
NOT_MOUNTED = "zdata/enc/nfsdata is not mounted on /data/nfs"
REASONS: list[tuple[Breaks, str]] = [
    (lambda host: (host._state / "health").unlink(missing_ok=True), "pool zdata is not imported"),
    (lambda host: host.state("health", "SUSPENDED\n"), "pool zdata is SUSPENDED"),
    (lambda host: (host._state / "dataset").unlink(missing_ok=True), "dataset zdata/enc/nfsdata does not exist"),
    (lambda host: host.properties(keystatus="unavailable"), "the key of zdata/enc/nfsdata is not loaded"),
    (lambda host: host.properties(keystatus="-"), "zdata/enc/nfsdata is not encrypted"),
    (lambda host: host.mounted("zdata/other"), OTHER),
    (wrong_dataset_on_top, OTHER),
    (wrong_mountpoint, f"{NOT_MOUNTED}, its mountpoint is /elsewhere"),
    (mount_fails, f"{NOT_MOUNTED}; zfs mount failed: cannot mount 'zdata/enc/nfsdata': Input/output error"),
    (
        lambda host: host.path("/data/nfs/nfs.DO_NOT_REMOVE").unlink(missing_ok=True),
        "marker /data/nfs/nfs.DO_NOT_REMOVE is missing",
    ),
    (nullfs_fails, "mount: /export/nfs: Resource deadlock avoided"),
    (lambda host: host.write("/etc/exports", "V4: /data/nfs -sec=sys\n"), OLD_EXPORTS),
    (lambda host: host.write("/usr/local/etc/stunnel/stunnel.conf", "[nfs]\n"), OLD_TUNNEL),
    (busy, "umount: unmount of /export/nfs failed: Device busy"),
    (something_else_exported, "/export/nfs has something else mounted than /data/nfs"),
]


@pytest.mark.parametrize(("breaks", "said"), REASONS)
def test_each_single_reason_stops_the_services_and_ends_the_claim(
    quick: StorageHost, breaks: Breaks, said: str
) -> None:
    quick.serving()
    for done in ([advskew(254), *STOPS], []):
        breaks(quick)
        looked = quick.reconcile()
        assert (looked.rc, looked.err.startswith("MASTER, not ready: ")) == (1, True)
        assert [c for c in quick.changes() if c[0] not in {"zfs", "mount", "umount"}] == done, (
            "the second time it is so already"
        )
        quick.forget()
    found = status(quick)
    assert (found.ready, found.claim, found.right) == (False, 254, False)
    assert (found.decision or "").startswith(f"MASTER, not ready: {quick.rewrite(said)} since 2")


def test_what_the_operator_uses_too_keeps_running_on_a_host_that_is_not_ready(quick: StorageHost) -> None:
    tunnel = "/usr/local/etc/stunnel/stunnel.conf"
    nfs = [["service", name, "onestop"] for name in ("nfsd", "mountd", "rpcbind")]
    for own, others, stops in (
        ("", "no", STOPS),
        (" [ups]\n", "no", nfs),  # who comes through the tunnel meets no nfsd
        ("", "yes", STOPS[:1]),
        ("[ups]\n", "yes", []),
    ):
        quick.configure(patience=0, nfs_for_others=others)
        quick.write(tunnel, f"[nfs]\n[alive]\n{own}")
        quick.serving()
        quick.mounted(None)
        quick.properties(keystatus="unavailable")
        quick.forget()
        assert quick.reconcile().rc == 1
        assert quick.changes() == [advskew(254), *stops]


def test_where_mountd_runs_for_others_it_keeps_its_flags_and_the_bare_export_takes_no_write(quick: StorageHost) -> None:
    quick.configure(patience=0, nfs_for_others="yes")
    quick.serving("BACKUP")
    quick.state("running.mountd", f"{quick.bin}/mountd -r /etc/exports\n")
    quick.mounted(quick.dataset)
    assert quick.reconcile().rc == 0
    assert quick.changes()[:2] == [
        ["chflags", "schg", str(quick.export)],
        ["mount", "-t", "nullfs", str(quick.mountpoint), str(quick.export)],
    ]
    assert [change for change in quick.changes() if change[0] == "service"] == []


def test_a_service_that_does_not_start(quick: StorageHost) -> None:
    """It is tried again and again, and told once; what runs is left alone."""
    quick.flag("refuse.nfsd")
    quick.reconcile()
    attempts = [["service", "nfsd", "onestart"]] * 2
    assert quick.changes() == [*STARTS[:2], *attempts, advskew(254)]
    said = "service nfsd did not start: /etc/rc.d/nfsd: WARNING: failed to start nfsd"
    assert quick.log()[-1] == f"BACKUP, not ready: {said}"
    quick.forget()
    quick.reconcile()
    assert (quick.changes(), quick.log()) == (attempts, [])
    quick.unflag("refuse.nfsd")
    quick.reconcile()
    assert (quick.running(), quick.log()[-1]) == (SERVICES, "BACKUP, ready")


def test_a_service_that_does_not_stop_is_killed_or_reported(quick: StorageHost) -> None:
    quick.serving()
    quick.properties(keystatus="unavailable")
    quick.flag("clings.nfsd")
    quick.flag("clings.mountd")
    quick.command("pkill", '[ "$3" = mountd ] && rm "$STATE/running.mountd"')
    quick.reconcile()
    assert {"stopped mountd", "nfsd did not stop"} <= set(quick.log())
    assert quick.running() == ("nfsd",)


def test_a_service_of_which_nothing_is_known_is_stopped(quick: StorageHost) -> None:
    quick.serving()
    quick.properties(keystatus="unavailable")
    quick.flag("silent.nfsd")
    quick.reconcile()
    assert (quick.running(), "stopped nfsd" in quick.log()) == ((), True)


# -- the claim --


def wanted(host: StorageHost, state: str, ready: bool, hold: bool, skew: int) -> int:
    if not ready:
        return 254
    if hold:
        return 200  # it could serve if nobody else can
    if state == "MASTER" and (host.role == "standby" or skew == 10):
        return host.claim
    if (state, host.role, skew) == ("INIT", "standby", 20):
        return 20  # it had the address, and nobody has asked the gates of the primary
    return host.advskew


@ROLES
@pytest.mark.parametrize("state", ["MASTER", "BACKUP", "INIT"])
def test_the_claim(tmp_path: Path, role: str, state: str) -> None:
    """The primary's MASTER at 60 stays there: only carp master and the gates of the automatic failback lower it."""
    host = made(tmp_path, role)
    host.serving()
    for ready, hold, skew in itertools.product((True, False), (True, False), (*CLAIMS[role], 200, 254)):
        host.flag("refuse.rpcbind")
        host.state("health", "ONLINE\n" if ready else "FAULTED\n")
        host.path(HOLD).unlink(missing_ok=True)
        if hold:
            host.write(HOLD, "since yesterday\n")
        if ready:
            host.serving()
            host.properties()
        host.carp(state, skew)
        host.forget()
        assert host.reconcile().rc == (0 if ready or state == "BACKUP" else 1)
        expected = wanted(host, state, ready, hold, skew)
        assert host.carp_now() == (state, expected), (ready, hold, skew)
        if expected == skew:
            assert not any(change[0] == "ifconfig" for change in host.changes())
        if ready:
            done = {change[0] for change in host.changes()}
            assert done <= ({"ifconfig", "zfs"} if hold else {"ifconfig"}), "no state starts or stops a service"
            assert host.running() == SERVICES


@pytest.mark.parametrize(("role", "state"), [("primary", "BACKUP"), ("primary", "INIT"), ("standby", "BACKUP")])
def test_a_link_that_comes_back_brings_no_address_along(tmp_path: Path, role: str, state: str) -> None:
    """What claimed and is not MASTER any more claims nothing, before anything is asked that may take its time."""
    host = made(tmp_path, role)
    host.serving()
    host.carp(state, host.claim)
    host.command("zpool", 'cat "$STATE/skew" >"$STATE/skew_then"; cat "$STATE/health"')
    host.reconcile()
    assert int(host.state("skew_then")) == host.advskew
    assert host.changes() == [advskew(host.advskew)]
    assert len(host.path(LOSSES).read_text().split()) == 1
    assert f"claim (advskew) {host.claim} -> {host.advskew}" in host.log()


def test_a_switch_that_restarts_leaves_the_address_where_it_was(tmp_path: Path) -> None:
    """The standby had it: with the next advertisement of the primary, which claims less, it is MASTER again."""
    standby = made(tmp_path, "standby")
    standby.serving()
    standby.carp("BACKUP", 20)
    standby.flag("flip", "3 MASTER\n")
    assert standby.reconcile().rc == 0
    assert (standby.carp_now(), standby.changes()) == (("MASTER", 20), [])


def test_only_the_last_losses_are_kept(quick: StorageHost) -> None:
    quick.write(LOSSES, "1\n2\n3\n")
    quick.carp("BACKUP", 10)
    quick.reconcile()
    assert quick.path(LOSSES).read_text().split()[:2] == ["2", "3"]
    assert len(quick.path(LOSSES).read_text().split()) == 3


def test_a_change_of_the_claim_that_fails_is_reported(quick: StorageHost) -> None:
    quick.carp("BACKUP", 254)
    quick.flag("skew_sticks")
    quick.reconcile()
    assert "advskew is 254, not 60, after ifconfig" in quick.log()


def test_the_newest_snapshot_is_remembered_while_the_primary_has_no_claim(quick: StorageHost, tmp_path: Path) -> None:
    quick.serving()
    quick.reconcile()
    assert not quick.path(FLOOR).exists()
    quick.carp("BACKUP")
    quick.reconcile()
    assert status(quick).floor == 250
    quick.state("snapshots", "900\n")
    quick.reconcile()
    assert status(quick).floor == 250, "the first one counts"
    quick.write(FLOOR, "")  # a full file system
    quick.state("snapshots", "")
    quick.reconcile()
    # carp-auto-failback.sh compares with it: an empty line would pass as proof
    assert quick.path(FLOOR).read_text() == "0\n"
    quick.carp("MASTER", 10)
    standby = made(tmp_path / "standby", "standby")
    for host in (quick, standby):
        host.reconcile()
        assert not host.path(FLOOR).exists()


# -- mounting, and the identity --


REPLICA = DATASET["standby"]


@pytest.mark.parametrize("mounted", [None, REPLICA])
def test_a_replica_is_read_only_before_its_first_mount(tmp_path: Path, mounted: str | None) -> None:
    standby = made(tmp_path, "standby")
    standby.properties(readonly="off", written=8192)
    standby.mounted(mounted, 16 if mounted else None)
    assert standby.reconcile().rc == 0
    done = [["zfs", "set", "readonly=on", REPLICA], *([] if mounted else [["zfs", "mount", REPLICA]])]
    assert [change for change in standby.changes() if change[0] == "zfs"] == done
    assert f"set readonly=on on {REPLICA}" in standby.log()


def test_a_replica_that_cannot_be_made_read_only_is_not_mounted(tmp_path: Path) -> None:
    standby = made(tmp_path, "standby")
    standby.mounted(None)
    standby.properties(readonly="off")
    standby.flag("readonly_fails")
    standby.reconcile()
    assert not any(change[:2] == ["zfs", "mount"] or change[0] == "mount" for change in standby.changes())
    assert "readonly=on failed: cannot set property: pool I/O is currently suspended" in standby.log()[-1]


@pytest.mark.parametrize(
    ("counter", "mounts", "fsid", "number"),
    [
        (0, 16, FSID, 16),
        (14, 2, FSID, 16),
        (15, 1, FSID, 16),
        (16, 1, "11ff002929000000", 17),  # passed: it serves with that
        (0x1FE, 1, "ffff012929000000", 0x1FF),
    ],
)
def test_the_share_is_exported_with_the_wanted_identity(
    quick: StorageHost, counter: int, mounts: int, fsid: str, number: int
) -> None:
    quick.mounted(quick.dataset)
    quick.state("counter", f"{counter}\n")
    assert quick.reconcile().rc == 0
    mount = ["mount", "-t", "nullfs", str(quick.mountpoint), str(quick.export)]
    assert quick.changes() == [mount, *[["umount", "-f", str(quick.export)], mount] * (mounts - 1), *STARTS]
    assert f"mounted {quick.export} with the fsid {fsid}, number {number} of this boot (wanted: 16)" in quick.log()
    found = status(quick)
    assert (found.right, found.fsid_number) == (True, number)
    assert parse_status(quick.path("/var/run/f3s/status").read_text().splitlines()) == found, "for the report"
    assert quick.run(quick.control, "stop").rc == 0
    assert not quick.path("/var/run/f3s/status").exists()


def test_an_export_of_an_earlier_mount_is_made_anew(quick: StorageHost) -> None:
    """After `zfs unmount -f` it still shows what was there."""
    quick.mounted(None, 16)
    quick.path("/export/nfs/nfs.DO_NOT_REMOVE").unlink()
    assert quick.reconcile().rc == 0
    mounted, unmounted, exported = quick.changes()[:3]
    assert unmounted == ["umount", "-f", str(quick.export)]
    assert (mounted, exported[:2]) == (["zfs", "mount", "zdata/enc/nfsdata"], ["mount", "-t"])
    assert "mounted zdata/enc/nfsdata" in quick.log()
    assert status(quick).fsid_number == 17


@pytest.mark.parametrize("state", ["BACKUP", "MASTER"])
def test_an_export_that_stays_read_only(quick: StorageHost, state: str) -> None:
    """The first look finds the peer silent. The number that both hosts want is left to the mount that takes writes."""
    quick.keeps_read_only()
    quick.unflag("peer_record")
    quick.carp(state)
    quick.mounted(quick.dataset)
    quick.reconcile()
    assert (quick.readonly(), status(quick).fsid_number) == ("on", 15)
    quick.state("peer_record", "0 f0 0 f0\n")
    assert quick.reconcile().rc == 0
    assert (quick.readonly(), status(quick).fsid_number) == ("off", 16)
    quick.reconcile()
    assert (quick.changes(), quick.log()) == ([], [])


def test_an_export_of_a_held_primary_that_stays_read_only(quick: StorageHost) -> None:
    quick.keeps_read_only()
    quick.carp("BACKUP", peer=100)
    quick.mounted(quick.dataset)
    quick.write("/var/db/f3s/carp.hold", "since 2026-11-22 09:00:00\n")
    quick.reconcile()
    assert (quick.readonly(), status(quick).fsid_number) == ("on", 15)
    assert quick.run(quick.carp_program, "master").rc == 0
    assert (quick.readonly(), status(quick).fsid_number) == ("off", 16)


def test_an_export_of_a_promoted_standby_that_stays_read_only(tmp_path: Path) -> None:
    """It has used up the number: clients have to mount anew, and can write."""
    standby = made(tmp_path, "standby")
    standby.keeps_read_only()
    standby.mounted(standby.dataset)
    standby.reconcile()
    assert (standby.readonly(), status(standby).fsid_number) == ("on", 16)
    standby.unflag("peer_record")
    standby.carp("MASTER")
    standby.state("creations", "1000\n")
    assert standby.run(standby.carp_program, "promote", "without", "f0").rc == 0
    assert f"{standby.export} has stayed read-only" in standby.log()
    assert (standby.readonly(), status(standby).fsid_number) == ("off", 17)


@pytest.mark.parametrize(("state", "number"), [("BACKUP", 16), ("MASTER", 5)])
def test_a_run_that_was_killed_before_it_had_the_wanted_identity(quick: StorageHost, state: str, number: int) -> None:
    """The next one goes on, unless clients have it already."""
    quick.serving(state)
    quick.mounted(quick.dataset, 5)
    assert quick.reconcile().rc == 0
    assert status(quick).fsid_number == number


def test_an_export_that_is_silent_is_not_taken_from_the_clients(quick: StorageHost) -> None:
    """Unknown is not no: after an unmount by force their handles would be stale."""
    quick.serving()
    quick.quick(endless="/export/nfs/")
    assert quick.reconcile().rc == 1
    assert quick.changes() == [advskew(254)]
    assert quick.log()[-1] == f"MASTER, not known to be ready: {quick.export} did not answer in 1 s"


# -- an answer end to end --


@pytest.mark.parametrize(
    ("wedged", "question", "answer"), [("nfsd", "nfs", 3), ("mountd", "nfs", 1), ("stunnel", "tls", 3)]
)
@pytest.mark.parametrize("cured", [True, False])
@pytest.mark.parametrize("kills", [0, 1, 2])
def test_the_service_to_blame_is_restarted_once(
    quick: StorageHost, wedged: str, question: str, answer: int, cured: bool, kills: int
) -> None:
    quick.serving()
    quick.flag(f"wedged.{wedged}", f"{question} {answer}\n")
    if not cured:
        quick.flag("incurable")
    if kills:
        quick.flag(f"clings.{wedged}")
    if kills == 2:
        quick.flag(f"survives.{wedged}")
    assert quick.reconcile().rc == (0 if cured else 1)
    kill = [["pkill", "-KILL", "-x", wedged]] * kills
    stop, start = restart(wedged)
    done = quick.changes()[: 2 + len(kill)]
    assert done == [stop, *kill, start]
    rest = quick.changes()[len(done) :]
    assert {f"{question} says {answer}: restarting {wedged}", f"stopped {wedged}"} <= set(quick.log())
    assert len(quick.path("/var/run/f3s/restarts").read_text().split()) == 1, "and is counted"
    if cured:
        assert rest == []
        assert quick.log()[-1] == "MASTER, ready"
    else:
        assert rest == [advskew(254)], "what the others serve is right"
        assert quick.log()[-1] == f"MASTER, not ready: {question} says {answer}"


def test_an_nfsd_that_serves_something_else_has_an_old_mountd(quick: StorageHost) -> None:
    """As before the deploy, with exports of the dataset itself: its clients would have stale handles after a move."""
    quick.serving()
    quick.flag("wedged.mountd", "nfs 0\n")
    said = f"nfsd exports the fsid nfs says 0, not {FSID} of {quick.export}"
    assert status(quick).reason == said
    assert quick.reconcile().rc == 0
    assert quick.changes() == restart("mountd")
    assert f"{said}: restarting mountd" in quick.log()


def test_an_answer_that_never_comes_is_none(host: StorageHost) -> None:
    host.serving()
    host.command("answers", "exec /bin/sleep 30")
    assert host.reconcile().rc == 1
    assert host.log()[0] == "no answer from answers nfs: restarting nfsd"


def hang(host: StorageHost, command: str) -> None:
    host.command(command, "exec /bin/sleep 30")


def passing(host: StorageHost, command: str) -> None:
    """The first two runs of it never end."""
    body = (host.bin / command).read_text().split("\n", 3)[3]
    host.counted(command, f"[ $n -gt 2 ] || exec /bin/sleep 30\n{body}")


@pytest.mark.parametrize("command", ["zpool", "zfs", "mount", "test", "answers"])
def test_slow_is_not_dead(host: StorageHost, command: str) -> None:
    """Within the patience services and claim stay as they are."""
    host.serving()
    host.configure(patience=20)
    if command == "test":
        host.command("test", 'exec /usr/bin/test "$@"')
    passing(host, command)
    assert host.reconcile().rc == 0
    assert (host.changes(), host.log()) == ([], ["MASTER, ready"])
    assert int(host.state(f"n.{command}")) > 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("zpool", "zpool list zdata did not end in 1 s"),
        ("zfs", "zfs get zdata/enc/nfsdata did not end in 1 s"),
        ("mount", "mount did not answer"),
        ("test", "/data/nfs did not answer in 1 s"),
    ],
)
def test_a_silence_that_lasts_ends_the_claim(host: StorageHost, command: str, said: str) -> None:
    host.serving()
    hang(host, command)
    assert host.reconcile().rc == 1
    assert host.changes() == [advskew(254)], "services that wait for the pool could not be stopped"
    assert host.log()[-1] == f"MASTER, not known to be ready: {host.rewrite(said)}"


@pytest.mark.parametrize("step", [-7200, 7200])
def test_a_clock_that_is_set_makes_nobody_impatient(quick: StorageHost, step: int) -> None:
    """What the kernel does with a step: the time of the boot moves along."""
    quick.serving()
    quick.configure(patience=60)
    quick.booted(1_000_000)
    now = 'expr $(cat "$STATE/now") + $(wc -l <"$STATE/asked")'
    quick.state("now", "1086400\n")
    quick.state("asked", "")
    quick.command("date", f'[ "$1" != +%s ] || {{ {now}; exit; }}; exec /bin/date "$@"', record=False)
    stepped = (
        f'echo {1_086_400 + step} >"$STATE/now"; echo \'{{ sec = {1_000_000 + step}, usec = 1 }}\' >"$STATE/boottime"'
    )
    body = f'echo >>"$STATE/asked"; [ "$(wc -l <"$STATE/asked")" -gt 5 ] || {{ {stepped}; exit 3; }}\n'
    quick.command("answers", body + (quick.bin / "answers").read_text().split("\n", 3)[3])
    assert quick.reconcile().rc == 0
    assert quick.changes() == []


def test_a_command_that_cannot_be_killed_does_not_hold_the_controller(host: StorageHost) -> None:
    """A process that waits for a suspended pool survives SIGKILL, and timeout(1) waits for it."""
    host.serving()
    stuck = 'case "$*" in *" zpool "*) exec /bin/sleep 20 ;; esac; exec /usr/bin/timeout "$@"'
    host.command("timeout", stuck, record=False)
    before = time.monotonic()
    assert host.reconcile().rc == 1
    assert time.monotonic() - before < 15
    pid = int(host.path("/var/run/f3s/hung").read_text().splitlines()[0])
    host.command("timeout", 'exec /usr/bin/timeout "$@"', record=False)
    host.forget()
    host.reconcile()
    assert host.calls("zpool") == [], "a further check would hang as well"
    assert f"an earlier command still hangs (process {pid})" in host.path("/var/run/f3s/last").read_text()


# -- a full root file system --


def full_tmp(host: StorageHost) -> None:
    host.command("mktemp", 'echo "mktemp: mkdtemp failed on $2: No space left on device" >&2; exit 1')


def nearly_full_tmp(host: StorageHost) -> None:
    """A folder can be made, and nothing written in it."""
    host.command("mktemp", 'dir=$(/usr/bin/mktemp "$@") && ln -s /dev/full "$dir/out" && echo "$dir"')


def full_run(host: StorageHost) -> None:
    """No file can be made in /var/run: not by root either."""
    for name in ("pending", "last.new", "losses.new", "floor.createtxg.new"):
        path = host.path(f"/var/run/f3s/{name}")
        path.unlink(missing_ok=True)
        path.symlink_to("/nowhere/file")


def no_lock(host: StorageHost) -> None:
    host.command("lockf", 'echo "lockf: cannot open $5: No space left on device" >&2; exit 73')


@pytest.mark.parametrize("full", [full_tmp, nearly_full_tmp, full_run, no_lock])
def test_a_full_file_system_keeps_nobody_from_serving(host: StorageHost, full: Breaks) -> None:
    full(host)
    assert host.reconcile().rc == 0
    assert host.changes() == STARTS
    host.properties(keystatus="unavailable")
    host.forget()
    full(host)
    host.reconcile()
    assert host.changes() == [advskew(254), *STOPS]


def test_a_slow_command_is_known_as_one_without_room_in_tmp(host: StorageHost) -> None:
    full_tmp(host)
    hang(host, "zpool")
    host.reconcile()
    assert host.log()[-1] == "BACKUP, not known to be ready: zpool list zdata did not end in 1 s"


def test_a_start_without_room_for_its_mark_serves_and_says_so(quick: StorageHost) -> None:
    mark = quick.path(STARTED)
    mark.unlink()
    mark.symlink_to("/nowhere/file")
    assert quick.run(quick.control, "start").rc == 0
    assert quick.running() == SERVICES
    assert f"{mark} cannot be made: after this nothing is done until the next start" in quick.log()


# -- start and stop --


def test_nothing_happens_before_start(quick: StorageHost) -> None:
    quick.path(STARTED).unlink()
    quick.carp("MASTER", 254)
    assert quick.reconcile().rc == 0
    assert quick.changes() == []
    assert quick.run(quick.control, "start").rc == 0
    assert (quick.running(), quick.carp_now()) == (SERVICES, ("MASTER", 60))


def test_a_start_that_finds_nothing_to_serve_is_no_failed_start(quick: StorageHost) -> None:
    quick.properties(keystatus="unavailable")
    assert quick.run(quick.control, "start").rc == 0
    assert quick.carp_now() == ("BACKUP", 254)


def test_start_forgets_what_an_earlier_one_left(quick: StorageHost) -> None:
    for name in ("stop.owed", "losses", "floor.createtxg", "last"):
        quick.write(f"/var/run/f3s/{name}", "1\n")
    quick.run(quick.control, "start")
    assert quick.path(FLOOR).read_text() == "250\n"
    assert not quick.path(LOSSES).exists()
    assert not quick.path("/var/run/f3s/stop.owed").exists()


def test_start_makes_the_folder_of_stunnels_pid_file_where_a_boot_took_it_away(quick: StorageHost) -> None:
    folder = quick.path("/var/run/stunnel")
    folder.rmdir()
    assert quick.run(quick.control, "start").rc == 0
    assert quick.calls("install") == [["-d", "-o", "stunnel", "-g", "stunnel", "-m", "755", str(folder)]]
    quick.forget()
    assert quick.run(quick.control, "start").rc == 0
    assert quick.calls("install") == []
    folder.rmdir()
    quick.command("install", "exit 1")
    quick.run(quick.control, "start")
    assert f"{folder} could not be made: stunnel will not start" in quick.log()


ALONE = "stopped; no other host took the address: still MASTER after 6 s"


@pytest.mark.parametrize(
    ("state", "peer", "after", "said"),
    [
        ("MASTER", 100, "BACKUP", "stopped"),
        ("BACKUP", 20, "BACKUP", "stopped"),
        ("MASTER", None, "MASTER", ALONE),
        ("none", None, "none", "stopped"),
    ],
)
def test_stop_gives_the_address_away_before_the_services_stop(
    quick: StorageHost, state: str, peer: int | None, after: str, said: str
) -> None:
    quick.serving()
    quick.carp(state, CLAIMS["primary"][state != "MASTER"], peer)
    assert quick.run(quick.control, "stop").rc == 0
    claims = [] if state == "none" else [advskew(254)] * 2
    assert quick.changes() == [*claims, *STOPS]
    assert quick.carp_now() == (after, 254 if claims else 60)
    assert (quick.running(), said in quick.log()) == ((), True)
    quick.forget()
    quick.reconcile()
    assert quick.changes() == [], "a stopped controller starts nothing and claims nothing"


# -- the lock --


def test_stop_gives_the_address_away_although_another_run_hangs(quick: StorageHost) -> None:
    quick.serving()
    quick.carp("MASTER", peer=100)
    quick.command("lockf", "exit 75")
    stopped = quick.run(quick.control, "stop")
    assert (stopped.rc, stopped.err) == (75, "the services are not stopped yet: the next reconcile does that\n")
    assert quick.carp_now() == ("BACKUP", 254)
    assert not quick.path(STARTED).exists()
    assert "stop: the lock was not free for 60 s, another run is still at work" in quick.log()
    assert quick.running() == SERVICES
    # the other run ends with the claim of a host that it found ready
    quick.carp("MASTER", 60)
    quick.command("lockf", 'shift 5; exec "$@"')
    assert quick.reconcile().rc == 0
    assert (quick.running(), quick.carp_now()) == ((), ("BACKUP", 254))
    quick.forget()
    quick.reconcile()
    assert quick.changes() == []


@pytest.mark.parametrize(
    ("verb", "seconds", "then"),
    [
        ("reconcile", 300, "and looks again within a minute"),
        ("start", 300, "nothing changed: try again"),
        ("claim", 60, "nothing changed: try again"),
        ("give", 60, "nothing changed: try again"),
    ],
)
def test_a_lock_that_is_never_free_is_reported(quick: StorageHost, verb: str, seconds: int, then: str) -> None:
    quick.command("lockf", f'[ "$4" = {seconds} ] && exit 75')
    result = quick.run(quick.control, verb)
    assert (result.rc, result.err) == (75, f"f3s_storage is at work for more than {seconds} s, {then}\n")
    assert quick.log() == [f"{verb}: the lock was not free for {seconds} s, another run is still at work"]


def test_an_event_storm_ends_in_the_actual_state(quick: StorageHost) -> None:
    runs = [quick.start(quick.control, "reconcile") for _ in range(8)]
    quick.properties(keystatus="unavailable")
    runs.append(quick.start(quick.control, "reconcile"))
    for run in runs:
        run.communicate(timeout=60)
    assert quick.running() == ()
    assert quick.carp_now() == ("BACKUP", 254)
    assert len(quick.calls("zpool")) < len(runs), "whoever waited behind a later look has nothing to do"


def test_two_runs_at_once_start_each_service_once(quick: StorageHost) -> None:
    runs = [quick.start(quick.control, "reconcile") for _ in range(2)]
    for run in runs:
        run.communicate(timeout=60)
    assert sorted(quick.changes()) == sorted(STARTS)


# -- status and usage --


@ROLES
def test_status_of_a_host_that_is_as_it_should_be(tmp_path: Path, role: str) -> None:
    host = StorageHost(tmp_path, role)
    host.serving()
    host.reconcile()
    found = status(host)
    assert (found.decision or "").startswith("MASTER, ready since 2")
    assert found == Status(
        started=True, right=True, carp=CarpState.MASTER, claim=host.claim, ready=True,
        reason=f"serves {host.dataset}", fsid_number=16, writer="f0", proven=role == "primary",
        decision=found.decision,
    )  # fmt: skip


def wedged(host: StorageHost) -> None:
    host.flag("wedged.nfsd", "nfs 3\n")


@pytest.mark.parametrize(
    ("breaks", "ready", "said"),
    [
        (lambda host: host.carp("none"), True, "serves zdata/enc/nfsdata"),
        (lambda host: host.path(STARTED).unlink(), True, "serves zdata/enc/nfsdata"),
        (lambda host: host.unflag("running.nfsd"), False, "nfsd does not run"),
        (wedged, None, "nfs says 3"),
        (lambda host: host.flag("wedged.mountd", "nfs 1\n"), False, "nfs says 1"),
        (lambda host: host.flag("wedged.stunnel", "tls 3\n"), None, "tls says 3"),
        (lambda host: host.mounted(host.dataset), False, "/data/nfs is not mounted on /export/nfs"),
        (lambda host: host.mounted(None), False, "zdata/enc/nfsdata is not mounted on /data/nfs"),
        (lambda host: host.properties(keystatus="unavailable"), False, "the key of zdata/enc/nfsdata is not loaded"),
    ],
)
def test_status_tells_what_is_not_as_it_should_be(
    quick: StorageHost, breaks: Breaks, ready: bool | None, said: str
) -> None:
    quick.serving()
    breaks(quick)
    found = status(quick)
    assert (found.right, found.ready, found.reason) == (False, ready, quick.rewrite(said))


def test_status_shows_the_records_each_on_a_line(quick: StorageHost) -> None:
    quick.write(HOLD, "since yesterday\nby hand\n")
    quick.write(FLOOR, "4711\n")
    quick.properties(readonly="on")
    quick.write("/var/run/f3s/last", "status=1\ndecision=BACKUP, not serving\ndecided_as=BACKUP\n")
    found = status(quick)
    assert (found.hold, found.floor) == ("since yesterday by hand", 4711)
    assert found.decision is None, "that of an earlier version; the next look replaces it"
    quick.mounted(None)
    quick.command("zfs", 'case $1 in mount) printf "one\\ntwo=2\\n" >&2; exit 1 ;; *) cat "$STATE/dataset" ;; esac')
    quick.reconcile()
    quick.forget()
    quick.reconcile()
    assert quick.log() == [], "the same decision is logged once"
    assert "zfs mount failed: one two=2; held by carp backup since 2" in (status(quick).decision or "")


@pytest.mark.parametrize(
    "arguments", [(), ("restart",), ("start", "now"), ("claim", "now"), ("locked", "usage"), ("locked",)]
)
def test_usage(quick: StorageHost, arguments: tuple[str, ...]) -> None:
    result = quick.run(quick.control, *arguments)
    said = (
        "usage: storage-control start | stop | status | reconcile | claim [operator] | give | promote HOST | record\n"
    )
    assert (result.rc, result.err) == (64, said)


@pytest.mark.parametrize("verb", ["start", "stop", "reconcile", "claim", "give"])
def test_changes_need_root(quick: StorageHost, verb: str) -> None:
    quick.state("uid", "1001\n")
    result = quick.run(quick.control, verb)
    assert result.rc == 77
    assert "root is needed" in result.err
    assert quick.changes() == []


def test_without_a_whole_configuration(quick: StorageHost) -> None:
    path = quick.path(STORAGE_CONF)
    path.write_text(path.read_text().replace("F3S_DATASET", "F3S_OTHER"))
    result = quick.reconcile()
    assert (result.rc, result.err) == (78, f"{path}: F3S_DATASET is not set\n")
    path.unlink()
    result = quick.reconcile()
    assert result.rc == 78
    assert "run the deploy" in result.err
