"""rc(8) services."""

from __future__ import annotations

from enum import Enum


class ServiceState(Enum):
    MISSING = "missing"
    RUNNING = "running"
    STOPPED = "stopped"


STATES = {
    "missing": ServiceState.MISSING,
    "status 0": ServiceState.RUNNING,
    "status 1": ServiceState.STOPPED,
}
"""What the words of facts.services.Services mean: no rc.d script, or how its `onestatus` ended."""
