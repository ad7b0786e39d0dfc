"""Making, importing and losing pools."""

from __future__ import annotations

import os
import re

from lab.core import CommandError, Context
from lab.zfs import datasets, labels, mounting, pool_properties, settings
from lab.zfs.arguments import Arguments
from lab.zfs.model import Node, Pool, Vdev, all_pools, guid, only


def device(node: Node, word: str) -> str:
    """The disk that an operand of zpool names."""
    slot = word.removeprefix("/dev/")
    if slot in node.host.slots:
        return slot
    if node.file(f"/dev/{slot}").is_symlink():
        only(False, f"zpool on {word}, which is no whole disk")
    if word.startswith("/"):
        raise CommandError(f"cannot resolve path '{word}'")
    raise CommandError(f"cannot open '{word}': no such GEOM provider\nmust be a full path or shorthand device name")


def in_use(node: Node, slot: str) -> bool:
    """Whether a file system on the disk or a part of it is mounted, or a pool lives on a part of it."""
    whole = f"/dev/{slot}"
    image = _target(node, whole)
    for entry in node.host.mounts:
        if re.fullmatch(re.escape(whole) + r"(p\d+|s\d+[a-h]?)?", entry.device):
            return True
        if entry.device.startswith("/dev/") and image and _target(node, entry.device) == image:
            return True
    disk = node.host.slots[slot]
    return any(v.disk == disk and v.start for p in node.imported() for v in p.vdevs)


def _target(node: Node, path: str) -> str | None:
    place = node.file(path)
    return os.readlink(place) if place.is_symlink() else None


def member(node: Node, vdev: Vdev) -> Pool | None:
    """The pool that the label on a disk names, if that pool still exists."""
    label = labels.read(node.store, vdev)
    return next((p for p in all_pools(node.cluster) if label and p.guid == label[1]), None)


def check_free(node: Node, word: str, vdev: Vdev) -> None:
    """Refuses a disk that belongs to a pool. Anything else on it is overwritten without a question, as ZFS does."""
    pool = member(node, vdev)
    if pool is None:
        return
    only(pool.imported and pool.host == node.host.name, f"zpool create on a disk of {pool.name}, which is not imported")
    path = word if word.startswith("/") else f"/dev/{word}"
    raise CommandError(
        "invalid vdev specification\nuse '-f' to override the following errors:\n"
        f"{path} is part of active pool '{pool.name}'"
    )


def create(
    node: Node, name: str, word: str, props: dict[str, str], root: dict[str, str], *, mountpoint: str | None
) -> Pool:
    """``zpool create`` on one disk.

    :param props: pool properties; ``root`` are those of the root file system
    """
    slot = device(node, word)
    disk = node.cluster.disks[node.host.slots[slot]]
    vdev = Vdev(slot, disk.id, disk.size)
    check_free(node, word, vdev)
    place = mountpoint or f"/{name}"
    if place not in ("none", "legacy") and node.file(place).is_dir() and any(node.file(place).iterdir()):
        raise CommandError(
            f"mountpoint '{place}' exists and is not empty\nuse '-m' option to provide a different default"
        )
    fine = re.fullmatch(r"(?!mirror|raidz|draid|spare|log$)[A-Za-z][A-Za-z0-9_.:-]*", name)
    only(fine is not None and all(p.name != name for p in node.imported()), f"another pool called {name}")
    if in_use(node, vdev.device):
        raise CommandError(f"cannot create '{name}': no such pool or dataset")
    root = settings.validated("filesystem", root, creating=True)
    only("encryption" not in root, "zpool create -O encryption")
    if mountpoint is not None:
        root["mountpoint"] = mountpoint
    pool = add(node, name, vdev, root)
    for key, value in props.items():
        pool_properties.put(pool, key, value)
    mounting.mount(node, pool.datasets[name])
    return pool


