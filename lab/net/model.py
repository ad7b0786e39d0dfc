"""Interfaces and CARP groups, and the election between the hosts of the LAN on the virtual clock.

What is modelled of carp(4), from the observations and sys/netinet/ip_carp.c: a BACKUP becomes MASTER when it hears no
MASTER for 3 * advbase + advskew/256 s; of two MASTERs the one that advertises less often steps back at once; with
preempt a BACKUP that would advertise more often takes over, without it does not; demotion adds to advskew, up to 240.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lab import clock, syslog
from lab.core import Cluster, Event, Host, Store, part

MAX_SKEW = 240
"""CARP_MAXSKEW of ip_carp.c: where a demoted or slow host's advskew ends."""
BOW_OUT_SECONDS = 2.0
"""A peer takes over within 2 s of ``advskew 254 state backup`` (seen), faster than its own timer would run out."""


@dataclass
class Carp:
    """One vhid of an interface.

    :param silent_since: virtual time at which a BACKUP last heard of a MASTER
    """

    vhid: int
    state: str = "INIT"
    advbase: int = 1
    advskew: int = 0
    password: str = ""
    silent_since: float = 0.0


@dataclass
class Interface:
    """A network interface.

    :param addresses: (address, prefix length, vhid or 0)
    """

    name: str
    ether: str
    addresses: list[tuple[str, int, int]] = field(default_factory=list)
    carps: dict[int, Carp] = field(default_factory=dict)
    up: bool = True


def interfaces(host: Host) -> dict[str, Interface]:
    """The interfaces of a host by name."""
    return part(host, "interfaces", dict[str, Interface])


def split(cluster: Cluster) -> set[str]:
    """Hosts (full names) that are cut off from the others."""
    return part(cluster, "split", set[str])


def parted(cluster: Cluster) -> set[frozenset[str]]:
    """Pairs of hosts (full names) that do not hear each other."""
    return part(cluster, "parted", set[frozenset[str]])


def reachable(cluster: Cluster, one: Host, other: Host) -> bool:
    """Whether packets get from one host to the other."""
    if one is other:
        return one.up
    pair = {one.name, other.name}
    return one.up and other.up and not pair & split(cluster) and frozenset(pair) not in parted(cluster)


def address_owner(cluster: Cluster, asker: Host, address: str) -> Host | None:
    """The host that answers for an address; for a CARP address the MASTER; the asker itself first."""
    for host in [asker, *cluster.hosts.values()]:
        if not reachable(cluster, asker, host):
            continue
        for interface in interfaces(host).values():
            for own, _, vhid in interface.addresses:
                if own == address and (not vhid or interface.carps[vhid].state == "MASTER"):
                    return host
    return None


def effective_skew(host: Host, carp: Carp) -> int:
    """advskew with the host's demotion counter (DEMOTE_ADVSKEW)."""
    demotion = int(part(host, "sysctl", dict[str, str]).get("net.inet.carp.demotion", "0"))
    return max(0, min(MAX_SKEW, carp.advskew + demotion))


def period(host: Host, carp: Carp) -> float:
    """Seconds between two advertisements."""
    return carp.advbase + effective_skew(host, carp) / 256


def patience(host: Host, carp: Carp) -> float:
    """Seconds of silence after which a BACKUP takes the MASTER for dead."""
    return 3 * carp.advbase + effective_skew(host, carp) / 256


def kernel_log(store: Store, cluster: Cluster, host: Host, line: str) -> None:
    """The kernel says something: dmesg and /var/log/messages."""
    part(host, "dmesg", list[str]).append(line)
    syslog.write(store, cluster, host, "kernel", line)


def set_state(
    store: Store, cluster: Cluster, host: Host, interface: Interface, vhid: int, state: str, why: str
) -> None:
    """Changes the state of a vhid; the kernel log and devd hear of it."""
    carp = interface.carps[vhid]
    if carp.state == state:
        return
    kernel_log(store, cluster, host, f"carp: {vhid}@{interface.name}: {carp.state} -> {state} ({why})")
    carp.state = state
    carp.silent_since = cluster.now
    clock.schedule(
        cluster, 0, "devd", host.name, lane=f"devd {host.name}", subsystem=f"{vhid}@{interface.name}", type=state
    )


