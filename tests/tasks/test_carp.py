"""tasks/carp.py on the simulated hosts: what of its order matters to real ones."""

from __future__ import annotations

import pytest

from lab.net import model
from tests.lab.cluster import F0, F1, Cluster

pytestmark = pytest.mark.lab


def test_the_primary_has_the_address_before_the_standby_gets_it(lab: Cluster) -> None:
    """The standby alone would be MASTER until the primary comes."""
    lab.make_secrets()
    run = lab.done("tasks/carp.py", "--dry", "--limit", "storage", "--data", "nfs_owners=names")
    _, _, table = run.output.partition("--> Detected changes:")
    for steps in (
        ["now, on the primary", "carp: the primary has the virtual IP", "now, on the standby"],
        # the controller starts nfsuserd as soon as storage.conf names it, and a running one keeps its flags
        ["nfs: flags of nfsuserd", "carp: values of f3s_storage"],
    ):
        found = [table.find(step) for step in steps]
        assert -1 not in found, table
        assert found == sorted(found), table


def states(cluster: Cluster) -> list[str]:
    return sorted(model.interfaces(cluster.hosts.host(host))["re0"].carps[1].state for host in (F0, F1))


def test_a_new_password_comes_to_both_hosts_or_to_none(lab: Cluster) -> None:
    """With the old one on one of them both would be MASTER, at the latest when that one boots."""
    lab.make_secrets()
    task = ("tasks/carp.py", "-y", "--limit")
    lab.done(*task, F1, "--data", "carp_password=an0therOne")  # a host without one is no matter
    lab.done(*task, "storage", "--data", "carp_password=an0therOne")
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
    lab.done(*task, "storage", "--data", "carp_password=theNewOne7")
    lab.tick(10)
    assert states(lab) == ["BACKUP", "MASTER"]
    for host in (F0, F1):
        lab.lab("reboot", host)
        lab.tick(10)
        assert states(lab) == ["BACKUP", "MASTER"]
