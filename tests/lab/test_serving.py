"""Who serves, and when: the deployed storage pair through what happens to it (docs/controller.md)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import actions
from lab.mounts import KEEPS_READ_ONLY
from lab.rc import boot
from tests.lab.cluster import F0, F1, Cluster
from tests.lab.serving import REPLICA, SERVICES, SOURCE, Pair

pytestmark = pytest.mark.lab


@pytest.fixture(scope="session")
def deployed(everything: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The clients are switched off: they only cost time here."""
    pair = Pair(everything.copy(tmp_path_factory.mktemp("serving") / "state").state)
    for name in ("r0", "r1", "r2"):
        boot.crash(pair.store, name)
    return pair


@pytest.fixture
def pair(deployed: Pair, tmp_path: Path) -> Pair:
    return deployed.copy(tmp_path / "state")


@pytest.fixture(scope="session")
def standby_serves(deployed: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """f1 is MASTER, f0 BACKUP and ready."""
    pair = deployed.copy(tmp_path_factory.mktemp("standby") / "state")
    pair.fail_over()
    return pair


@pytest.fixture
def failed_over(standby_serves: Pair, tmp_path: Path) -> Pair:
    return standby_serves.copy(tmp_path / "state")


def test_after_the_deploy_both_are_ready_and_the_primary_claims_the_address(pair: Pair) -> None:
    assert pair.states == ("MASTER", "BACKUP")
    assert pair.claims == (10, 100)
    assert f"{SOURCE} on /data/nfs (zfs, local, nfsv4acls)" in pair.sh(F0, "mount")
    assert f"{REPLICA} on /data/nfs (zfs, local, read-only, nfsv4acls)" in pair.sh(F1, "mount")
    for host in (F0, F1):
        assert pair.running(host) == SERVICES
        assert "fsid=10ff002929000000\n" in pair.sh(host, "service f3s_storage status")
    assert "carp-auto-failback" not in pair.sh(F1, "crontab -l"), "failback is the primary's decision alone"


def test_both_say_how_they_are_and_a_fault_is_heard_of_without_asking(pair: Pair) -> None:
    pair.tick(125)
    for host, role in ((F0, 1), (F1, 0)):
        said = pair.metrics(host)
        assert said["f3s_storage_ready"] == said["f3s_storage_fsid_aligned"] == 1
        assert said["f3s_storage_master"] == role
        assert said['f3s_stick_readable{label="F3S_KEYS"}'] == 1
        keys = [value for name, value in said.items() if name.startswith("f3s_key_fits")]
        assert set(keys) == {1}
        assert abs(said['f3s_clock_offset_seconds{peer="f1"}' if role else 'f3s_clock_offset_seconds{peer="f0"}']) <= 1
        assert {name for name in said if "unanswered" in name} == set()
        assert {name.rpartition("/")[2] for name in said if name.startswith("f3s_certificate_not_after")} == {
            'server.pem"}',
            'ca-cert.pem"}',
            'crl.pem"}',
        }
    now = said["f3s_report_timestamp_seconds"]
    said = pair.metrics(F0)
    of = '{zrepl_job="f0_to_f1_nfsdata",dataset="zdata/enc/nfsdata"}'
    assert now - said[f"f3s_replication_last_timestamp_seconds{of}"] <= 120
    assert now - said['f3s_pool_last_scrub_timestamp_seconds{pool="zdata"}'] < 3600

    pair.lab("unplug", "f0")
    pair.sh(F0, "rm /var/run/f3s/report.slow")  # otherwise it is asked an hour later
    pair.sh(F1, "service zrepl onestop")
    pair.lab("clock", "f1", "-100")
    pair.tick(400)
    told = [line for line in pair.reported(F0) if line.startswith("wrong: ")]
    assert [re.sub(r"[0-9]+ s (?=old|between)", "N s ", line) for line in told] == [
        "wrong: no stick that can be read with the label F3S_KEYS",
        "wrong: more than 30 s off: N s between this clock and that of f1",
        "wrong: the newest common snapshot of zdata/enc/nfsdata is N s old",
    ]
    assert "WRONG: no stick" in pair.attempt(F0, "/usr/local/etc/periodic/daily/490.f3s").out
    assert pair.attempt(F0, "service f3s_storage alert-test").out.startswith("neither alert_command nor ")


def test_a_quiet_minute_changes_and_logs_nothing(pair: Pair) -> None:
    before = pair.process_ids(F0), pair.process_ids(F1)
    pair.tick(61)
    assert (pair.told(F0), pair.told(F1), pair.reported(F0), pair.reported(F1)) == ([], [], [], [])
    assert (pair.process_ids(F0), pair.process_ids(F1)) == before


def test_cold_boot_of_both(pair: Pair) -> None:
    for host in (F0, F1):
        boot.crash(pair.store, host)
    for host in (F0, F1):
        boot.boot(pair.store, host)
    pair.tick(70)
    assert pair.states == ("MASTER", "BACKUP")
    assert pair.told(F0)[-1] == "MASTER, ready"
    pair.sh(F0, "touch /data/nfs/k3svolumes/x")
    assert pair.told(F1)[-1] == "BACKUP, ready"
    for host in (F0, F1):  # rc started none of them before the controller did
        assert "Starting nfsd" not in pair.log(host, "console.log")


@pytest.mark.parametrize("keeps_read_only", [False, True])
def test_planned_failover_and_back(pair: Pair, keeps_read_only: bool) -> None:
    if keeps_read_only:
        with pair.store.edit() as cluster:
            for host in (F0, F1):
                cluster.host(host).parts[KEEPS_READ_ONLY] = True
    before = pair.process_ids(F0), pair.process_ids(F1)
    pair.sh(F0, "echo last > /data/nfs/k3svolumes/note")
    assert pair.sh(F0, "carp backup") == (
        "BACKUP, and held: 192.168.1.131 serves; 'carp master' takes the address back\n"
    )
    assert pair.states == ("BACKUP", "MASTER")
    assert pair.serves(F1)
    assert pair.sh(F1, "cat /data/nfs/k3svolumes/note") == "last\n"
    assert "Read-only file system" in pair.attempt(F0, "touch /data/nfs/k3svolumes/x").err
    pair.tick(2)
    assert pair.claims == (200, 20)
    assert pair.told(F0)[-1] == "BACKUP, ready; held by carp backup"
    assert pair.told(F1)[-1] == "MASTER, ready"
    assert "warning: automatic failback is off while carp backup holds" in pair.attempt(F0, "carp").err
    assert (pair.process_ids(F0), pair.process_ids(F1)) == before

    pair.tick(65)
    assert pair.failback_says()[-1].startswith("stay: held by carp backup")
    boot.reboot(pair.store, F0)
    pair.tick(70)
    assert pair.states == ("BACKUP", "MASTER"), "a planned failover outlives a reboot"
    assert pair.serves(F1)

    assert pair.sh(F0, "carp master") == "MASTER, and ready\n"
    assert pair.serves(F0)
    pair.tick(2)
    assert pair.states == ("MASTER", "BACKUP")
    assert pair.claims == (10, 100)
    assert pair.process_ids(F1) == before[1]
    pair.sh(F0, "touch /data/nfs/k3svolumes/x")
    pair.sh(F0, "touch /export/nfs/k3svolumes/y")
    of_f0, of_f1 = (pair.sh(host, "mount -v | grep -o '/export/nfs .*fsid [0-9a-f]*'").split()[-1] for host in (F0, F1))
    assert of_f0 == of_f1


def test_a_planned_failover_to_a_host_that_is_not_ready_is_taken_back(pair: Pair) -> None:
    pair.sh(F1, "mv /usr/local/etc/stunnel/server.pem /root; service stunnel onestop; service f3s_storage reconcile")
    assert pair.claims == (10, 254)
    failed = pair.attempt(F0, "carp backup")
    assert failed.rc == 1
    assert (
        "did not take the address (still MASTER after 6 s): it is not ready, or not heard; nothing changed"
        in failed.err
    )
    assert pair.claims == (10, 254)
    pair.sh(F0, "touch /data/nfs/k3svolumes/x; ! test -e /var/db/f3s/carp.hold")


def test_crash_of_the_standby_disturbs_nobody(pair: Pair) -> None:
    before = pair.process_ids(F0)
    boot.crash(pair.store, F1)
    pair.tick(70)
    assert pair.states == ("MASTER", "down")
    assert (pair.told(F0), pair.reported(F0), pair.process_ids(F0)) == ([], [], before)
    boot.boot(pair.store, F1)
    pair.tick(70)
    assert pair.states == ("MASTER", "BACKUP")
    assert pair.told(F1)[-1] == "BACKUP, ready"
    assert pair.process_ids(F0) == before


def test_the_primary_without_its_stick_never_serves(pair: Pair) -> None:
    actions.unplug(pair.store, F0)
    boot.crash(pair.store, F0)
    pair.until(10, F1)
    boot.boot(pair.store, F0)
    pair.tick(130)
    assert pair.states == ("BACKUP", "MASTER")
    assert pair.claims == (254, 20)
    assert pair.told(F0)[-1] == f"BACKUP, not ready: the key of {SOURCE} is not loaded"
    assert pair.failback_says()[-1] == f"stay: the key of {SOURCE} is not loaded"
    assert pair.sh(F0, "ls -A /data/nfs") == "", "the bare directory"
    assert pair.attempt(F0, "touch /data/nfs/x").rc != 0
    refused = pair.attempt(F0, "carp master")
    assert (refused.rc, f"not ready, nothing changed: the key of {SOURCE} is not loaded" in refused.err) == (1, True)

    boot.crash(pair.store, F1)  # nobody is left who could serve
    pair.tick(70)
    assert pair.carp(F0) == "MASTER"
    assert pair.running(F0) == set()
    assert pair.told(F0)[-1] == f"MASTER, not ready: the key of {SOURCE} is not loaded"

    actions.plug(pair.store, F0)
    pair.sh(F0, f"service f3skeys onestart; zfs load-key {SOURCE}")
    pair.until(70, F0)


def test_the_standby_without_its_stick_never_serves(pair: Pair) -> None:
    actions.unplug(pair.store, F1)
    boot.reboot(pair.store, F1)
    pair.tick(10)
    assert pair.told(F1)[-1] == f"BACKUP, not ready: the key of {REPLICA} is not loaded"
    boot.crash(pair.store, F0)
    pair.tick(70)
    assert pair.carp(F1) == "MASTER"
    assert pair.running(F1) == set()
    assert pair.sh(F1, "ls -A /data/nfs") == ""
    boot.boot(pair.store, F0)
    pair.until(60, F0)
    assert pair.states == ("MASTER", "BACKUP"), "no proof is asked for where the other one cannot serve"


def test_a_master_whose_pool_is_suspended_gives_way(pair: Pair) -> None:
    actions.unplug(pair.store, F0, "ada1")
    pair.until(75, F1)
    assert pair.states == ("BACKUP", "MASTER")
    assert "claim (advskew) 10 -> 254" in pair.told(F0)
    pair.tick(130)
    assert pair.states == ("BACKUP", "MASTER")
    assert pair.told(F0)[-1] == "BACKUP, not ready: pool zdata is SUSPENDED"
    assert pair.failback_says()[-1] == "stay: pool zdata is SUSPENDED"


def test_a_storm_of_events_moves_nothing(pair: Pair) -> None:
    before = pair.process_ids(F0), pair.process_ids(F1)
    for host in (F0, F1):
        pair.sh(host, "for i in 1 2; do for s in BACKUP MASTER; do carpcontrol.sh 1@re0 $s; done; done")
    pair.tick(1)
    assert pair.states == ("MASTER", "BACKUP")
    assert (pair.process_ids(F0), pair.process_ids(F1)) == before
    assert (pair.told(F0), pair.told(F1), pair.reported(F0), pair.reported(F1)) == ([], [], [], [])


def test_a_link_that_comes_back_brings_no_address_along(failed_over: Pair) -> None:
    assert failed_over.states == ("BACKUP", "MASTER")
    assert failed_over.claims == (60, 20)
    assert failed_over.running(F0) == SERVICES


CURSORS = f"zfs list -H -o name -t bookmark {SOURCE}"
NONE_SINCE = "stay: no replication has succeeded since this host lost its claim or booted"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (
            f"service zrepl onestop; for each in $({CURSORS}); do zfs destroy $each; done",
            "stay: no replication by f0_to_f1_nfsdata has ever been confirmed",
        ),
        ("true", NONE_SINCE),
        (
            "sleep 65; service zrepl onestop; echo 0 > /var/run/f3s/floor.createtxg; sleep 420",
            "s old (at most 300): the standby may have diverged",
        ),
    ],
)
def test_failback_waits_for_the_proof_of_zrepls_bookmarks(failed_over: Pair, breaks: str, said: str) -> None:
    """Each other single reason is enough as well: tests/files/test_carp_auto_failback.py."""
    # cron's own runs are not to get in the way
    failed_over.sh(F0, f"service cron onestop >/dev/null; {breaks}")
    failed_over.sh(F0, "carp-auto-failback.sh")
    assert said in failed_over.failback_says()[-1]
    assert failed_over.carp(F0) == "BACKUP"
    assert failed_over.carp(F1) == "MASTER"


