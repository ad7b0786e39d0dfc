"""Interfaces and CARP groups, and the election between the hosts of the LAN on the virtual clock.

What is modelled of carp(4), from the observations and sys/netinet/ip_carp.c: a BACKUP becomes MASTER when it hears no
MASTER for 3 * advbase + advskew/256 s; everything else follows from an advertisement that is heard: a MASTER steps back
for one that is as frequent as its own or more, and with preempt a BACKUP takes over from one that is less frequent. A
changed advskew is heard with the next advertisement, a changed demotion at once; demotion adds to advskew, up to 240.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lab import clock
from lab.core import Cluster, Event, Host, Store, part

MAX_SKEW = 240
"""CARP_MAXSKEW of ip_carp.c: where a demoted or slow host's advskew ends."""
IFDOWN_DEMOTION = 240
"""net.inet.carp.ifdown_demotion_factor."""


@dataclass
class Carp:
    """One vhid of an interface.

    :param heard: virtual time at which a BACKUP last heard of a MASTER, as of the last `hear`
    :param sent: when a MASTER advertised last, as of the last `hear`
    :param due: when its next advertisement is due
    :param beat: seconds from that one to the one behind it
    :param suppressed: its interface has no link, which counts as demotion
    """

    vhid: int
    state: str = "INIT"
    advbase: int = 1
    advskew: int = 0
    password: str = ""
    heard: float = 0.0
    sent: float = 0.0
    due: float = 0.0
    beat: float = 1.0
    suppressed: bool = False


@dataclass
class Interface:
    """A network interface.

    :param addresses: (address, prefix length, vhid or 0)
    """

    name: str
    ether: str
    addresses: list[tuple[str, int, int]] = field(default_factory=list)
    carps: dict[int, Carp] = field(default_factory=dict)


def interfaces(host: Host) -> dict[str, Interface]:
    """The interfaces of a host by name."""
    return part(host, "interfaces", dict[str, Interface])


def split(cluster: Cluster) -> set[str]:
    """Hosts (full names) whose cable is pulled out."""
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
    """Seconds between two advertisements: what the election compares."""
    return carp.advbase + effective_skew(host, carp) / 256


def patience(host: Host, carp: Carp) -> float:
    """Seconds of silence after which a BACKUP takes the MASTER for dead."""
    return 3 * carp.advbase + effective_skew(host, carp) / 256


def kernel_log(store: Store, cluster: Cluster, host: Host, line: str) -> None:
    """The kernel says something: dmesg and /var/log/messages."""
    part(host, "dmesg", list[str]).append(line)
    store.syslog(cluster, host, "kernel", line)


def set_state(
    store: Store, cluster: Cluster, host: Host, interface: Interface, vhid: int, state: str, why: str
) -> None:
    """Changes the state of a vhid; the kernel log and devd hear of it."""
    carp = interface.carps[vhid]
    if carp.state == state:
        return
    kernel_log(store, cluster, host, f"carp: {vhid}@{interface.name}: {carp.state} -> {state} ({why})")
    carp.state = state
    carp.heard = cluster.now
    clock.schedule(
        cluster, 0, "devd", host.name, lane=f"devd {host.name}", subsystem=f"{vhid}@{interface.name}", type=state
    )


def initialize(store: Store, cluster: Cluster, host: Host, interface: Interface, vhid: int) -> None:
    """A vhid has got its first address, or its interface a link, or has lost it (carp_sc_state)."""
    carp = interface.carps[vhid]
    if host.name in split(cluster):
        set_state(store, cluster, host, interface, vhid, "INIT", "hardware interface down")
        if not carp.suppressed:
            carp.suppressed = True
            demote(store, cluster, host, IFDOWN_DEMOTION, "interface down")
    elif carp.state == "INIT":
        set_state(store, cluster, host, interface, vhid, "BACKUP", "initialization complete")
        if carp.suppressed:
            carp.suppressed = False
            demote(store, cluster, host, -IFDOWN_DEMOTION, "interface up")


def link(store: Store, cluster: Cluster, host: Host, *, up: bool) -> None:
    """The cable of a host is plugged in or pulled out."""
    hear(cluster)
    (split(cluster).discard if up else split(cluster).add)(host.name)
    for interface in interfaces(host).values() if host.up and host.platform == "freebsd" else ():
        if interface.ether:
            kernel_log(store, cluster, host, f"{interface.name}: link state changed to {'UP' if up else 'DOWN'}")
        for vhid in {entry[2] for entry in interface.addresses if entry[2]}:
            initialize(store, cluster, host, interface, vhid)
    settle(store, cluster)


def demote(store: Store, cluster: Cluster, host: Host, change: int, why: str) -> None:
    """The demotion counter changes, and each MASTER of the host advertises at once (carp_demote_adj)."""
    hear(cluster)
    sysctl = part(host, "sysctl", dict[str, str])
    total = int(sysctl.get("net.inet.carp.demotion", "0")) + change
    sysctl["net.inet.carp.demotion"] = str(total)
    kernel_log(store, cluster, host, f"carp: demoted by {change} to {total} ({why})")
    for interface in interfaces(host).values():
        for carp in interface.carps.values():
            if carp.state == "MASTER":
                _advertise(store, cluster, host, interface, carp)
    settle(store, cluster)


