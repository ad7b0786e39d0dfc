"""tasks/zrepl.py on the simulated hosts: replicated within a minute, rebooted, written to, late, and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.lab.cluster import F0, F1, Cluster, Run

pytestmark = pytest.mark.lab
TASK = "tasks/zrepl.py"
PAIR = ("--limit", F0, "--limit", F1)
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
CONFIG = "/usr/local/etc/zrepl/zrepl.yml"
RUNS = "zrepl: service runs with this configuration"

KEYS = """
newfs -L F3S_KEYS /dev/da0 >/dev/null; mkdir /keys; mount /dev/ufs/F3S_KEYS /keys
for host in f0 f1; do for purpose in zdata bhyve; do
    printf '%-32.32s' "$host $purpose" >/keys/$host.lan.buetow.org:$purpose.key
done; done
sysrc zfskeys_enable=YES >/dev/null
zpool create -m /data zdata /dev/ada1
"""
SOURCE = """
vm stopall >/dev/null; zfs destroy -r zroot/bhyve; sysrc vm_enable=NO >/dev/null
encrypted='-o encryption=aes-256-gcm -o keyformat=raw -o keylocation=file:///keys/f0.lan.buetow.org'
zfs create $encrypted:zdata.key zdata/enc
zfs create $encrypted:zdata.key -o mountpoint=/data/nfs zdata/enc/nfsdata
zfs create $encrypted:bhyve.key zroot/bhyve
zfs create zroot/bhyve/fedora
zfs create -V 16M zroot/bhyve/fedora/disk0
echo hello >/data/nfs/hello
"""


def task(cluster: Cluster, *arguments: str) -> Run:
    return cluster.done(TASK, *PAIR, *arguments)


@pytest.fixture(scope="module")
def prepared(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Two hosts that this task has not seen, as the tasks before it leave them behind."""
    cluster = installed.copy(tmp_path_factory.mktemp("zrepl") / "state")
    for host in (F0, F1):
        cluster.sh(host, KEYS)
    cluster.sh(F0, SOURCE)
    # the stick is mounted before zfskeys by f3skeys, which is usb_keys's to test
    script = (
        "#!/bin/sh\n# PROVIDE: f3skeys\n# BEFORE: zfskeys\n# REQUIRE: root\n"
        "[ $1 != faststart ] || mount -r /dev/ufs/F3S_KEYS /keys\n"
    )
    for host in (F0, F1):
        cluster.sh(host, f"cat >/etc/rc.d/f3skeys <<'END'\n{script}END\nchmod 755 /etc/rc.d/f3skeys")
    return cluster


