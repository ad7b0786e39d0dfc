"""What is on the disks: signatures in the image files, UFS file systems, partition tables, and who uses a disk.

The image file is the truth: a disk holds what can be read from it, so ``dd if=/dev/zero`` really empties it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lab import rootfs, zfs
from lab.core import Cluster, Disk, Host, Store, part
from lab.zfs import labels
from lab.zfs.model import Vdev

UFS_SUPERBLOCK = 65536
"""Byte offset of UFS2's superblock (sys/ufs/ffs/fs.h, SBLOCK_UFS2)."""
UFS_MAGIC = b"\x19\x01\x54\x19 lab ufs "
GPT_MAGIC = b"EFI PART"
FAT_MAGIC = b"FAT32   "
MIB = 1 << 20


@dataclass
class Ufs:
    """A UFS file system: its files are a tree; its name on disk is the id behind `UFS_MAGIC`."""

    id: str
    label: str
    tree: str


def ufs_systems(cluster: Cluster) -> dict[str, Ufs]:
    return part(cluster, "ufs", dict[str, Ufs])


HOW = ("hangs", "errors", "no")
"""How a disk meets who reads it: the kernel tries again for ever, gives up (EIO), or nothing is wrong with it."""
UNREADABLE = ".lab/unreadable"
"""In a host's root while it has such a disk: programs of the machine look there before they read (lab.rootfs)."""


def unreadable(cluster: Cluster) -> dict[str, str]:
    """Disks that cannot be read: id -> one of `HOW`."""
    return part(cluster, "unreadable", dict[str, str])


def _read(store: Store, disk: Disk, offset: int, count: int) -> bytes:
    with open(store.disk_file(disk.id), "rb") as image:
        image.seek(offset)
        return image.read(count)


def write(store: Store, disk: Disk, offset: int, content: bytes) -> None:
    """Puts bytes on a disk, as a program on the host would."""
    with open(store.disk_file(disk.id), "r+b") as image:
        image.seek(offset)
        image.write(content)


def ufs_on(store: Store, cluster: Cluster, disk: Disk) -> Ufs | None:
    """The UFS file system whose superblock is on the disk."""
    block = _read(store, disk, UFS_SUPERBLOCK, 64)
    if not block.startswith(UFS_MAGIC):
        return None
    return ufs_systems(cluster).get(block[len(UFS_MAGIC) :].rstrip(b"\0").decode())


def has_gpt(store: Store, disk: Disk) -> bool:
    return _read(store, disk, 512, 8) == GPT_MAGIC


def has_fat(store: Store, disk: Disk) -> bool:
    return _read(store, disk, 82, 8) == FAT_MAGIC


def zfs_label(store: Store, disk: Disk) -> str | None:
    """Name of the pool in the first of the four ZFS labels that is there."""
    label = labels.read(store, Vdev("", disk.id, disk.size))
    return label[0] if label else None


def make_ufs(store: Store, cluster: Cluster, disk: Disk, label: str) -> Ufs:
    """newfs(8): a new, empty file system over whatever was there."""
    system = Ufs(f"{cluster.next_id():016x}", label, store.new_tree(cluster))
    ufs_systems(cluster)[system.id] = system
    write(store, disk, UFS_SUPERBLOCK, (UFS_MAGIC + system.id.encode()).ljust(512, b"\0"))
    return system


def make_gpt(store: Store, disk: Disk) -> None:
    """A partition table at both ends of the disk."""
    write(store, disk, 512, GPT_MAGIC)
    write(store, disk, disk.size - 512, GPT_MAGIC)


def resolve(store: Store, cluster: Cluster, host: Host, device: str) -> Disk | None:
    """The disk behind ``da0``, ``/dev/da0`` or ``/dev/ufs/LABEL`` on a host; None if there is none."""
    name = device.removeprefix("/dev/")
    if name in host.slots:
        return cluster.disks[host.slots[name]]
    if name.startswith("ufs/"):
        for slot in host.slots.values():
            system = ufs_on(store, cluster, cluster.disks[slot])
            if system and system.label == name.removeprefix("ufs/"):
                return cluster.disks[slot]
    return None


def user(store: Store, cluster: Cluster, host: Host, disk: Disk) -> str | None:
    """Who has the disk open for writing: a mount point or a pool; None if nobody has."""
    for entry in host.mounts:
        if entry.fstype == "ufs" and not entry.dead and resolve(store, cluster, host, entry.device) is disk:
            return entry.target
    return zfs.pool_using(cluster, host, disk.id)


def is_blank(store: Store, cluster: Cluster, host: Host, disk: Disk) -> bool:
    """Whether nobody has it open, and its first and last 4 MiB are zeros."""
    ends = (_read(store, disk, offset, 4 * MIB) for offset in (0, disk.size - 4 * MIB))
    return user(store, cluster, host, disk) is None and not any(end.strip(b"\0") for end in ends)


def link_devices(store: Store, cluster: Cluster, host: Host) -> None:
    """Makes /dev and /dev/ufs of a host show what is plugged in."""
    root = store.root(host.name)
    for folder in (root / "dev", root / "dev/ufs"):
        for entry in list(folder.iterdir()):
            if entry.is_symlink() and os.readlink(entry).startswith("/.lab/state/disks/"):
                entry.unlink()
    for slot, disk_id in host.slots.items():
        target = f"/.lab/state/disks/{disk_id}.img"
        rootfs.link(root, f"dev/{slot}", target)
        system = ufs_on(store, cluster, cluster.disks[disk_id])
        if system and system.label:
            rootfs.link(root, f"dev/ufs/{system.label}", target)

    mark = root / UNREADABLE
    if any(disk_id in unreadable(cluster) for disk_id in host.slots.values()):
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def is_device_link(path: str | Path) -> bool:
    """Whether the path stands for a device node of a simulated host."""
    return os.path.islink(path) and os.readlink(path).startswith("/.lab/state/")
