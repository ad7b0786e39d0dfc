"""A small site for the tests of the CA."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from f3s.pki.manage import Pki
from f3s.pki.plan import PkiPlan
from f3s.pki.store import Store

NOW = datetime.now(UTC).replace(microsecond=0)
PLAN = PkiPlan(
    names=("storage-ha", "storage-ha.example.org"),
    addresses=("192.0.2.138", "2001:db8::138"),
    clients=("r0.example.org", "earth"),
    hosts=("f0", "f1", "r0.example.org"),
)


def pki_at(folder: Path, days: int = 0, **changes: object) -> Pki:
    """The CA of a folder as it is run that many days from now, with other settings where given."""
    return Pki(Store(folder), replace(PLAN, **changes), NOW + timedelta(days=days))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
