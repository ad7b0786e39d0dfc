"""tasks/carp.py on the simulated hosts: what of its order matters to real ones."""

from __future__ import annotations

import json

import pytest

from lab.net import model
from tests.lab.cluster import F0, F1, F2, Cluster

pytestmark = pytest.mark.lab


def test_the_primary_has_the_address_before_the_standby_gets_it(lab: Cluster) -> None:
    """The standby alone would be MASTER until the primary comes."""
    lab.make_secrets()
    run = lab.pyinfra("tasks/carp.py", "--dry", "--limit", "storage", "--data", "nfs_owners=names")
    assert run.rc == 0, run.output
    _, _, table = run.output.partition("--> Detected changes:")
    steps = ["now, on the primary", "carp: the primary has the virtual IP", "now, on the standby"]
    found = [table.find(step) for step in steps]
    assert -1 not in found, table
    assert found == sorted(found), table
    # the controller starts nfsuserd as soon as storage.conf names it, and a running one keeps its flags
    steps = ["nfs: flags of nfsuserd", "carp: values of f3s_storage"]
    found = [table.find(step) for step in steps]
    assert -1 not in found, table
    assert found == sorted(found), table


def test_the_controllers_look_at_the_replication_to_the_standby(lab: Cluster) -> None:
    """A backup that f2 has confirmed would let the primary take back what the standby does not have."""
    lab.make_secrets()
    ends = {"source": F0, "dataset": "zdata/enc/nfsdata", "interval": "1m"}
    jobs = [
        {**ends, "name": "backup", "target": F2},
        {**ends, "name": "served", "target": F1, "replica_mountpoint": "/data/nfs"},
    ]
    data = ("--data", "pool_disk=ada1", "--data", f"zrepl_jobs={json.dumps(jobs)}")
    run = lab.pyinfra("tasks/carp.py", "-y", "--limit", "storage", *data)
    assert run.rc == 0, run.output
    values = "grep -E 'F3S_(DATASET|REPLICATION_JOB)=' /usr/local/etc/f3s/storage.conf"
    for host, dataset in ((F0, "zdata/enc/nfsdata"), (F1, "zdata/sink/f0/zdata/enc/nfsdata")):
        assert lab.sh(host, values).splitlines() == [f"F3S_DATASET='{dataset}'", "F3S_REPLICATION_JOB='served'"]


def test_a_configuration_that_was_made_by_hand_starts_nothing(lab: Cluster) -> None:
    """A stunnel without a pid file could not be stopped again: the controller waits for the files of this deploy."""
    lab.make_secrets()
    lab.sh(F0, "echo 'V4: /data/nfs -sec=sys' >/etc/exports; pkg install -y stunnel")
    lab.sh(F0, "printf '[nfs-tls]\naccept = 192.168.1.138:2323\n' >/usr/local/etc/stunnel/stunnel.conf")
    run = lab.pyinfra("tasks/carp.py", "-y", "--limit", F0, "-v")
    assert run.rc == 0, run.output
    missing = "/etc/exports, /usr/local/etc/stunnel/stunnel.conf"
    assert f"started later: {missing} is not there yet, or not as this deploy has it" in run.output
    assert lab.attempt(F0, "pgrep -x stunnel").rc == 1
    assert lab.attempt(F0, "ls /var/run/f3s/started").rc != 0


def states(cluster: Cluster) -> list[str]:
    return sorted(model.interfaces(cluster.hosts.host(host))["re0"].carps[1].state for host in (F0, F1))


def test_a_new_password_comes_to_both_hosts_or_to_none(lab: Cluster) -> None:
    """With the old one on one of them both would be MASTER, at the latest when that one boots."""
    lab.make_secrets()
    task = ("tasks/carp.py", "-y", "--limit")
    alone = lab.pyinfra(*task, F1, "--data", "carp_password=an0therOne")
    assert alone.rc == 0, alone.output  # a host without one is no matter
    assert lab.pyinfra(*task, "storage", "--data", "carp_password=an0therOne").rc == 0
    lab.tick(10)
    files = [lab.sh(host, "sha256 -q /etc/rc.conf.d/netif") for host in (F0, F1)]
    refused = lab.pyinfra(*task, F0, "--data", "carp_password=theNewOne7")
    assert refused.rc != 0
    assert f"{F1} does not take part in this run" in refused.output
    assert refused.changed == []
    lab.lab("crash", F1)
    refused = lab.pyinfra(*task, "storage", "--data", "carp_password=theNewOne7")
    assert f"{F1} does not take part in this run" in refused.output
    assert [lab.sh(F0, "sha256 -q /etc/rc.conf.d/netif")] == files[:1]
    lab.lab("boot", F1)
    assert lab.pyinfra(*task, "storage", "--data", "carp_password=theNewOne7").rc == 0
    lab.tick(10)
    assert states(lab) == ["BACKUP", "MASTER"]
    for host in (F0, F1):
        lab.lab("reboot", host)
        lab.tick(10)
        assert states(lab) == ["BACKUP", "MASTER"]