@pytest.fixture(scope="module")
def deployed(prepared: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    cluster = prepared.copy(tmp_path_factory.mktemp("deployed") / "state")
    task(cluster, "-y")
    return cluster


def replicated(cluster: Cluster, text: str) -> bool:
    """Whether a line written on the primary can be read on the standby a minute later."""
    cluster.sh(F0, f"echo '{text}' >>/data/nfs/hello; zpool sync zdata")
    cluster.tick(62)
    return text in cluster.sh(F1, "cat /data/nfs/hello").splitlines()


def test_the_first_run_ends_with_a_read_only_replica(deployed: Cluster) -> None:
    assert deployed.sh(F1, "cat /data/nfs/hello") == "hello\n"
    assert deployed.attempt(F1, "touch /data/nfs/x").err == "touch: /data/nfs/x: Read-only file system\n"
    assert f"{REPLICA} on /data/nfs (zfs, local, read-only, nfsv4acls)" in deployed.sh(F1, "mount")
    # the virtual machine's volume, still under a key that the standby does not load
    volume = "zdata/sink/f0/zroot/bhyve/fedora/disk0"
    properties = deployed.sh(F1, f"zfs get -H -o value type,encryption,keystatus,readonly {volume}")
    assert properties.split() == ["volume", "aes-256-gcm", "unavailable", "on"]
    for closed in (volume, volume.rpartition("/")[0]):  # which key it is under can be told all the same
        assert deployed.sh(F1, f"zfs get -H -o value keylocation {closed}") == (
            "file:///keys/f0.lan.buetow.org:bhyve.key\n"
        )
    for host in (F0, F1):
        assert deployed.sh(host, f"stat -f '%Lp %Su' {CONFIG} /var/run/zrepl").split() == ["600", "root", "700", "root"]


def test_what_is_written_is_read_a_minute_later_also_after_reboots(site: Cluster) -> None:
    assert task(site, "-y").changed == []
    assert replicated(site, "one")
    site.lab("reboot", F1)
    assert site.sh(F1, f"zfs get -H -o value mounted {REPLICA}") == "yes\n"
    # where /var/run is in memory the folder of the control socket is made by each start
    site.sh(F1, "service zrepl stop; rm -r /var/run/zrepl; service zrepl start; zrepl status --mode raw")
    assert replicated(site, "two")
    site.lab("reboot", F0)
    assert replicated(site, "three")
    assert task(site, "-y").changed == []


ROLLBACK = ("--data", 'zrepl_rollback_replicas=["f0_to_f1_nfsdata"]')


def diverge(cluster: Cluster) -> str:
    """The source goes back behind what the replica received last, which has zrepl's hold, and somebody makes a snapshot
    of the replica. Returns the newest common snapshot."""
    cluster.tick(190)
    cluster.sh(F0, "service zrepl stop")
    names = cluster.sh(F0, "zfs list -H -t snapshot -o name zdata/enc/nfsdata").split()
    cluster.sh(F0, f"zfs rollback -r {names[-3]}; service zrepl start")
    cluster.sh(F1, f"zfs snapshot {REPLICA}@by_hand")
    return f"{REPLICA}@{names[-3].partition('@')[2]}"


def test_snapshots_of_the_replicas_own_are_named_and_go_only_on_demand(site: Cluster) -> None:
    common = diverge(site)
    lines = site.sh(F1, f"zfs list -H -t snapshot -o name {REPLICA}").split()
    own = lines[lines.index(common) + 1 :]
    run = task(site, "-y")
    assert run.changed == []
    assert f"snapshots of its own: {', '.join(name.partition('@')[2] for name in own)}" in run.output
    assert site.sh(F1, f"zfs list -H -t snapshot -o name {REPLICA}").split() == lines
    # without the first half of it
    alone = site.copy(site.state.parent / "alone")
    assert "dataset is busy" in alone.attempt(F1, f"zfs rollback -r {common}").err
    run = task(site, "-y", *ROLLBACK)
    assert run.changed == [f"{F1}: zrepl: nothing was written to a replica"], run.output
    assert "and its own snapshots" in run.output
    assert site.sh(F1, f"zfs get -H -o value readonly,mounted {REPLICA}").split() == ["on", "yes"]
    assert replicated(site, "again")
    assert task(site, "-y", *ROLLBACK).changed == []


def test_the_printed_commands_lead_on_where_a_rollback_was_tried_before(site: Cluster) -> None:
    common = diverge(site)
    site.attempt(F1, f"zfs rollback -r {common}")
    (printed,) = re.findall(r"To drop them: `(.*?)`", task(site, "-y").output)
    assert printed.endswith(f" && zfs rollback -r {common}")
    site.sh(F1, printed)
    assert replicated(site, "again")


def test_a_job_with_another_name_takes_its_place_everywhere(site: Cluster) -> None:
    conf = "/usr/local/etc/f3s/storage.conf"
    roles = {F0: "primary", F1: "standby"}
    for host, role in roles.items():
        lines = f"F3S_ROLE='{role}'\nF3S_REPLICATION_JOB='f0_to_f1_nfsdata'\nF3S_FAILBACK_MAX_AGE='300'\n"
        site.sh(host, f'mkdir -p /usr/local/etc/f3s; printf "{lines}" >{conf}')
    ends = {"source": F0, "target": F1, "dataset": "zdata/enc/nfsdata", "replica_mountpoint": "/data/nfs"}
    renamed = f"zrepl_jobs={json.dumps([{**ends, 'name': 'served', 'interval': '2m'}])}"
    task(site, "-y", "--data", renamed)
    for host, role in roles.items():
        told = [f"F3S_ROLE='{role}'", "F3S_REPLICATION_JOB='served'", "F3S_FAILBACK_MAX_AGE='600'"]
        lines = site.sh(host, f"cat {conf}").splitlines()
        assert lines[:3] == told
        assert f"F3S_JOBS='{'served zdata/enc/nfsdata 300' if host == F0 else ''}'" in lines
    assert task(site, "-y", "--data", renamed).changed == []
    site.tick(130)
    # and what is left of the old one is named, with a command that removes it
    verify = site.pyinfra("tasks/verify.py", "-y", "--limit", F0, "--data", renamed)
    assert "of the job f0_to_f1_nfsdata, which zrepl.yml does not have" in " ".join(verify.output.split())
    assert "doas zrepl zfs-abstraction release-all --job f0_to_f1_nfsdata" in verify.output
    for name in ("f0_to_f1_nfsdata", "f0_to_f1_fedora"):
        site.sh(F0, f"doas zrepl zfs-abstraction release-all --job {name}")
    verify = site.pyinfra("tasks/verify.py", "-y", "--limit", F0, "--data", renamed)
    assert "which zrepl.yml does not have" not in " ".join(verify.output.split())
    assert re.search(rf"zrepl +{F0} +ok +running", verify.output), verify.output


def test_a_closed_replica_under_an_old_key_is_reported_until_its_next_replication(site: Cluster) -> None:
    """The new key has the old one's name, as a stick that was written anew."""
    key, disk = "/keys/f0.lan.buetow.org:bhyve.key", "zdata/sink/f0/zroot/bhyve/fedora/disk0"
    for host in (F0, F1):
        site.sh(host, f"mount -u -o rw /keys; printf '%-32.32s' 'another key' >{key}")
    site.sh(F0, "zfs change-key zroot/bhyve")
    run = task(site, "-y")
    assert run.changed == []
    assert f"file://{key} does not open the replica {disk}: the key is not the one" in run.output
    assert "keep a copy of the old key until then" in run.output
    site.tick(601)
    run = task(site, "-y")
    assert "does not open the replica" not in run.output
    assert run.changed == []


def test_a_disk_that_is_made_later_is_replicated_and_names_its_key(site: Cluster) -> None:
    site.sh(F0, "zfs create -V 16M zroot/bhyve/fedora/disk1")
    assert task(site, "-y").changed == []  # its first snapshot is minutes away, and nobody waits for that
    site.tick(601)
    assert task(site, "-y").changed == [f"{F1}: zrepl: every replica names its key"]
    assert task(site, "-y").changed == []


def test_a_clock_that_was_set_back_stops_the_snapshots(site: Cluster) -> None:
    site.lab("clock", F0, "-7200")
    assert not replicated(site, "two hours early")
    run = task(site, "-y")
    assert run.changed == []
    assert f"the clock of {F0} is 7200 s behind the controller's" in run.output
    site.sh(F0, "service zrepl restart")
    site.tick(10)  # from its start an interval passes
    assert replicated(site, "from then on")
    site.sh(F0, "ntpd -gq")
    assert replicated(site, "in time")


def test_a_change_of_the_configuration_restarts_zrepl_where_it_is_one(site: Cluster) -> None:
    run = task(site, "-y", "--data", "zrepl_keep_last=20")
    assert run.changed == [f"{F0}: zrepl: configuration", f"{F0}: {RUNS}"]
    assert "count: 20" in site.sh(F0, f"cat {CONFIG}")
    assert replicated(site, "after the restart")


def test_a_run_killed_before_the_restart_is_made_up_for(site: Cluster) -> None:
    daemon = site.sh(F0, "pgrep -x zrepl")
    words = (TASK, "--limit", F0, "-y", "--data", "zrepl_keep_last=20")
    killed = site.pyinfra(*words, LAB_KILL_AT="onerestart")
    assert killed.rc == 137, killed.output
    assert "count: 20" in site.sh(F0, f"cat {CONFIG}")
    assert site.sh(F0, "pgrep -x zrepl") == daemon
    # now that the file is as it should be, only what is on record tells that the daemon has not read it
    assert task(site, "-y", "--data", "zrepl_keep_last=20").changed == [f"{F0}: {RUNS}"]
    assert site.sh(F0, "pgrep -x zrepl") != daemon
    assert task(site, "-y", "--data", "zrepl_keep_last=20").changed == []


def test_a_first_replication_that_is_late_is_reported_and_the_next_run_goes_on(
    prepared: Cluster, tmp_path: Path
) -> None:
    fresh = prepared.copy(tmp_path / "state")
    fresh.lab("isolate", F1)
    run = task(fresh, "-y", "--data", "zrepl_first_replication_timeout=20")
    assert f"{REPLICA} has not arrived yet, so /data/nfs is not mounted" in run.output
    assert "i/o timeout" in run.output
    assert fresh.attempt(F1, f"zfs list {REPLICA}").rc == 1
    fresh.lab("rejoin", F1)
    run = task(fresh, "-y", "--data", "zrepl_first_replication_timeout=90")
    assert f"{F1}: zrepl: the replica of f0_to_f1_nfsdata is mounted" in run.changed
    assert fresh.sh(F1, "cat /data/nfs/hello") == "hello\n"
