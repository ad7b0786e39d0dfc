"""The model of ZFS, and what other parts of the lab ask of it."""

from __future__ import annotations

from lab.core import Cluster, Host


def pool_using(cluster: Cluster, host: Host, disk_id: str) -> str | None:
    """The imported pool that has the disk as a vdev (`lab.disks` refuses to format such a disk)."""
    return None


def power_off(cluster: Cluster, host: Host) -> None:
    """The host lost its power: its pools are no longer imported, no key is loaded, nothing is mounted."""


def disk_gone(cluster: Cluster, host: Host, disk_id: str) -> None:
    """A disk was pulled out of a running host: an imported pool on it loses its vdev (SUSPENDED or UNAVAIL)."""


def disk_back(cluster: Cluster, host: Host, disk_id: str) -> None:
    """It is back."""


def summary(cluster: Cluster, host: Host) -> list[str]:
    """A few words on the host's pools and encryption roots for `lab status`, e.g. ``zdata ONLINE, 2 keys loaded``."""
    return []
