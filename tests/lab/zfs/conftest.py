"""Hosts with disks and pools, without the sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import build
from lab.core import START, Cluster, Disk, Host, Mount, Store
from lab.zfs import datasets, pools
from lab.zfs.model import Dataset, Node

GIB = 1 << 30
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
RAW = {"encryption": "on", "keyformat": "raw"}


class Lab:
    """Two hosts, f0 and f1, with a pool ``zdata`` each and the same key files in /keys."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        for name in ("disks", "trees", "hosts"):
            (folder / name).mkdir()
        self.cluster = Cluster(now=START)
        self.f0, self.f1 = self._host("f0"), self._host("f1")
        for node in (self.f0, self.f1):
            pools.create(node, "zdata", "ada1", {}, {}, mountpoint="/data")

    def _host(self, name: str) -> Node:
        host = Host(f"{name}.lan", "freebsd")
        host.mounts.append(Mount("/dev/ada0p2", "/", "ufs", "root"))
        self.cluster.hosts[host.name] = host
        for slot in ("ada1", "ada2"):
            build.add_disk(self.store, self.cluster, host, slot, Disk(f"{name}-{slot}", GIB, "disk", name))
        root = self.store.root(host.name)
        for path in ("keys", "dev/zvol"):
            (root / path).mkdir(parents=True)
        (root / "keys/good.key").write_bytes(KEY)
        (root / "keys/other.key").write_bytes(OTHER_KEY)
        (root / "keys/short.key").write_bytes(KEY[:31])
        return Node(self.store, self.cluster, host)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def make(node: Node, name: str, kind: str = "filesystem", **props: str) -> Dataset:
    """``zfs create``."""
    datasets.create(node, name, kind, props, None)
    return node.dataset(name)


def make_root(node: Node, name: str, key: str = "good") -> Dataset:
    """``zfs create`` of an encryption root."""
    return make(node, name, keylocation=f"file:///keys/{key}.key", **RAW)


def write(node: Node, dataset: Dataset, path: str, text: str) -> None:
    """Writes a file of a dataset, at a time that differs from all others."""
    file = node.path(dataset.tree) / path
    file.write_text(text)
    number = node.cluster.next_id()
    os.utime(file, ns=(number * 10**9, number * 10**9))


def files(node: Node, dataset: Dataset) -> list[str]:
    return sorted(p.name for p in node.path(dataset.tree).iterdir())
