"""Pools, datasets, snapshots: what is kept, and how it is found.

A pool lives on its disks: it is kept in the cluster, an imported pool names its host. Loaded keys are a host's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.core import Cluster, CommandError, Host, Mount, NotSimulatedError, Store, part
from lab.mounts import locate


@dataclass
class Bookmark:
    """A version of a dataset without its contents.

    :param ivset: tells raw streams apart that were encrypted separately; 0 for plain text
    :param of: the dataset
    """

    name: str
    guid: int
    createtxg: int
    creation: float
    referenced: int
    ivset: int = 0
    of: Dataset = field(kw_only=True, repr=False, compare=False)

    @property
    def kind(self) -> str:
        return "snapshot" if isinstance(self, Snapshot) else "bookmark"

    @property
    def full(self) -> str:
        """The name with that of the dataset."""
        return f"{self.of.name}{'@' if isinstance(self, Snapshot) else '#'}{self.name}"


@dataclass
class Snapshot(Bookmark):
    """A snapshot; its contents are a copy in ``tree``.

    :param unique: bytes that only this snapshot holds, as far as they were known when the next one was taken
    """

    tree: str = ""
    written: int = 0
    unique: int = 0
    volsize: int = 0
    holds: dict[str, float] = field(default_factory=dict)


@dataclass
class Crypt:
    """Encryption of a dataset; keyformat is raw.

    :param root: id of the dataset that is the encryption root
    :param key: SHA-256 of the wrapping key; of the encryption root only
    :param keylocation: of the encryption root only
    :param master: identifies the data key, which raw replication keeps and a change of the wrapping key does not touch
    """

    root: int
    suite: str
    master: int
    key: str = ""
    keylocation: str = "none"


@dataclass
class Partial:
    """An interrupted receive: the stream's header and how many bytes of its payload have come."""

    header: dict[str, object]
    payload: bytes
    new: bool


@dataclass
class Dataset:
    """A file system or volume. ``props`` are set here.

    :param log: bytes that ``written`` shows for the intent log after a power cut, or of a clone's source
    """

    id: int
    name: str
    kind: str
    guid: int
    createtxg: int
    creation: float
    tree: str
    props: dict[str, str] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)
    origin: Snapshot | None = None
    crypt: Crypt | None = None
    partial: Partial | None = None
    log: int = 0

    @property
    def of(self) -> Dataset:
        return self

    @property
    def full(self) -> str:
        return self.name

    @property
    def parent(self) -> str | None:
        return self.name.rpartition("/")[0] or None

    def snapshot(self, name: str) -> Snapshot | None:
        return next((s for s in self.snapshots if s.name == name), None)

    def version(self, mark: str) -> Bookmark | None:
        """The snapshot ``@NAME`` or the bookmark ``#NAME``."""
        only(mark[:1] in ("@", "#"), f"{self.name}{mark} as a version of {self.name}")
        versions = self.snapshots if mark[0] == "@" else self.bookmarks
        return next((each for each in versions if each.name == mark[1:]), None)


@dataclass
class Vdev:
    """A disk or a part of one.

    :param start: where it begins on the disk, in bytes
    """

    device: str
    disk: str
    size: int
    start: int = 0
    state: str = "ONLINE"


@dataclass
class Pool:
    """A pool.

    :param host: who has it imported, or had it last when it was not exported
    :param imported: whether it is imported now
    :param exported: whether it was left with ``zpool export``
    :param health: ONLINE or SUSPENDED
    :param synced: real time until which everything written is on disk for certain
    """

    name: str
    guid: int
    vdevs: list[Vdev]
    host: str
    imported: bool = True
    exported: bool = False
    health: str = "ONLINE"
    txg: int = 4
    props: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    scrubbed: float | None = None
    synced: float = 0.0


@dataclass
class State:
    """All pools there are, in the order in which they were made."""

    pools: list[Pool] = field(default_factory=list)


@dataclass
class HostState:
    """What a host's kernel knows.

    :param keys: (pool guid, dataset id) of encryption roots whose key is loaded
    :param cache: guids of the pools that the next boot imports (/etc/zfs/zpool.cache)
    :param busy: data sets that something keeps open, by name -> what (a VM's disk, for one)
    """

    keys: set[tuple[int, int]] = field(default_factory=set)
    cache: list[int] = field(default_factory=list)
    busy: dict[str, str] = field(default_factory=dict)