def promote(pair: Pair) -> None:
    """f0 loses power, and an operator promotes f1; a client writes."""
    boot.crash(pair.store, F0)
    pair.until(10, F1)
    assert "what f0 wrote after it is not here" in pair.sh(F1, "carp promote without f0")
    pair.sh(F1, "echo precious > /data/nfs/k3svolumes/new; zpool sync zdata")
    assert "claim (advskew) 0\n" in pair.sh(F1, "carp")


def test_a_promoted_standby_is_never_run_over(pair: Pair) -> None:
    promote(pair)
    boot.boot(pair.store, F0)
    pair.tick(370)
    assert pair.claims == (254, 0)
    assert (pair.serves(F1), pair.running(F0)) == (True, set())
    assert pair.sh(F1, "cat /data/nfs/k3svolumes/new") == "precious\n"
    assert re.fullmatch(r"stay: f1 was promoted \d+ s ago \(epoch 1\), .*", pair.failback_says()[-1])
    refused = pair.attempt(F0, "carp master")
    assert refused.rc == 1
    assert "f1 was promoted" in refused.err
    for host in (F1, F0):
        assert pair.sh(host, "cat /var/db/f3s/record").startswith("1 f1 "), host
    pair.sh(F0, "zrepl status --mode raw | grep -q 'latest snapshot is not present on sender'")
    # with nobody left to ask: it remembers
    boot.crash(pair.store, F1)
    boot.reboot(pair.store, F0)
    pair.tick(70)
    assert pair.running(F0) == set()
    assert "Read-only file system" in pair.attempt(F0, "touch /data/nfs/k3svolumes/x").err


