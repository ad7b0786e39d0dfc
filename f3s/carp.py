"""CARP as ifconfig(8) and rc.conf(5) show it, and what rc.conf has to say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from f3s.parsing import UnknownOutput, matched, number, only_line, sections


class CarpState(Enum):
    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"


@dataclass(frozen=True)
class VirtualHost:
    """One `carp:` line: advbase in seconds, advskew in 1/256 s, and the addresses that belong to it.

    + peer: where its advertisements go; None before FreeBSD 14, which knows multicast alone
    """

    state: CarpState
    advbase: int
    advskew: int
    addresses: tuple[str, ...] = ()
    peer: str | None = None


@dataclass(frozen=True)
class CarpView:
    """CARP on one interface of one host.

    + virtual_hosts: by vhid
    + plain_addresses: IPv4 addresses of the interface without a vhid
    + demotion, preempt: the sysctls of net.inet.carp; None while the module is not loaded
    + elsewhere: the virtual hosts of the host's other interfaces, by the interface's name
    + bridge: of which the interface is a member
    + takes_addresses: whether the kernel lets a member of a bridge have addresses (if_bridge(4) of FreeBSD 15)
    + release: of the kernel, as sys/param.h has it (1302001 for 13.2)
    """

    virtual_hosts: dict[int, VirtualHost]
    plain_addresses: tuple[str, ...]
    demotion: int | None
    preempt: int | None
    elsewhere: Mapping[str, dict[int, VirtualHost]] = field(default_factory=dict)
    bridge: str | None = None
    takes_addresses: bool = True
    release: int = 0

    @property
    def loaded(self) -> bool:
        return self.preempt is not None


def member_of_bridge(interface: str, bridge: str) -> str:
    """What is wrong with an address there, and what to do (if_bridge(4) of FreeBSD 15)."""
    return (
        f"{interface} is a member of {bridge}, and FreeBSD 15 takes addresses there only with "
        f"net.link.bridge.member_ifaddrs=1, FreeBSD 16 not at all: give the host's addresses to {bridge} instead "
        f"(ifconfig_{rc_interface(bridge)} in rc.conf), and set carp_interface to it"
    )


@dataclass(frozen=True)
class Rivals:
    """What the kernel of a host noticed since its boot of others that use the vhid or the virtual IP.

    + discarded: advertisements for a vhid of this host with another password
    + ether: the address of the interface itself
    + holders: who had the virtual IP, by the ARP messages in the kernel's log; its own CARP address is among them
    + firewalls: pf or ipfw, where it blocks packets and no rule of it names CARP
    """

    discarded: int
    ether: str
    holders: frozenset[str]
    firewalls: tuple[str, ...] = ()


_INTERFACE = re.compile(r"(\S+): flags=")
_CARP = re.compile(r"carp: (\S+) vhid (\d+) advbase (\d+) advskew (\d+)(?: .*)?")
_PEER = re.compile(r"peer (\S+) peer6 \S+")  # FreeBSD 14, sbin/ifconfig/ifcarp.c
MULTICAST = "224.0.0.18"
UNICAST_SINCE = 1400000
_INET = re.compile(r"inet (\d+\.\d+\.\d+\.\d+)(?:/\d+)?(?: .*?)??(?: vhid (\d+))?")


def parse_ifconfig(lines: Iterable[str], demotion: int | None, preempt: int | None) -> CarpView:
    """Read `ifconfig IF`; raises UnknownOutput on a `carp:` or `inet` line in another form than seen on 13.2 and 15.1.

    A vhid may have a line without any address: `ifconfig IF vhid N state master` leaves one behind (observed).
    """
    states: dict[int, VirtualHost] = {}
    addresses: dict[int, list[str]] = {}
    plain: list[str] = []
    vhid = 0
    for line in lines:
        text = line.strip()
        if text.startswith("inet "):
            inet = matched(_INET, text, "address of an interface")
            (addresses.setdefault(int(inet[2]), []) if inet[2] else plain).append(inet[1])
        elif text.startswith("carp:"):
            match = _CARP.fullmatch(text)
            if match is None or match[1] not in CarpState.__members__:
                raise UnknownOutput(f"CARP state: {text!r}")
            vhid = int(match[2])
            states[vhid] = VirtualHost(CarpState[match[1]], int(match[3]), int(match[4]))
        elif vhid and (match := _PEER.fullmatch(text)):
            states[vhid] = replace(states[vhid], peer=match[1])
    if missing := sorted(addresses.keys() - states.keys()):
        raise UnknownOutput(f"an address belongs to vhid {missing[0]}, which has no state")
    return CarpView(
        {vhid: replace(host, addresses=tuple(addresses.get(vhid, ()))) for vhid, host in states.items()},
        tuple(plain),
        demotion,
        preempt,
    )


def interface_texts(lines: Iterable[str]) -> dict[str, list[str]]:
    """The lines of each interface in the output of `ifconfig`, but the first."""
    texts: dict[str, list[str]] = {}
    for line in lines:
        if match := _INTERFACE.match(line):
            text = texts[match[1]] = []
        elif texts:
            text.append(line)
    return texts


def parse_carp(lines: Iterable[str]) -> CarpView:
    """Read the sections of facts.carp.Carp.

    + interface: its name
    + ifconfig: all interfaces
    + release: kern.osreldate
    + bridge: net.link.bridge.member_ifaddrs where that is there, in FreeBSD 15
    + sysctl: demotion and preempt where the module is loaded

    Raises UnknownOutput on others, and where that interface is not there.
    """
    found = sections(lines, "interface", "ifconfig", "release", "bridge", "sysctl")
    interface = only_line(found["interface"], "the name of an interface")
    texts = interface_texts(found["ifconfig"])
    if interface not in texts:
        raise UnknownOutput(f"there is no {interface} among {', '.join(texts)}")
    release = number(only_line(found["release"], "kern.osreldate"), "kern.osreldate")
    values = [number(line, "a sysctl of net.inet.carp") for line in found["sysctl"]]
    if len(values) not in (0, 2):
        raise UnknownOutput(f"sysctls of CARP: {found['sysctl']}")
    demotion, preempt = values or (None, None)
    member = re.compile(rf"\s+member: {re.escape(interface)} .*")
    return replace(
        parse_ifconfig(texts.pop(interface), demotion, preempt),
        elsewhere={name: parse_ifconfig(text, None, None).virtual_hosts for name, text in texts.items()},
        bridge=next((name for name, text in texts.items() if any(map(member.fullmatch, text))), None),
        takes_addresses=found["bridge"] == ["1"] if found["bridge"] else release < 1600000,
        release=release,
    )


_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
# in_arpinput and arp_check_update_lle in sys/netinet/if_ether.c; carp_stats in usr.bin/netstat/inet.c
_HOLDERS = re.compile(rf"arp: (?:\S+ moved from ({_MAC}) to ({_MAC}) on |({_MAC}) is using my IP address \S+ on )")
_DISCARDED = re.compile(r"\s*(\d+) discarded for bad authentication")


def parse_rivals(lines: Iterable[str]) -> Rivals:
    """Read the sections of facts.carp.CarpRivals; raises UnknownOutput on others."""
    found = sections(lines, "netstat", "ether", "log", "firewall")
    counts = [match[1] for line in found["netstat"] if (match := _DISCARDED.fullmatch(line))]
    if len(counts) != 1 or len(found["ether"]) != 1:
        raise UnknownOutput(f"no count of discarded advertisements, or no ether: {found['netstat']}, {found['ether']}")
    told = [match.groups() for line in found["log"] if (match := _HOLDERS.search(line))]
    holders = frozenset(mac for macs in told for mac in macs if mac)
    return Rivals(int(counts[0]), found["ether"][0], holders, tuple(found["firewall"]))


def rc_interface(interface: str) -> str:
    """The interface's name as a part of a variable of rc.conf (get_if_var in /etc/network.subr)."""
    return re.sub(r"[./+-]", "_", interface)


