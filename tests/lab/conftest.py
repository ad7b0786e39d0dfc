"""The lab of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.cluster import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Six freshly installed hosts."""
    return Lab(tmp_path / "state")
