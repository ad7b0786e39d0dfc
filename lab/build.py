"""Makes a lab: the hosts of the inventory, freshly installed, with their disks and sticks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

import lab.catalog  # noqa: F401 (registers the parts, for whoever makes a lab)
from lab import clock, freebsd, rootfs, vmhost
from lab.core import START, Cluster, Disk, Host, LabError, Store
from lab.linux import boot
from lab.net import model as net

MIB = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What the lab has to know of a host; from the site's settings.

    :param slots: device name -> (size in bytes, model, serial)
    :param addresses: interface -> (address, prefix length)
    :param ufs_root: FreeBSD on UFS (ada0p2) and without zroot, as the machines that were observed
    """

    name: str
    platform: str
    slots: dict[str, tuple[int, str, str]]
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)
    ufs_root: bool = False


INSTALL = {"freebsd": (freebsd.install, vmhost.install), "rocky": (boot.install,)}
"""What puts files and state on a new host, by its platform."""


def up(store: Store, plans: list[Plan]) -> Cluster:
    """Makes the hosts, over whatever was in the state folder before.

    :raises LabError: no program can be run on them on this machine
    """
    shutil.rmtree(store.folder, ignore_errors=True)
    for folder in ("disks", "trees", "hosts"):
        (store.folder / folder).mkdir(parents=True)
    cluster = Cluster(now=START)
    store.save(cluster)
    for plan in plans:
        host = Host(plan.name, plan.platform, boot_time=START)
        cluster.hosts[host.name] = host
        host.parts["ufs root"] = plan.ufs_root
        for slot, (size, model, serial) in plan.slots.items():
            add_disk(store, cluster, host, slot, Disk(f"{host.short}-{slot}", size, model, serial))
        for number, (name, (address, length)) in enumerate(plan.addresses.items()):
            net.interfaces(host)[name] = net.Interface(name, f"52:54:00:00:{len(cluster.hosts):02x}:{number:02x}")
            net.interfaces(host)[name].addresses.append((address, length, 0))
        net.interfaces(host)["lo0"] = net.Interface("lo0", "", [("127.0.0.1", 8, 0)])
        rootfs.build(store, host)
        for install in INSTALL[plan.platform]:
            install(store, cluster, host)
    store.save(cluster)
    if plans:
        tried = clock.run(store, plans[0].name, ["/bin/sh", "-c", ":"])
        if tried.returncode != 0:
            raise LabError(tried.stderr.decode().removeprefix("lab: ").strip())
    return cluster


def add_disk(store: Store, cluster: Cluster, host: Host, slot: str, disk: Disk) -> None:
    """Puts a new, blank disk into a slot."""
    cluster.disks[disk.id] = disk
    host.slots[slot] = disk.id
    with open(store.disk_file(disk.id), "wb") as image:
        image.truncate(disk.size)