def alias_words(
    vhid: int, advbase: int, advskew: int, password: str, address: str, unicast: tuple[str, ...] = ()
) -> str:
    """The value of ifconfig_IF_aliasN; the netmask of the virtual IP is /32. `unicast`: the words for ifconfig."""
    to = "".join(f" {word}" for word in unicast)
    return f"inet vhid {vhid} advbase {advbase} advskew {advskew} pass {password}{to} alias {address}/32"


def password_digest(password: str) -> str:
    """SHA-256, hex, of a CARP password as a line: what facts tell of it."""
    return hashlib.sha256(f"{password}\n".encode()).hexdigest()


RC_HEADER = "# Written by the f3s deploy: the shared address with its password, hence not in rc.conf."


def rc_file(interface: str, number: int, words: str) -> str:
    """/etc/rc.conf.d/netif: sh assignments that rc.d/netif reads after rc.conf."""
    return f"{RC_HEADER}\nifconfig_{rc_interface(interface)}_alias{number}='{words}'\n"


@dataclass(frozen=True)
class Aliases:
    """The aliases of an interface in rc.conf itself.

    + ours: numbers of those that name the virtual IP (an earlier, hand-made setup)
    + others: numbers of all other ones
    + foreign_file: /etc/rc.conf.d/netif is there and not from this deploy
    """

    ours: tuple[int, ...]
    others: tuple[int, ...]
    foreign_file: bool

    @property
    def free(self) -> int:
        """The first number that no other alias has. rc stops at the first gap, so it has to be the first one."""
        return next(n for n in range(len(self.others) + 1) if n not in self.others)


def parse_aliases(lines: Iterable[str]) -> Aliases:
    """Read `ours N`, `other N` and `file ours|foreign|absent`; raises UnknownOutput on anything else."""
    found: dict[str, list[int]] = {"ours": [], "other": []}
    file = None
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in found:
            found[word].append(number(rest, "the number of an alias"))
        elif word == "file" and rest in ("ours", "foreign", "absent"):
            file = rest
        else:
            raise UnknownOutput(f"alias: {line!r}")
    if file is None:
        raise UnknownOutput("nothing is said about /etc/rc.conf.d/netif")
    return Aliases(tuple(sorted(found["ours"])), tuple(sorted(found["other"])), file == "foreign")


def crontab_with(
    crontab: Sequence[str], commands: Mapping[str, str], without: Collection[str], by_hand: str
) -> tuple[list[str], list[str]]:
    """root's crontab with the deploy's lines, each below its name; and the lines made by hand that go.

    commands: what runs every minute, by name
    without: names of which there is to be none
    by_hand: a program that is run by the deploy's line alone
    """
    mark = "# pyinfra-name="
    ours = {f"{mark}{name}": f"* * * * * {command}" for name, command in commands.items()}
    missing = [name for name in ours if name.removeprefix(mark) not in without]
    left: list[str] = []
    gone: list[str] = []
    for before, line in zip(("", *crontab), crontab, strict=False):
        if line in missing:
            left += [line, ours[line]]
            missing.remove(line)
        elif line in ours or (before in ours and ours[before].split()[5] in line.split()):
            continue
        elif by_hand in line.split() and not line.startswith("#") and not before.startswith(mark):
            gone.append(line)
        else:
            left.append(line)
    return [*left, *(line for name in missing for line in (name, ours[name]))], gone
