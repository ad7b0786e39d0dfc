"""The model of ZFS: the commands zpool and zfs, and what other parts of the lab ask of it.

`lab.zfs.model.Node(store, cluster, host)` is what every operation takes; inside a played command ``with ctx.cluster()
as cluster: node = Node(ctx.store, cluster, ctx.host(cluster))``, elsewhere ``with store.edit() as cluster: ...``. A
refusal is a `CommandError` with ZFS's own message. Contents, key files and disks are reached through the state folder,
so all of it works inside a host's root directory and outside of it; `lab.zfs.mounting.link_volumes` at the end makes
/dev/zvol follow.
"""

from __future__ import annotations

from lab.core import Cluster, Host
from lab.zfs.model import Pool, all_pools, kernel

CLAIMED = 1024
"""Bytes of a marked intent log (zil.c: zil_claim)."""


def imported(cluster: Cluster, host: Host) -> list[Pool]:
    """The pools of a running host."""
    return [pool for pool in all_pools(cluster) if pool.imported and pool.host == host.name]


def pool_using(cluster: Cluster, host: Host, disk_id: str) -> str | None:
    """The imported pool that has the disk as a vdev (`lab.disks` refuses to format such a disk)."""
    return next((p.name for p in imported(cluster, host) if any(v.disk == disk_id for v in p.vdevs)), None)


def power_off(cluster: Cluster, host: Host) -> None:
    """The host lost its power: its pools are no longer imported, no key is loaded, nothing is mounted.

    Seen after the import that follows: what was written with fsync(2) shows `CLAIMED` bytes written, although its
    content is the same. What came with a stream has no log, as all that is encrypted here and looked at for that.
    """
    for pool in imported(cluster, host):
        pool.imported = False
        for dataset in pool.datasets.values():
            if not dataset.crypt:
                dataset.log = CLAIMED
    host.mounts = [m for m in host.mounts if m.fstype != "zfs"]
    kernel(host).keys.clear()
    kernel(host).busy.clear()


def disk(cluster: Cluster, host: Host, disk_id: str, *, there: bool) -> None:
    """A disk was pulled out of a running host, or put back: an imported pool on it is suspended (``failmode=wait``) and
    stays so until the next boot, or ``zpool clear``."""
    for pool in imported(cluster, host):
        for vdev in pool.vdevs:
            if vdev.disk == disk_id:
                vdev.state, pool.health = "ONLINE" if there else "REMOVED", "SUSPENDED"


def summary(cluster: Cluster, host: Host) -> list[str]:
    """A few words on the host's pools and encryption roots for `lab status`, e.g. ``zdata ONLINE, 1 of 2 keys``."""
    words = []
    for pool in imported(cluster, host):
        roots = {d.crypt.root for d in pool.datasets.values() if d.crypt}
        loaded = {number for guid, number in kernel(host).keys if guid == pool.guid}
        keys = f", {len(roots & loaded)} of {len(roots)} keys" if roots else ""
        words.append(f"{pool.name} {pool.health}{keys}")
    return words