def guid() -> int:
    """A new 64-bit identifier."""
    return int.from_bytes(os.urandom(8), "big") >> 1 | 1 << 62


def all_pools(cluster: Cluster) -> list[Pool]:
    return part(cluster, "zfs", State).pools


def kernel(host: Host) -> HostState:
    return part(host, "zfs", HostState)


@dataclass
class Node:
    """A host with the cluster it is part of: what every operation of this package works on."""

    store: Store
    cluster: Cluster
    host: Host

    @property
    def state(self) -> HostState:
        return kernel(self.host)

    def imported(self) -> list[Pool]:
        """The pools of this host, by name."""
        mine = [p for p in all_pools(self.cluster) if p.imported and p.host == self.host.name]
        return sorted(mine, key=lambda p: p.name)

    def pool(self, name: str) -> Pool | None:
        return next((p for p in self.imported() if p.name == name.split("/")[0].split("@")[0].split("#")[0]), None)

    def find(self, name: str) -> Dataset | None:
        """The file system or volume of that name."""
        pool = self.pool(name)
        return pool.datasets.get(name) if pool else None

    def dataset(self, name: str) -> Dataset:
        """As `find`."""
        found = self.find(name)
        if found is None:
            raise CommandError(f"cannot open '{name}': dataset does not exist")
        return found

    def snapshot(self, name: str) -> tuple[Dataset, Snapshot]:
        """The snapshot ``DATASET@NAME``."""
        owner, _, short = name.partition("@")
        found = self.find(owner)
        snap = found.snapshot(short) if found else None
        if found is None or snap is None:
            raise CommandError(f"cannot open '{name}': dataset does not exist")
        return found, snap

    def pool_of(self, dataset: Dataset) -> Pool:
        pool = self.pool(dataset.name)
        assert pool is not None
        return pool

    def children(self, dataset: Dataset) -> list[Dataset]:
        """Direct children, in the order in which they were made."""
        prefix = dataset.name + "/"
        found = [d for n, d in self.pool_of(dataset).datasets.items() if n.startswith(prefix)]
        return sorted((d for d in found if "/" not in d.name[len(prefix) :]), key=lambda d: d.createtxg)

    def below(self, dataset: Dataset) -> list[Dataset]:
        """The dataset and everything below it, by name."""
        prefix = dataset.name + "/"
        everything = self.pool_of(dataset).datasets
        return [d for n, d in sorted(everything.items()) if d is dataset or n.startswith(prefix)]

    def all(self) -> Iterator[Dataset]:
        """Every file system and volume of the host, by name."""
        for pool in self.imported():
            yield from (d for _, d in sorted(pool.datasets.items()))

    def by_id(self, pool: Pool, number: int) -> Dataset:
        return next(d for d in pool.datasets.values() if d.id == number)

    def clones(self, pool: Pool, snap: Snapshot) -> list[Dataset]:
        return [d for d in pool.datasets.values() if d.origin is snap]

    def encryption_root(self, dataset: Dataset) -> Dataset | None:
        if dataset.crypt is None:
            return None
        return self.by_id(self.pool_of(dataset), dataset.crypt.root)

    def key_loaded(self, dataset: Dataset) -> bool:
        """Whether the contents can be read: plain text, or the encryption root's key is loaded here."""
        return dataset.crypt is None or (self.pool_of(dataset).guid, dataset.crypt.root) in self.state.keys

    def mount(self, dataset: Dataset) -> Mount | None:
        """The entry of the mount table that shows this dataset."""
        return next((m for m in self.host.mounts if m.fstype == "zfs" and m.device == dataset.name), None)

    def path(self, tree: str) -> Path:
        return self.store.folder / tree

    def file(self, path: str) -> Path:
        """Where an absolute path of the host is kept, seen from wherever this code runs."""
        tree, inner = locate(self.host, path)
        base = self.store.root(self.host.name) if tree == "root" else self.store.folder / tree
        return base / inner

    def immutable(self, path: str) -> bool:
        """Whether the directory at an absolute path has the schg flag."""
        return locate(self.host, path) in self.host.immutable

    def txg(self, pool: Pool) -> int:
        """The number of the next transaction group; whatever was written so far goes to disk with it."""
        pool.synced = time.time()
        pool.txg += 3
        return pool.txg


def only(allowed: bool, what: str) -> None:
    """Refuses what the model does not have."""
    if not allowed:
        raise NotSimulatedError(what)
