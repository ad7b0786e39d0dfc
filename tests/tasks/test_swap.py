"""The permanent swap in the lab: killed again and again, and towards an old primary with a new disk."""

from __future__ import annotations

import pytest

from scenarios.roles import PRIMARY, STANDBY
from tests.lab.cluster import F0, F1, Cluster
from tests.tasks.test_return import promoted

pytestmark = pytest.mark.lab
NFS, BEFORE = "zdata/enc/nfsdata", "zdata/sink/f0/zdata/enc/nfsdata"
REPLICA, ASIDE = f"zdata/sink/f1/{NFS}", f"{NFS}_set_aside_1"
STATE = (
    "zfs list -H -o name,mountpoint -t filesystem; cat /usr/local/etc/f3s/storage.conf /usr/local/etc/zrepl/zrepl.yml"
)
SWAP = ("tasks/swap_roles.py", "-y")
DEPLOY = ("deploy.py", "-y", "--limit", "storage")
SWAPPED = {PRIMARY: "f1"}
"""The two hosts are in each other's place in the inventory."""


def deployed(site: Cluster) -> None:
    """The deploy does the rest: f1 is the primary, and f0 gets what it writes."""
    site.done(*DEPLOY, **SWAPPED)
    site.sh(F1, "touch /data/nfs/k3svolumes/after")
    site.tick(130)
    assert {"on-f1", "after"} <= set(site.sh(F0, "ls /data/nfs/k3svolumes").split())
    for host, state, claim in ((F1, "MASTER", 10), (F0, "BACKUP", 100)):
        said = site.sh(host, "service f3s_storage status").splitlines()
        assert {f"carp={state}", f"claim={claim}", "ready=yes", "fsid_number=16", "writer=f1", "epoch=1"} <= set(said)
    assert site.sh(F0, f"zfs get -H -o value readonly,keylocation {REPLICA}").split() == [
        "on",
        f"file:///keys/{F1}:zdata.key",
    ]
    for host in (F0, F1):
        named = site.sh(host, "sysrc -n zfskeys_datasets").split()
        assert [name for name in named if site.attempt(host, f"zfs list {name}").rc] == []


def test_a_swap_that_is_killed_again_and_again_ends_as_one_that_never_was(site: Cluster) -> None:
    promoted(site)
    site.lab("boot", "f0")
    site.tick(70)
    identity = site.sh(F1, "mount -v | grep nullfs")
    before = [site.sh(host, STATE) for host in (F0, F1)]
    for task in ("deploy", "tasks/zfs_encrypt", "tasks/zrepl", "tasks/carp", "tasks/nfs"):
        refused = site.pyinfra(f"{task}.py", "-y", "--limit", "storage", **SWAPPED)
        assert (refused.rc, "run tasks/swap_roles.py" in refused.output) == (1, True), refused.output
    assert "2 reasons to stop" in site.pyinfra("deploy.py", "-y", **SWAPPED).output
    assert before == [site.sh(host, STATE) for host in (F0, F1)]
    write = "touch /data/nfs/k3svolumes/{}; service f3s_storage status | grep -x ready=yes"
    site.killed(*SWAP, first=2, later=9, between=lambda number: site.sh(F1, write.format(number)), env=SWAPPED)
    assert site.sh(F1, "mount -v | grep nullfs") == identity
    assert site.done(*SWAP, **SWAPPED).changed == []
    deployed(site)
    assert site.done(*DEPLOY, **SWAPPED).changed == []
    assert site.sh(F0, "zfs list -H -o name -t filesystem -r zdata/enc").split() == ["zdata/enc", ASIDE]
    kept = site.sh(F0, f"zfs set mountpoint=/mnt {ASIDE}; zfs mount {ASIDE}; ls /mnt/k3svolumes").split()
    assert kept == ["only-on-f0"]
    site.lab("reboot", "f1")
    site.tick(60)
    site.lab("reboot", "f0")
    site.tick(300)
    assert site.sh(F1, "carp").startswith("MASTER"), "the boot opens it, and the address is back"
    assert site.sh(F0, "service f3s_storage status | grep -x ready=yes")


def test_an_old_primary_with_a_new_disk_gets_all_of_it(site: Cluster) -> None:
    promoted(site)
    site.lab("swap", "f0", "ada1")
    site.lab("boot", "f0")
    site.tick(70)
    site.done(*SWAP, **SWAPPED)
    deployed(site)


def test_a_host_that_writes_is_not_replaced(site: Cluster) -> None:
    promoted(site)
    site.lab("boot", "f0")
    site.tick(70)
    standby = site.pyinfra("deploy.py", "-y", **{STANDBY: "f2"})
    assert (standby.rc, standby.changed) == (1, []), standby.output
    for host in (F0, F1):
        assert f"{host}: f1 writes, or did last, and in the inventory it is no storage host" in standby.output