def add(node: Node, name: str, vdev: Vdev, root: dict[str, str]) -> Pool:
    """A new pool with its root file system, not mounted; what was on the disk before is lost."""
    pool = Pool(name, guid(), [vdev], node.host.name)
    all_pools(node.cluster).append(pool)
    datasets.attach(node, pool, name, "filesystem", root, None)
    labels.write(node.store, pool)
    node.state.cache.append(pool.guid)
    return pool


def imported(node: Node, name: str) -> Pool:
    """The imported pool of that name."""
    found = next((p for p in node.imported() if p.name == name), None)
    if found is None:
        raise CommandError(f"cannot open '{name}': no such pool")
    return found


def export(ctx: Context, node: Node, args: Arguments) -> None:
    """``zpool export``: everything is unmounted, the keys are forgotten."""
    pool = imported(node, args.operands[0])
    busy = f"cannot export '{pool.name}': pool is busy"
    if any(d.kind == "volume" and d.name in node.state.busy for d in pool.datasets.values()):
        raise CommandError(busy)
    try:
        mounting.unmount_all(node, list(pool.datasets.values()))
    except CommandError as error:
        raise CommandError(f"{error.message}\n{busy}") from None
    node.state.keys = {(p, d) for p, d in node.state.keys if p != pool.guid}
    node.state.cache = [g for g in node.state.cache if g != pool.guid]
    pool.imported, pool.exported = False, True


def importable(node: Node) -> list[Pool]:
    """Pools on this host's disks that are not imported here, as their labels show."""
    disks = {disk: slot for slot, disk in node.host.slots.items()}
    found = []
    for pool in all_pools(node.cluster):
        here = all(v.disk in disks and labels.read(node.store, v) for v in pool.vdevs)
        if here and not (pool.imported and pool.host == node.host.name):
            found.append(pool)
    return found


def import_(node: Node, pool: Pool, *, mount: bool) -> list[CommandError]:
    """``zpool import`` of one pool; returns what could not be mounted."""
    only(all(p.name != pool.name for p in node.imported()), f"zpool import of another {pool.name}")
    only(pool.host == node.host.name or pool.exported, f"zpool import of {pool.name}, which another system had last")
    attach(node, pool)
    return mounting.mount_pool(node, pool) if mount else []


def attach(node: Node, pool: Pool) -> None:
    """Makes a pool an imported one of this host."""
    slots = {disk: slot for slot, disk in node.host.slots.items()}
    for vdev in pool.vdevs:
        tail = re.sub(r"^[a-z]+\d+", "", vdev.device)
        vdev.device, vdev.state = slots[vdev.disk] + tail, "ONLINE"
    pool.host, pool.imported, pool.exported, pool.health = node.host.name, True, False, "ONLINE"
    if pool.guid not in node.state.cache:
        node.state.cache.append(pool.guid)


def install_boot_pool(node: Node, device: str, disk: str, start: int, size: int) -> Pool:
    """The pool ``zroot`` that the FreeBSD installer makes on a partition of the boot disk.

    The root file system itself stays the host's root folder; ``zroot/ROOT/default`` only stands for it.

    :param device: the partition (``ada0p3``), and ``disk`` the id of the disk that it is on
    :param start: where it begins on the disk, in bytes
    :param size: of the partition, in bytes
    """
    pool = add(node, "zroot", Vdev(device, disk, size, start), {"mountpoint": "/zroot"})
    pool.datasets["zroot"].props |= {"compression": "lz4", "atime": "off"}
    for name, props in {
        "zroot/ROOT": {"mountpoint": "none"},
        "zroot/ROOT/default": {"mountpoint": "/", "canmount": "noauto"},
        "zroot/usr": {"mountpoint": "/usr", "canmount": "off"},
        "zroot/usr/home": {},
        "zroot/var": {"mountpoint": "/var", "canmount": "off"},
    }.items():
        datasets.attach(node, pool, name, "filesystem", props, None)
    return pool
