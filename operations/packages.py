"""Packages of FreeBSD. pyinfra's `pkg.packages` sets PKG_PATH to a place that FreeBSD does not have, and cannot
install pkg itself, which a new host lacks."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.context import host

from f3s.quoting import command, words
from facts.packages import Packages
from operations.base import Commands, known
from operations.reasons import operation


@operation()
def installed(names: Sequence[str]) -> Commands:
    """These packages are installed; one that is there keeps its version.

    **Example:** `packages.installed(["zrepl"])`
    """
    missing = [name for name, there in known(Packages, names=tuple(names)).items() if not there]
    if not missing:
        host.noop(f"{', '.join(names)}: installed")
        return
    # the variable also answers yes to the question whether to install pkg itself (pkg(7))
    yield command("env ASSUME_ALWAYS_YES=yes pkg install -y {}", words(missing))
