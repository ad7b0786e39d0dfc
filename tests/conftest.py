"""Shared rules of the test suite."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import monkey

from tests.lab.cluster import Cluster
from tests.templates.tunnel import Tunnel


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI (F3S_NO_SKIP=1) a skip is a failure: there every real tool is installed."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("F3S_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (F3S_NO_SKIP is set): {report.longrepr}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first, or at the end one worker would be alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("lab") is None)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """pyinfra's command line patches the interpreter for gevent, and no worker of xdist comes to its end with that."""
    if monkey.is_module_patched("threading"):
        print(f"{item.nodeid} loads pyinfra's command line: do that in a process of its own", file=sys.__stderr__)
        os._exit(1)  # nothing else ends a patched worker; xdist names the test


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Six freshly installed hosts; only to be copied."""
    cluster = Cluster(tmp_path_factory.mktemp("lab") / "installed")
    cluster.lab("reset")
    return cluster


@pytest.fixture
def lab(installed: Cluster, tmp_path: Path) -> Cluster:
    """Six freshly installed hosts of the test's own."""
    return installed.copy(tmp_path / "state")


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The whole deploy and two minutes of work, made once for all workers of a test run; only to be copied."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    cluster = Cluster(base / "everything" / "state")
    cluster.state.parent.mkdir(exist_ok=True)
    with open(cluster.state.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cluster.state.parent / "done").exists():
            cluster.lab("reset")
            cluster.make_secrets()
            cluster.done("deploy.py", "-y", LAB_PLANS=str(cluster.state.parent / "plans"))
            cluster.tick(130)
            (cluster.state.parent / "done").touch()
    return cluster


@pytest.fixture(scope="session")
def deployed(everything: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Everything deployed; r0 is the client to look at, the others only cost time. Only to be copied."""
    cluster = everything.copy(tmp_path_factory.mktemp("deployed") / "state")
    for name in ("r1", "r2"):
        cluster.sh(name, "systemctl stop nfs-mount-monitor.timer; umount /data/nfs/k3svolumes")
    return cluster


@pytest.fixture
def site(deployed: Cluster, tmp_path: Path) -> Cluster:
    """A cluster of the test's own, as `deployed` is: that of all tests, or of a file that has another one."""
    return deployed.copy(tmp_path / "state")


@pytest.fixture
def tunnel(tmp_path: Path) -> Iterator[Tunnel]:
    """Where ends of the TLS tunnel run, on loopback."""
    made = Tunnel(tmp_path)
    yield made
    made.close()