def test_a_primary_that_was_never_told_serves_no_old_data_to_writers(pair: Pair) -> None:
    """It boots while the promoted standby is down, which takes the address as soon as it is back."""
    promote(pair)
    boot.crash(pair.store, F1)
    boot.boot(pair.store, F0)
    pair.until(60, F0)
    pair.tick(30)  # its look goes on after the last service; others may tell that they have waited for it
    decisions = [each for each in pair.told(F0) if not each.startswith("reconcile: the lock was not free")]
    assert decisions[-1] == "MASTER, ready, but read-only until f1 says that it was not promoted"
    assert "claim (advskew) 60\n" in pair.sh(F0, "carp")
    assert "Read-only file system" in pair.attempt(F0, "touch /data/nfs/k3svolumes/x").err
    refused = pair.attempt(F0, "carp master")
    assert (refused.rc, "carp promote without f1" in refused.err) == (1, True)
    boot.boot(pair.store, F1)
    pair.until(70, F1)
    pair.tick(70)
    assert pair.claims == (254, 0)
    pair.sh(F1, "echo more >> /data/nfs/k3svolumes/new")


def test_a_primary_that_stood_still_yields_to_the_promoted_standby(pair: Pair) -> None:
    """It wakes as MASTER with its old claim: as behind a cut link, where nobody hears it."""
    actions.cut_off(pair.store, F0, away=True)
    pair.until(15, F1)
    pair.sh(F0, "ifconfig re0 vhid 1 advskew 10")
    pair.sh(F1, "carp promote without f0; echo precious > /data/nfs/k3svolumes/new")
    actions.cut_off(pair.store, F0, away=False)
    pair.tick(70)
    assert pair.states == ("BACKUP", "MASTER")
    assert (pair.claims, pair.running(F0)) == ((254, 0), set())


