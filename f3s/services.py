"""rc(8) services."""

from __future__ import annotations

from enum import Enum


class ServiceState(Enum):
    """What facts.services.Services says: there is no rc.d script, or how its `onestatus` ended."""

    MISSING = "missing"
    RUNNING = "status 0"
    STOPPED = "status 1"
