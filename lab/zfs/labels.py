"""ZFS labels on disks: real bytes in the disk's image, so that tools that read the disk see them and dd can wipe them.

Four labels of 256 KiB, two at the start and two at the end of the vdev (OpenZFS, include/sys/vdev_impl.h). The
uberblock magic stands where libblkid and file(1) would find it; the rest is the lab's own.
"""

from __future__ import annotations

from lab.core import Store
from lab.zfs.model import Pool, Vdev

LABEL = 256 << 10
UBERBLOCKS = 128 << 10
MAGIC = (0x00BAB10C).to_bytes(8, "little")
NOTE = b"lab zfs label "
NVLIST = 16 << 10


def offsets(vdev: Vdev) -> list[int]:
    """Where the labels are on the disk."""
    end = vdev.start + vdev.size // LABEL * LABEL
    return [vdev.start, vdev.start + LABEL, end - 2 * LABEL, end - LABEL]


def write(store: Store, pool: Pool) -> None:
    """Labels every disk of a pool."""
    for vdev in pool.vdevs:
        text = NOTE + f"{pool.name} {pool.guid}".encode() + b"\0"
        with open(store.disk_file(vdev.disk), "r+b") as image:
            for offset in offsets(vdev):
                image.seek(offset + NVLIST)
                image.write(text)
                image.seek(offset + UBERBLOCKS)
                image.write(MAGIC)


def read(store: Store, vdev: Vdev) -> tuple[str, int] | None:
    """Name and number of the pool in the first label that is still good."""
    with open(store.disk_file(vdev.disk), "rb") as image:
        for offset in offsets(vdev):
            image.seek(offset + UBERBLOCKS)
            if image.read(len(MAGIC)) != MAGIC:
                continue
            image.seek(offset + NVLIST)
            text = image.read(512).split(b"\0")[0]
            if text.startswith(NOTE):
                name, guid = text[len(NOTE) :].decode().split()
                return name, int(guid)
    return None
