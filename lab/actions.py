"""What a person or a test does to the lab's hardware: sticks and disks, power, the network, and a look at it all."""

from __future__ import annotations

from lab import build, disks, zfs
from lab.core import Cluster, Disk, Host, LabError, Store
from lab.linux import boot as linux
from lab.net import model
from lab.rc.scripts import processes
from lab.zrepl import daemon


def stick_slot(host: Host) -> str:
    """The slot for the host's USB stick.

    :raises LabError: the host has none
    """
    unplugged: dict[str, str] = host.parts.get("unplugged", {})
    for slot in [*host.slots, *unplugged]:
        if slot.startswith("da"):
            return slot
    raise LabError(f"{host.name} has no USB stick")


def _filled(host: Host, slot: str) -> str:
    """The slot of a disk, by default that of the USB stick.

    :raises LabError: nothing is plugged in there
    """
    slot = slot or stick_slot(host)
    if slot not in host.slots:
        raise LabError(f"{host.name} has nothing in {slot}; it has {', '.join(host.slots)}")
    return slot


def unplug(store: Store, name: str, slot: str = "") -> None:
    """Pulls a disk or (by default) the USB stick out of a running or a stopped host."""
    with store.edit() as cluster:
        host = cluster.host(name)
        slot = _filled(host, slot)
        disk = cluster.disks[host.slots[slot]]
        for entry in host.mounts:
            entry.dead |= entry.fstype == "ufs" and disks.resolve(store, cluster, host, entry.device) is disk
        host.parts.setdefault("unplugged", {})[slot] = host.slots.pop(slot)
        zfs.disk(cluster, host, disk.id, there=False)
        disks.link_devices(store, cluster, host)


def plug(store: Store, name: str, slot: str = "") -> None:
    """Puts back what was pulled out.

    :raises LabError: nothing was
    """
    with store.edit() as cluster:
        host = cluster.host(name)
        slot = slot or stick_slot(host)
        unplugged = host.parts.get("unplugged", {})
        if slot not in unplugged:
            raise LabError(f"{host.name}: {slot} was not unplugged")
        host.slots[slot] = unplugged.pop(slot)
        zfs.disk(cluster, host, host.slots[slot], there=True)
        disks.link_devices(store, cluster, host)


def unreadable(store: Store, name: str, how: str = "hangs", slot: str = "") -> None:
    """From now on a disk or (by default) the USB stick cannot be read, wherever it is plugged in.

    :param how: one of `disks.HOW`: each read hangs, where no signal ends it; or fails; or works again
    """
    with store.edit() as cluster:
        host = cluster.host(name)
        slot = _filled(host, slot)
        disks.unreadable(cluster).pop(host.slots[slot], None)
        if how != "no":
            disks.unreadable(cluster)[host.slots[slot]] = how
        disks.link_devices(store, cluster, host)


def swap(store: Store, name: str, slot: str) -> None:
    """Puts a blank disk of the same size and model into a slot; the old one is gone.

    :raises LabError: no such slot, or its disk is in use
    """
    with store.edit() as cluster:
        host = cluster.host(name)
        slot = _filled(host, slot)
        old = cluster.disks[host.slots[slot]]
        if disks.user(store, cluster, host, old):
            raise LabError(f"{host.name}: {slot} is in use; crash the host or unplug it first")
        fresh = Disk(f"{host.short}-{slot}-{cluster.next_id()}", old.size, old.model, f"S{cluster.counter}")
        build.add_disk(store, cluster, host, slot, fresh)
        disks.link_devices(store, cluster, host)


def cut_off(store: Store, name: str, *, away: bool) -> None:
    """Pulls out a host's cable, or plugs it in again."""
    with store.edit() as cluster:
        model.link(store, cluster, cluster.host(name), up=not away)


def set_clock(store: Store, name: str, seconds: float) -> None:
    """The host's clock goes that many seconds forward, or back; no time passes."""
    with store.edit() as cluster:
        host = cluster.host(name)
        host.clock_offset += seconds
        daemon.plan_beats(store, cluster, host)


def part(store: Store, one: str, other: str, *, away: bool) -> None:
    """Cuts the connection between two hosts, or mends it; both see all others."""
    with store.edit() as cluster:
        pair = frozenset({cluster.host(one).name, cluster.host(other).name})
        model.hear(cluster)
        (model.parted(cluster).add if away else model.parted(cluster).discard)(pair)
        model.settle(store, cluster)


def status(store: Store, cluster: Cluster) -> str:
    """One line a host: power, CARP, pools and keys, services, and how a client's mounts answer."""
    lines = []
    for host in cluster.hosts.values():
        words = ["up" if host.up else "single user" if host.parts.get("single user") else "down"]
        for interface in model.interfaces(host).values():
            words += [f"CARP {carp.state} (advskew {carp.advskew})" for carp in interface.carps.values()]
        words += [f"{mount.device} on {mount.target}" for mount in host.mounts if mount.fstype == "ufs"]
        words += zfs.summary(cluster, host)
        if host.platform == "rocky" and host.up:
            words += linux.status(store, cluster, host)
        serving = [name for name in ("mountd", "nfsd", "stunnel", "zrepl") if processes(host).get(name)]
        if serving:
            words.append("runs " + ", ".join(serving))
        lines.append(f"{host.short:<4}{'; '.join(words)}")
    return "\n".join(lines) + "\n"
