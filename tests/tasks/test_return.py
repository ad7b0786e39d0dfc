"""A promotion and the way back in the lab: killed again and again, and towards a primary with a new disk."""

from __future__ import annotations

import os

import pytest

from tests.lab.cluster import F0, F1, Cluster

pytestmark = pytest.mark.lab
REPLICA, NFS = "zdata/sink/f0/zdata/enc/nfsdata", "zdata/enc/nfsdata"
KILLS = (
    f"zfs promote {NFS}_return",
    "receive-snapshot",
    f"zfs rename {NFS}_return {NFS}",
    "await-standby",
    "zfs set readonly=on zdata/sink",
    "carp promote without",
)
"""Before the clone has the history, and the first stream; between the renames; mounted, and not yet served; before
f1 is read-only, and when nobody may write. `make crash-test` does so before each command."""
PROMOTE = ("tasks/promote.py", "-y", "--data", "promote=f1")
RETURN = ("tasks/return_primary.py", "-y", "--data", "return_to=f0")


def promoted(site: Cluster) -> None:
    """f0 has died with a file that was never replicated, f1 was promoted, a client wrote there."""
    site.sh(F0, "touch /data/nfs/k3svolumes/only-on-f0")
    site.lab("crash", "f0")
    site.tick(20)
    site.sh(F1, "carp promote without f0 && touch /data/nfs/k3svolumes/on-f1")


def returned(site: Cluster) -> None:
    """f0 writes and serves with all of it, and replicates to f1; nothing is left to do."""
    assert site.done(*RETURN).changed == []
    assert site.sh(F0, "cat /var/db/f3s/record").split()[1] == "f0"
    assert site.sh(F0, "ls /var/db/f3s").split() == ["alerts", "record"]
    assert "on-f1" in site.sh(F0, "touch /data/nfs/k3svolumes/after; ls /data/nfs/k3svolumes")
    site.tick(130)
    assert "after" in site.sh(F1, "ls /data/nfs/k3svolumes")
    for host, state in ((F0, "MASTER"), (F1, "BACKUP")):
        said = site.sh(host, "service f3s_storage status").splitlines()
        assert {f"carp={state}", "ready=yes", "fsid_number=16", "writer=f0", "epoch=2"} <= set(said)
    assert site.sh(F1, f"zfs get -H -o value readonly {REPLICA}") == "on\n"


def test_a_promotion_that_is_killed_again_and_again_never_has_two_who_write(site: Cluster) -> None:
    site.sh(F0, "touch /data/nfs/k3svolumes/last-write")
    site.done("tasks/failover.py", "-y")

    def one_writer(number: int) -> None:
        site.tick(60)
        write = [site.attempt(host, "touch /data/nfs/k3svolumes/x").rc == 0 for host in (F0, F1)]
        assert sum(write) <= 1, (number, write)

    site.killed(*PROMOTE, first=1, later=1, between=one_writer)
    assert site.done(*PROMOTE).changed == []
    site.tick(60)
    assert [site.attempt(host, "touch /data/nfs/k3svolumes/x").rc for host in (F0, F1)] == [1, 0]
    assert "last-write" in site.sh(F1, "ls /data/nfs/k3svolumes")
    for host, state in ((F0, "BACKUP"), (F1, "MASTER")):
        said = site.attempt(host, "service f3s_storage status").out.splitlines()
        assert {f"carp={state}", "started=yes", "writer=f1", "epoch=1"} <= set(said)


def test_a_return_that_is_killed_again_and_again_ends_as_one_that_never_was(site: Cluster) -> None:
    promoted(site)
    site.lab("boot", "f0")
    site.tick(70)
    if os.environ.get("CRASH_TEST"):
        site.killed(*RETURN, first=10, later=1)  # before that it only looks
    else:
        for text in KILLS:
            killed = site.pyinfra(*RETURN, LAB_KILL_AT=text)
            assert killed.rc == 137, f"it never came to {text}:\n{killed.output}"
        site.done(*RETURN)
    returned(site)
    aside = f"{NFS}_set_aside_1"
    assert site.sh(F0, "zfs list -H -o name -t filesystem -r zdata/enc").split() == ["zdata/enc", NFS, aside]
    assert site.sh(F0, f"zfs get -H -o value readonly,mountpoint,canmount {aside}").split() == ["on", "none", "noauto"]
    kept = site.sh(F0, f"zfs set mountpoint=/mnt {aside}; zfs mount {aside}; ls /mnt/k3svolumes").split()
    assert kept == ["only-on-f0"]


def test_a_primary_with_a_new_disk_gets_no_empty_dataset_but_all_data(site: Cluster) -> None:
    promoted(site)
    site.lab("swap", "f0", "ada1")
    site.lab("boot", "f0")
    site.tick(70)
    assert "there is no pool zdata" in site.pyinfra(*RETURN).output
    for task in ("zfs_encrypt", "zrepl", "nfs"):
        site.done(f"tasks/{task}.py", "-y", "--limit", "storage")
    assert site.attempt(F0, f"zfs list {NFS}").rc == 1
    assert "tasks/return_primary.py brings" in site.pyinfra("tasks/zfs_encrypt.py", "-y").output
    site.done(*RETURN)
    returned(site)
    site.lab("reboot", "f0")
    site.tick(240)
    assert site.sh(F0, "carp").startswith("MASTER"), "the boot opens it"