def test_a_promoted_standby_whose_key_comes_late_stays_writable(pair: Pair) -> None:
    promote(pair)
    actions.unplug(pair.store, F1)
    boot.reboot(pair.store, F1)
    actions.plug(pair.store, F1)
    pair.sh(F1, f"service f3skeys onestart; zfs load-key {REPLICA}")
    pair.until(70, F1)
    pair.sh(F1, "echo more >> /data/nfs/k3svolumes/new")
    assert pair.pyinfra("tasks/zrepl.py", "-y", "--limit", F1).rc == 0
    pair.sh(F1, "echo more >> /data/nfs/k3svolumes/new")


def test_a_service_that_does_not_start_moves_the_address(pair: Pair) -> None:
    pair.sh(F0, "mv /usr/local/etc/stunnel/server.pem /root; service stunnel onestop")
    pair.until(90, F1)
    pair.tick(130)
    assert pair.states == ("BACKUP", "MASTER")
    said = [line.partition(" did not start: ")[0] for line in pair.told(F0)]
    assert [said.count(f"{state}, not ready: service stunnel") for state in ("MASTER", "BACKUP")] == [1, 1]
    assert pair.running(F0) == SERVICES - {"stunnel"}, "what else runs is left alone"
    told = "stay: the controller found this host not ready: see service f3s_storage status"
    assert pair.failback_says()[-1] == told
    pair.sh(F0, "mv /root/server.pem /usr/local/etc/stunnel/; carp master")
    assert pair.serves(F0)