def _peers(cluster: Cluster, host: Host, vhid: int, password: str) -> list[tuple[Host, Interface, Carp]]:
    found = []
    for other in cluster.hosts.values():
        if other is host or not reachable(cluster, host, other):
            continue
        for interface in interfaces(other).values():
            carp = interface.carps.get(vhid)
            if carp and carp.state != "INIT" and carp.password == password:
                found.append((other, interface, carp))
    return found


def settle(store: Store, cluster: Cluster) -> None:
    """What follows at once from the present states, and when to look again."""
    for host in cluster.hosts.values():
        for interface in interfaces(host).values() if host.up else ():
            for vhid, carp in interface.carps.items():
                _settle_one(store, cluster, host, interface, vhid, carp)


def _settle_one(store: Store, cluster: Cluster, host: Host, interface: Interface, vhid: int, carp: Carp) -> None:
    masters = [peer for peer in _peers(cluster, host, vhid, carp.password) if peer[2].state == "MASTER"]
    mine = period(host, carp)
    if carp.state == "MASTER":
        for other, their_interface, theirs in masters:
            if period(other, theirs) <= mine:
                set_state(store, cluster, host, interface, vhid, "BACKUP", "more frequent advertisement received")
                return
            why = "more frequent advertisement received"
            set_state(store, cluster, other, their_interface, vhid, "BACKUP", why)
    elif carp.state == "BACKUP":
        if masters:
            carp.silent_since = cluster.now
            preempt = part(host, "sysctl", dict[str, str]).get("net.inet.carp.preempt", "0") == "1"
            if preempt and all(period(other, theirs) > mine for other, _, theirs in masters):
                set_state(store, cluster, host, interface, vhid, "MASTER", "preempting a slower master")
                _settle_one(store, cluster, host, interface, vhid, carp)
            return
        wait = carp.silent_since + patience(host, carp) - cluster.now
        known = any(
            e.kind == "carp timer" and e.host == host.name and e.payload["vhid"] == vhid for e in cluster.events
        )
        if not known:
            clock.schedule(cluster, max(0.0, wait), "carp timer", host.name, interface=interface.name, vhid=vhid)


def timer(store: Store, event: Event) -> None:
    """A BACKUP's timer: it becomes MASTER if it still hears nobody."""
    with store.edit() as cluster:
        host = cluster.hosts[event.host]
        interface = interfaces(host).get(event.payload["interface"])
        vhid = event.payload["vhid"]
        carp = interface.carps.get(vhid) if interface and host.up else None
        if interface is None or carp is None or carp.state != "BACKUP":
            return
        masters = [peer for peer in _peers(cluster, host, vhid, carp.password) if peer[2].state == "MASTER"]
        silent = cluster.now - carp.silent_since
        if not masters and silent + 1e-6 >= patience(host, carp):
            set_state(store, cluster, host, interface, vhid, "MASTER", "master timed out")
        settle(store, cluster)


def request(store: Store, cluster: Cluster, host: Host, interface: Interface, vhid: int, state: str) -> None:
    """``ifconfig IF vhid N state STATE``."""
    carp = interface.carps[vhid]
    if carp.state == "INIT":
        return
    was = carp.state
    set_state(store, cluster, host, interface, vhid, state.upper(), "user requested via ifconfig")
    if was == "MASTER" and state == "backup":
        for other, _, theirs in _peers(cluster, host, vhid, carp.password):
            theirs.silent_since = cluster.now
            if theirs.advskew < carp.advskew:
                theirs.silent_since += BOW_OUT_SECONDS - patience(other, theirs)
            _stop_timer(cluster, other)
    settle(store, cluster)


def _stop_timer(cluster: Cluster, host: Host) -> None:
    clock.cancel(cluster, lambda event: (event.kind, event.host) != ("carp timer", host.name))


def vanish(store: Store, cluster: Cluster, host: Host) -> None:
    """A host is gone or cut off: those that heard its advertisements start to wait."""
    for other in cluster.hosts.values():
        for interface in interfaces(other).values():
            for carp in interface.carps.values():
                if carp.state == "BACKUP":
                    carp.silent_since = cluster.now
    settle(store, cluster)
