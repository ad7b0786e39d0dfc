"""tasks/nfs.py on the simulated hosts: what a service that runs takes up, and what the kernel does."""

from __future__ import annotations

import pytest

from lab.rc.scripts import processes
from tests.lab.cluster import F1, Cluster

pytestmark = pytest.mark.lab


def test_a_running_nfsuserd_gets_a_new_domain(lab: Cluster) -> None:
    task = ("tasks/nfs.py", "--limit", F1, "-y", "--data", "nfs_owners=names", "--data")
    restarted = f"{F1}: nfs: nfsuserd runs with its flags"

    def flags() -> list[str]:
        found: list[str] = lab.hosts.host(F1).parts["nfsuserd flags"]
        return found

    lab.done(*task, "nfs_idmap_domain=one.example")
    lab.sh(F1, "service nfsuserd onestart")
    before = processes(lab.hosts.host(F1))["nfsuserd"]
    assert lab.done(*task, "nfs_idmap_domain=one.example").changed == []
    assert processes(lab.hosts.host(F1))["nfsuserd"] == before
    run = lab.done(*task, "nfs_idmap_domain=two.example")
    assert run.changed == [f"{F1}: nfs: flags of nfsuserd", restarted], run.output
    assert flags() == ["-domain", "two.example"]
    # a run that was killed between the two left this behind
    lab.sh(F1, "touch /var/run/f3s-nfsuserd-flags && sysrc nfsuserd_flags='-domain three.example'")
    assert lab.done(*task, "nfs_idmap_domain=three.example").changed == [restarted]
    assert flags() == ["-domain", "three.example"]
    assert lab.done(*task, "nfs_idmap_domain=three.example").changed == []


def test_the_kernels_own_wish_for_reserved_ports_matters_only_while_nfsd_runs(lab: Cluster) -> None:
    """It is 1 until nfsd has started once since the boot (FreeBSD 15): no run may plan a change for that."""
    task = ("tasks/nfs.py", "--limit", F1, "-y")
    operation = f"{F1}: nfs: clients need no reserved port now"
    privport = "sysctl -n vfs.nfsd.nfs_privport"
    assert operation not in lab.done(*task).changed
    assert (lab.sh(F1, privport), lab.done(*task).changed) == ("1\n", [])
    # nfsd runs since before the deploy, with FreeBSD 15's default
    lab.sh(F1, "sysrc nfs_reserved_port_only=YES; service nfsd onestart")
    assert operation in lab.done(*task).changed
    assert (lab.sh(F1, privport), lab.done(*task).changed) == ("0\n", [])
