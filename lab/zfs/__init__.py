"""The model of ZFS, and what other parts of the lab ask of it."""

from __future__ import annotations

from lab.core import Cluster, Host


def pool_using(cluster: Cluster, host: Host, disk_id: str) -> str | None:
    """The imported pool that has the disk as a vdev (`lab.disks` refuses to format such a disk)."""
    return None


def power_off(cluster: Cluster, host: Host) -> None:
    """The host lost its power: its pools are no longer imported, no key is loaded, nothing is mounted."""
