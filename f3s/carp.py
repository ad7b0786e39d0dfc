"""CARP as ifconfig(8) and rc.conf(5) show it, and what rc.conf has to say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from f3s.parsing import UnknownOutput, number, sections


class CarpState(Enum):
    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"


@dataclass(frozen=True)
class VirtualHost:
    """One `carp:` line: advbase in seconds, advskew in 1/256 s, and the addresses that belong to it."""

    state: CarpState
    advbase: int
    advskew: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class CarpView:
    """CARP on one interface of one host.

    + virtual_hosts: by vhid
    + plain_addresses: IPv4 addresses of the interface without a vhid
    + demotion, preempt: the sysctls of net.inet.carp; None while the module is not loaded
    """

    virtual_hosts: dict[int, VirtualHost]
    plain_addresses: tuple[str, ...]
    demotion: int | None
    preempt: int | None

    @property
    def loaded(self) -> bool:
        return self.preempt is not None


@dataclass(frozen=True)
class Rivals:
    """What the kernel of a host noticed since its boot of others that use the vhid or the virtual IP.

    + discarded: advertisements for a vhid of this host with another password
    + ether: the address of the interface itself
    + holders: who had the virtual IP, by the ARP messages in the kernel's log; its own CARP address is among them
    """

    discarded: int
    ether: str
    holders: frozenset[str]


_CARP = re.compile(r"carp: (\S+) vhid (\d+) advbase (\d+) advskew (\d+)(?: .*)?")
_INET = re.compile(r"inet (\d+\.\d+\.\d+\.\d+)(?:/\d+)?(?: .*?)??(?: vhid (\d+))?")


def parse_ifconfig(lines: Iterable[str], demotion: int | None, preempt: int | None) -> CarpView:
    """Read `ifconfig IF`; raises UnknownOutput on a `carp:` or `inet` line in another form than seen on 13.2.

    A vhid may have a line without any address: `ifconfig IF vhid N state master` leaves one behind (observed).
    """
    states: dict[int, VirtualHost] = {}
    addresses: dict[int, list[str]] = {}
    plain: list[str] = []
    for line in lines:
        text = line.strip()
        if text.startswith("inet "):
            match = _INET.fullmatch(text)
            if match is None:
                raise UnknownOutput(f"address of an interface: {text!r}")
            (addresses.setdefault(int(match[2]), []) if match[2] else plain).append(match[1])
        elif text.startswith("carp:"):
            match = _CARP.fullmatch(text)
            if match is None or match[1] not in CarpState.__members__:
                raise UnknownOutput(f"CARP state: {text!r}")
            states[int(match[2])] = VirtualHost(CarpState[match[1]], int(match[3]), int(match[4]))
    if missing := sorted(addresses.keys() - states.keys()):
        raise UnknownOutput(f"an address belongs to vhid {missing[0]}, which has no state")
    return CarpView(
        {
            vhid: VirtualHost(host.state, host.advbase, host.advskew, tuple(addresses.get(vhid, ())))
            for vhid, host in states.items()
        },
        tuple(plain),
        demotion,
        preempt,
    )


def parse_carp(lines: Iterable[str]) -> CarpView:
    """Read the sections of facts.carp.Carp: `ifconfig IF`, and demotion and preempt where the module is loaded.

    Raises UnknownOutput on others.
    """
    found = sections(lines, "ifconfig", "sysctl")
    values = [number(line, "a sysctl of net.inet.carp") for line in found["sysctl"]]
    if len(values) not in (0, 2):
        raise UnknownOutput(f"sysctls of CARP: {found['sysctl']}")
    demotion, preempt = values or (None, None)
    return parse_ifconfig(found["ifconfig"], demotion, preempt)


_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
# in_arpinput and arp_check_update_lle in sys/netinet/if_ether.c; carp_stats in usr.bin/netstat/inet.c
_HOLDERS = re.compile(rf"arp: (?:\S+ moved from ({_MAC}) to ({_MAC}) on |({_MAC}) is using my IP address \S+ on )")
_DISCARDED = re.compile(r"\s*(\d+) discarded for bad authentication")


def parse_rivals(lines: Iterable[str]) -> Rivals:
    """Read the sections of facts.carp.CarpRivals; raises UnknownOutput on others."""
    found = sections(lines, "netstat", "ether", "log")
    counts = [match[1] for line in found["netstat"] if (match := _DISCARDED.fullmatch(line))]
    if len(counts) != 1 or len(found["ether"]) != 1:
        raise UnknownOutput(f"no count of discarded advertisements, or no ether: {found['netstat']}, {found['ether']}")
    told = [match.groups() for line in found["log"] if (match := _HOLDERS.search(line))]
    return Rivals(int(counts[0]), found["ether"][0], frozenset(mac for macs in told for mac in macs if mac))


def rc_interface(interface: str) -> str:
    """The interface's name as a part of a variable of rc.conf (get_if_var in /etc/network.subr)."""
    return re.sub(r"[./+-]", "_", interface)


def alias_words(vhid: int, advbase: int, advskew: int, password: str, address: str) -> str:
    """The value of ifconfig_IF_aliasN; the netmask of the virtual IP is /32."""
    return f"inet vhid {vhid} advbase {advbase} advskew {advskew} pass {password} alias {address}/32"


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
