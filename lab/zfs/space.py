"""Used and available bytes, and ``written``: measured from the real contents, with ZFS's own overhead added roughly."""

from __future__ import annotations

import stat
from collections.abc import Callable

from lab.core import Cluster, part
from lab.zfs import trees
from lab.zfs.model import Dataset, Node, Pool, Snapshot, Vdev

KIB, MIB = 1 << 10, 1 << 20
EMPTY = {"filesystem": 24 * KIB, "volume": 12 * KIB}
EMPTY_ENCRYPTED = {"filesystem": 99 * KIB, "volume": 15 * KIB}
POOL_METADATA = 96 * KIB
TXG_TIMEOUT = 5.0
"""Seconds after which written data is on disk at the latest (vfs.zfs.txg.timeout)."""


def vdev_size(vdev: Vdev) -> int:
    """Bytes that a pool can use of a disk: without labels, in whole metaslabs (vdev_metaslab_set_size).

    Disks of more than 100 GiB have larger ones; the lab has none.
    """
    usable = vdev.size // (256 * KIB) * (256 * KIB) - 4608 * KIB
    shift = 29
    if usable >> shift < 16:
        shift = (usable // 16).bit_length()
    return usable >> shift << shift


def pool_size(pool: Pool) -> int:
    """Bytes of the pool, as ``zpool list`` has them: vdevs are striped."""
    return sum(vdev_size(v) for v in pool.vdevs)


def usable(pool: Pool) -> int:
    """Pool size without the slop space that ZFS keeps (spa_get_slop_space)."""
    size = pool_size(pool)
    return size - max(size >> 5, min(size >> 1, 128 * MIB))


def moved(cluster: Cluster) -> list[tuple[float, float]]:
    """When the virtual clock was about to move: (real time, virtual time), kept by `lab.clock`."""
    return part(cluster, "moved", list[tuple[float, float]])


def volume_reservation(volsize: int) -> int:
    """The refreservation of a volume that is not sparse, with room for its metadata."""
    return volsize + volsize // 32


class Space:
    """Measures, and remembers for one command what it has measured."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._referenced: dict[int, int] = {}
        self._used: dict[tuple[str, int], int] = {}

    def referenced(self, dataset: Dataset) -> int:
        key = id(dataset)
        if key not in self._referenced:
            empty = EMPTY_ENCRYPTED if dataset.crypt else EMPTY
            self._referenced[key] = empty[dataset.kind] + trees.size(self.node.path(dataset.tree))
        return self._referenced[key]

    def unique(self, snap: Snapshot) -> int:
        """Bytes that would be free without a snapshot."""
        return snap.unique if snap is not snap.of.snapshots[-1] else self.only_in(snap.tree, snap.of.tree)

    def only_in(self, old: str, new: str) -> int:
        """Bytes of the files of one tree that another one does not have like that."""
        before = self.node.path(old)
        total = 0
        for kind, path in trees.difference(before, self.node.path(new)):
            if kind != "+" and stat.S_ISREG((before / path).lstat().st_mode):
                total += max(trees.BLOCK, (before / path).lstat().st_blocks * 512)
        return total

    def snapshots(self, dataset: Dataset) -> int:
        return sum(self.unique(s) for s in dataset.snapshots)

    def reserved(self, dataset: Dataset) -> int:
        """What the refreservation takes beyond what is there."""
        wanted = dataset.props.get("refreservation", "none")
        return max(0, int(wanted) - self.referenced(dataset)) if wanted != "none" else 0

    def used(self, dataset: Dataset) -> int:
        key = (dataset.name, id(dataset))
        if key not in self._used:
            own = self.referenced(dataset) + self.snapshots(dataset) + self.reserved(dataset)
            self._used[key] = own + self.children(dataset)
        return self._used[key]

    def children(self, dataset: Dataset) -> int:
        metadata = 0 if dataset.parent else POOL_METADATA
        return metadata + sum(self.used(c) for c in self.node.children(dataset))

    def free(self, pool: Pool) -> int:
        """Bytes that datasets can still take, at least 0."""
        return max(0, usable(pool) - self.used(pool.datasets[pool.name]))

    def available(self, dataset: Dataset) -> int:
        return self.free(self.node.pool_of(dataset)) + self.reserved(dataset)

    def written(self, dataset: Dataset) -> int:
        """Bytes written since the last snapshot and known to be on disk."""
        if dataset.snapshots:
            return self._since(dataset, dataset.snapshots[-1]) + dataset.log
        if dataset.origin is not None:
            return self._since(dataset, dataset.origin) + dataset.log
        return self.referenced(dataset)

    def _since(self, dataset: Dataset, snap: Snapshot) -> int:
        tree = self.node.path(dataset.tree)
        total, newest = 0, 0.0
        for kind, path in trees.difference(self.node.path(snap.tree), tree):
            if kind != "-":
                info = (tree / path).lstat()
                newest = max(newest, info.st_ctime)
                total += max(trees.BLOCK, info.st_blocks * 512) if stat.S_ISREG(info.st_mode) else trees.BLOCK
        if total == 0 or not self._on_disk(self.node.pool_of(dataset), newest):
            return 0
        return total + (86 * KIB if dataset.crypt else 12 * KIB)

    def _on_disk(self, pool: Pool, when: float) -> bool:
        if when <= pool.synced:
            return True
        for real, virtual in moved(self.node.cluster):
            if when <= real:
                return self.node.cluster.now - virtual >= TXG_TIMEOUT
        return False


MEASURES: dict[str, Callable[[Space, Dataset], int]] = {
    "used": Space.used,
    "available": Space.available,
    "referenced": Space.referenced,
    "usedbysnapshots": Space.snapshots,
    "usedbydataset": Space.referenced,
    "usedbychildren": Space.children,
    "usedbyrefreservation": Space.reserved,
    "written": Space.written,
    "logicalused": Space.used,
    "logicalreferenced": Space.referenced,
}
"""Properties that are measured."""


def modified(node: Node, dataset: Dataset) -> bool:
    """Whether a dataset differs from its last snapshot, written to disk or not; its intent log does not count
    (dsl_dataset.c: dsl_dataset_modified_since_snap)."""
    if not dataset.snapshots:
        return True
    return bool(trees.difference(node.path(dataset.snapshots[-1].tree), node.path(dataset.tree)))