def _peers(cluster: Cluster, host: Host, carp: Carp) -> list[tuple[Host, Interface, Carp]]:
    """The same vhid with the same password on hosts that get packets from this one."""
    found = []
    for other in cluster.hosts.values():
        if other is host or not reachable(cluster, host, other):
            continue
        for interface in interfaces(other).values():
            theirs = interface.carps.get(carp.vhid)
            if theirs and theirs.state != "INIT" and theirs.password == carp.password:
                found.append((other, interface, theirs))
    return found


def _all(cluster: Cluster) -> list[tuple[Host, Interface, Carp]]:
    hosts = (host for host in cluster.hosts.values() if host.up)
    return [(h, i, carp) for h in hosts for i in interfaces(h).values() for carp in i.carps.values()]


def _masters(cluster: Cluster, host: Host, carp: Carp) -> list[Carp]:
    return [theirs for _, _, theirs in _peers(cluster, host, carp) if theirs.state == "MASTER"]


def hear(cluster: Cluster) -> None:
    """The advertisements of the time that has passed are sent and heard: to be called before anything changes."""
    for _, _, carp in _all(cluster):
        if carp.state == "MASTER" and cluster.now > carp.due:
            sent = carp.due + (cluster.now - carp.due) // carp.beat * carp.beat
            carp.sent, carp.due = sent, round(sent + carp.beat, 6)
    for host, _, carp in _all(cluster):
        if carp.state == "BACKUP":
            carp.heard = max([carp.heard, *(theirs.sent for theirs in _masters(cluster, host, carp))])


def settle(store: Store, cluster: Cluster) -> None:
    """After a change: when something will happen next by itself.

    An advertisement that changes nothing is no event: `hear` accounts for it later.
    """
    hear(cluster)
    clock.cancel(cluster, lambda event: event.kind != "carp timer")
    for host, interface, carp in _all(cluster):
        if carp.state == "MASTER":
            carp.beat = period(host, carp)  # from the next advertisement on, which is due already
            matters = any(_reaction(other, theirs, carp.beat) for other, _, theirs in _peers(cluster, host, carp))
            due = carp.due if matters else None
        else:
            waits = carp.state == "BACKUP" and not _masters(cluster, host, carp)
            due = carp.heard + patience(host, carp) if waits else None
        if due is not None:
            after = max(0.0, due - cluster.now)
            clock.schedule(cluster, after, "carp timer", host.name, interface=interface.name, vhid=carp.vhid)


def _reaction(host: Host, carp: Carp, theirs: float) -> str:
    """Why a vhid changes its state when it hears an advertisement with that period (carp_input_c); empty: it stays."""
    mine = period(host, carp)
    if carp.state == "MASTER":
        return "more frequent advertisement received" if theirs <= mine else ""
    if part(host, "sysctl", dict[str, str]).get("net.inet.carp.preempt", "0") != "0" and mine < theirs:
        return "preempting a slower master"
    return "master will time out" if 3 * carp.advbase + mine - carp.advbase < theirs else ""


def _advertise(store: Store, cluster: Cluster, host: Host, interface: Interface, carp: Carp) -> None:
    """A MASTER sends an advertisement, and those who hear it react at once."""
    carp.beat = period(host, carp)
    carp.sent, carp.due = cluster.now, round(cluster.now + carp.beat, 6)
    for other, their_interface, theirs in _peers(cluster, host, carp):
        why = _reaction(other, theirs, carp.beat)
        if carp.state != "MASTER":
            return  # one of those before has answered
        if why and theirs.state == "MASTER":
            set_state(store, cluster, other, their_interface, theirs.vhid, "BACKUP", why)
        elif why:
            _take_over(store, cluster, other, their_interface, theirs, why)
        elif theirs.state == "BACKUP":
            theirs.heard = cluster.now


def _take_over(store: Store, cluster: Cluster, host: Host, interface: Interface, carp: Carp, why: str) -> None:
    set_state(store, cluster, host, interface, carp.vhid, "MASTER", why)
    _advertise(store, cluster, host, interface, carp)


def timer(store: Store, event: Event) -> None:
    """A MASTER's advertisement is due, or a BACKUP's patience is at an end."""
    with store.edit() as cluster:
        host = cluster.hosts[event.host]
        interface = interfaces(host).get(event.payload["interface"])
        carp = interface.carps.get(event.payload["vhid"]) if interface and host.up else None
        if interface is None or carp is None:
            return
        if carp.state == "MASTER":
            _advertise(store, cluster, host, interface, carp)
        elif carp.state == "BACKUP" and not _masters(cluster, host, carp):
            _take_over(store, cluster, host, interface, carp, "master timed out")
        settle(store, cluster)


def request(store: Store, cluster: Cluster, host: Host, interface: Interface, vhid: int, state: str) -> None:
    """``ifconfig IF vhid N state STATE``."""
    carp = interface.carps[vhid]
    if carp.state == "INIT" or carp.state == state.upper():
        return
    if state == "master":
        _take_over(store, cluster, host, interface, carp, "user requested via ifconfig")
    else:
        set_state(store, cluster, host, interface, vhid, "BACKUP", "user requested via ifconfig")
