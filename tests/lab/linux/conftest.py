"""A cluster on which the whole storage side and the clients are deployed, made once for all workers of a test run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster

TASKS = ("usb_keys", "zfs_encrypt", "bhyve_migrate", "zrepl", "nfs", "carp", "stunnel")


def _deploy(cluster: Cluster) -> None:
    cluster.lab("reset")
    cluster.make_secrets()
    cluster.deploy(*TASKS)
    cluster.tick(65)  # the controller, called by cron, makes the MASTER serve
    cluster.deploy("clients")
    # one client is enough to look at; the others only cost time
    for name in ("r1", "r2"):
        cluster.sh(name, "systemctl stop nfs-mount-monitor.timer; umount /data/nfs/k3svolumes")


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster with clients; only to be copied."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    cluster = Cluster(base / "with-clients" / "state")
    cluster.state.parent.mkdir(exist_ok=True)
    with open(cluster.state.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cluster.state.parent / "done").exists():
            _deploy(cluster)
            (cluster.state.parent / "done").touch()
    return cluster


@pytest.fixture
def site(deployed: Cluster, tmp_path: Path) -> Cluster:
    """A cluster of the test's own, with everything deployed."""
    return deployed.copy(tmp_path / "state")