def test_shutting_down_the_primary_hands_over_first(pair: Pair) -> None:
    boot.shutdown(pair.store, F0)
    pair.until(10, F1)
    told = pair.told(F0)
    assert told.index("stopped") < told.index("stopped stunnel")


def test_a_second_run_changes_nothing_while_the_standby_serves(pair: Pair) -> None:
    pair.sh(F0, "carp backup")
    assert pair.serves(F1)
    run = pair.pyinfra("deploy.py", "-y", "--limit", "freebsd")
    assert (run.rc, run.changed) == (0, []), run.output
    assert pair.states == ("BACKUP", "MASTER")


def test_a_stopped_controller_keeps_the_address_from_nobody(failed_over: Pair) -> None:
    pair = failed_over
    pair.sh(F0, "service f3s_storage stop")
    actions.part(pair.store, F0, F1, away=True)
    pair.tick(10)
    assert pair.states == ("MASTER", "MASTER")
    actions.part(pair.store, F0, F1, away=False)
    pair.tick(2)
    assert pair.states == ("BACKUP", "MASTER"), "after a split, the host that serves wins"

    boot.crash(pair.store, F1)
    pair.tick(10)
    assert pair.states == ("MASTER", "down")
    assert pair.running(F0) == set(), "a stopped controller starts nothing"
    boot.boot(pair.store, F1)
    pair.until(10, F1)


def test_a_zrepl_that_died_is_started_and_one_that_was_stopped_is_not(pair: Pair) -> None:
    pair.sh(F0, "pkill -KILL -x zrepl; ! service zrepl onestatus")
    pair.tick(61)
    pair.sh(F0, "service zrepl onestatus && zrepl status --mode raw")
    assert "zrepl has died and is started" in pair.log(F0, "messages")
    pair.sh(F0, "service zrepl stop")
    pair.tick(121)
    pair.sh(F0, "! service zrepl onestatus")
