"""What a system is made of, whatever it is used for: its release, packages and addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from f3s.carp import VirtualHost, interface_texts, parse_ifconfig
from f3s.parsing import UnknownOutput, matched, only_line, sections

LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
_MASK = re.compile(r"\s*inet (\S+)(?: --> \S+)? netmask 0x([0-9a-f]{8})(?: .*)?")
_ONELINE = re.compile(r"\d+: (\S+)\s+inet (\S+)(?: peer \S+)? .*")


@dataclass(frozen=True)
class Interface:
    """Addresses with their networks, those of virtual hosts apart."""

    addresses: tuple[ipaddress.IPv4Interface, ...]
    virtual_hosts: Mapping[int, VirtualHost]


@dataclass(frozen=True)
class System:
    """packages: name -> version; interfaces: by name, loopback left out."""

    release: str
    packages: Mapping[str, str]
    interfaces: Mapping[str, Interface]


def parse_system(lines: Iterable[str]) -> System:
    """Read the sections of facts.system.FreebsdSystem or LinuxSystem; raises UnknownOutput on others."""
    found = sections(lines)
    if found.keys() - {"ifconfig", "ip"} != {"release", "packages"} or len(found) != 3:
        raise UnknownOutput(f"sections of a system: {', '.join(found)}")
    packages = {}
    for line in found["packages"]:
        name, blank, version = line.partition(" ")
        if not blank:
            raise UnknownOutput(f"not a package with its version: {line!r}")
        packages[name] = version
    interfaces = _ifconfig(found["ifconfig"]) if "ifconfig" in found else _ip(found["ip"])
    there = {
        name: each
        for name, each in interfaces.items()
        if each.virtual_hosts or any(address not in LOOPBACK for address in each.addresses)
    }
    return System(only_line(found["release"], "the release"), packages, there)


def _ifconfig(lines: Iterable[str]) -> dict[str, Interface]:
    found = {}
    for name, text in interface_texts(lines).items():
        view = parse_ifconfig(text, None, None)
        masks = {match[1]: int(match[2], 16) for line in text if (match := _MASK.fullmatch(line))}
        if missing := [address for address in view.plain_addresses if address not in masks]:
            raise UnknownOutput(f"no netmask of {missing[0]} on {name}")
        addresses = (
            ipaddress.IPv4Interface((each, masks[each].bit_count())) for each in dict.fromkeys(view.plain_addresses)
        )
        found[name] = Interface(tuple(addresses), view.virtual_hosts)
    return found


def _ip(lines: Iterable[str]) -> dict[str, Interface]:
    """`ip -4 -o address show` (iproute2, ip/ipaddress.c)."""
    found: dict[str, Interface] = {}
    for line in lines:
        match = matched(_ONELINE, line, "unexpected line from ip address")
        before = found.get(match[1], Interface((), {}))
        found[match[1]] = Interface((*before.addresses, ipaddress.IPv4Interface(match[2])), {})
    return found
