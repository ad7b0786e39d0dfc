"""The lab of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.cluster import Cluster


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
