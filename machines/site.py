"""Where machines are and of what site, from the environment: one place for the command line, the inventory and CI."""

from __future__ import annotations

import os
from pathlib import Path

from f3s.settings import Site
from machines.cluster import Cluster
from machines.programs import freebsd_image
from scenarios.stage import REPOSITORY

INVENTORY = "machines/inventory.py"
PLAYERS = ["f0", "f1", "r0", "r1"]
"""The hosts that play: the pair, and a client for each side of a split. A mere key holder would add nothing."""


def folder() -> Path:
    """``MACHINES_STATE``, or ``.machines`` at the top of the repository."""
    return Path(os.environ.get("MACHINES_STATE") or REPOSITORY / ".machines").resolve()


def cache() -> Path:
    """``MACHINES_CACHE``: where the client's image is kept."""
    return Path(os.environ.get("MACHINES_CACHE") or "~/.cache/f3s-machines").expanduser()


def site() -> Site:
    """The settings of the hosts that play.

    :raises pyinfra.api.exceptions.InventoryError: the data is wrong
    """
    from bridge.settings import load_site  # with pyinfra's command line, which takes a second

    return load_site(str(REPOSITORY / INVENTORY))


def images(names: Site) -> dict[str, Path]:
    """The image of each FreeBSD machine: ``FREEBSD_IMAGE``, for the standby ``FREEBSD_IMAGE_STANDBY`` if it is set.

    :raises machines.programs.MachinesError: the variable is not set, or names no file
    """
    common = freebsd_image()
    other = freebsd_image("FREEBSD_IMAGE_STANDBY", default=common)
    return {host.short_name: other if host.is_standby else common for host in names.hosts if host.is_freebsd}


def cluster(*, orphans: bool = False) -> Cluster:
    """The machines of the site, as they are or as they will be made."""
    return Cluster(folder(), site(), orphans=orphans)
