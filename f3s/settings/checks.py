"""Checks that need more than one value: of one host, of two hosts, of the whole site.

A value that its own rule refused is no longer there. A check that needs it is skipped, so that each mistake is reported
once.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator

from pydantic import BaseModel

from f3s.nfs import PORT as NFS_PORT
from f3s.settings.checks_storage import STORAGE_CHECKS
from f3s.settings.lookup import get, is_none, variable
from f3s.settings.model import is_within
from f3s.settings.problems import HIDDEN, SITE, Problem
from f3s.settings.site import Site
from f3s.settings.values import HOST_NAME_RULE

GROUPS = ("storage_primary", "storage_standby", "storage", "freebsd", "clients")

SAME_EVERYWHERE = {
    "lan": ("network",),
    "wireguard": ("network",),
    "vip": ("address", "names"),
    "stunnel": ("port",),
    "usb": ("label", "mountpoint", "purposes"),
    "nfs": (
        "dataset",
        "mountpoint",
        "shares",
        "marker",
        "failback_block",
        "export",
        "fsid",
        "owners",
        "idmap_domain",
    ),
    "zrepl": ("jobs", "port", "return_port", "snapshot_prefix"),
    "carp": ("vhid", "advbase", "unicast", "failback_losses", "failback_quiet", "password"),
    "pki": ("directory", "extra_clients", "ca_days", "server_days", "client_days", "renew_before_days"),
}
"""What hosts must agree on, by prefix: a share, a password or a job that only one end knows is useless."""


def check_site(site: Site) -> Iterator[Problem]:
    """Every problem that shows only when several values are compared."""
    for check in _CHECKS:
        yield from check(site)


def _names_and_groups(site: Site) -> Iterator[Problem]:
    for host in site.hosts:
        try:
            HOST_NAME_RULE(host.name)
        except ValueError as error:
            yield Problem(host.name, "name", repr(host.name), str(error), HOST_NAME_RULE.allowed)
        groups = sorted(host.groups & set(GROUPS))
        if not groups:
            yield Problem(host.name, "groups", "[]", "is in no group of this deploy", "freebsd or clients")
        elif host.is_freebsd and host.is_client:
            yield Problem(host.name, "groups", repr(groups), "is both", "either freebsd or clients")
        elif not host.is_freebsd and not host.is_client:
            yield Problem(host.name, "groups", repr(groups), "is a storage host only", "in freebsd, too")
        if host.is_storage != (host.is_primary or host.is_standby):
            wanted = "in storage exactly when in storage_primary or storage_standby"
            yield Problem(host.name, "groups", repr(groups), "is in half of the storage groups", wanted)
    for group in ("storage_primary", "storage_standby"):
        members = [host.name for host in site.hosts if group in host.groups]
        if len(members) != 1:
            yield Problem(SITE, group, repr(members), f"has {len(members)} hosts", "exactly one host")
    for host in site.hosts:
        if host.is_primary and host.is_standby:
            wanted = "one of storage_primary and storage_standby"
            yield Problem(host.name, "groups", repr(sorted(host.groups & set(GROUPS))), "is both", wanted)
    for short, count in sorted(Counter(host.short_name for host in site.freebsd_hosts).items()):
        if count > 1:
            wanted = "FreeBSD hosts that differ before the first dot, where zrepl takes its identities from"
            yield Problem(SITE, "freebsd", repr(short), f"is the short name of {count} hosts", wanted)


def _agreement(site: Site) -> Iterator[Problem]:
    for prefix, field in ((prefix, field) for prefix, fields in SAME_EVERYWHERE.items() for field in fields):
        known = [
            (host, getattr(host.parts[prefix], field))
            for host in site.hosts
            if prefix in host.parts and hasattr(host.parts[prefix], field)
        ]
        for host, value in known[1:]:
            first, expected = known[0]
            if value != expected:
                secret = (prefix, field) == ("carp", "password")
                shown, other = (HIDDEN, HIDDEN) if secret else (_shown(value), _shown(expected))
                wrong = f"differs from {other} of {first.name}"
                yield Problem(host.name, f"{prefix}_{field}", shown, wrong, "the same on every host")


def _shown(value: object) -> str:
    """As Python shows it, with jobs and shares by their name, which is their first field."""
    if isinstance(value, tuple):
        return repr([next(iter(dict(item).values())) if isinstance(item, BaseModel) else item for item in value])
    return repr(value)


def _addresses(site: Site) -> Iterator[Problem]:
    for prefix in ("lan", "wireguard"):
        holders: dict[str, str] = {}
        for host in site.hosts:
            address, network = get(host, f"{prefix}.address"), get(host, f"{prefix}.network")
            if address is None:
                continue
            name = f"{prefix}_address"
            if address in holders:
                wrong = f"is the address of {holders[address]}, too"
                yield Problem(host.name, name, repr(address), wrong, "an address of the host's own")
            holders.setdefault(address, host.name)
            if network is not None and (reason := _not_usable(address, network)):
                yield Problem(host.name, name, repr(address), reason, f"a host address of {network}")
    lan_hosts = {get(host, "lan.address"): host.name for host in reversed(site.hosts)}
    for host in site.hosts[:1]:
        vip, network = get(host, "vip.address"), get(host, "lan.network")
        if vip is not None and vip in lan_hosts:
            wrong = f"is the lan_address of {lan_hosts[vip]}"
            yield Problem(SITE, "vip_address", repr(vip), wrong, "an address that no host has")
        if vip is not None and network is not None and (reason := _not_usable(vip, network)):
            yield Problem(SITE, "vip_address", repr(vip), reason, f"a host address of {network}")
    for host in site.freebsd_hosts[:1]:
        lan, wireguard = get(host, "lan.network"), get(host, "wireguard.network")
        if lan and wireguard and ipaddress.IPv4Network(lan).overlaps(ipaddress.IPv4Network(wireguard)):
            yield Problem(
                SITE, "wireguard_network", repr(wireguard), f"overlaps lan_network {lan}", "a network apart from it"
            )


def _not_usable(address: str, network: str) -> str | None:
    value, net = ipaddress.IPv4Address(address), ipaddress.IPv4Network(network)
    if value not in net:
        return f"is outside {network}"
    if net.prefixlen < 31 and value in (net.network_address, net.broadcast_address):
        return "is the network's own or its broadcast address"
    return None


def _vip_names(site: Site) -> Iterator[Problem]:
    hosts = {host.name for host in site.hosts} | {host.short_name for host in site.hosts}
    for host in site.hosts[:1]:
        for name in get(host, "vip.names") or ():
            if name in hosts:
                yield Problem(SITE, "vip_names", repr(name), "is the name of a host", "names that no host has")
        for name in get(host, "pki.extra_clients") or ():
            if name in hosts:
                wrong = "is a host of the inventory, which gets its certificate anyway"
                yield Problem(SITE, "pki_extra_clients", repr(name), wrong, "names that no host has")


def _ports(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts:
        holders = {NFS_PORT: "the port of NFS"}
        for name in ("stunnel.port", "zrepl.port", "zrepl.return_port", "zrepl.metrics_port"):
            port = get(host, name)
            if port is None:
                continue
            if port in holders:
                wrong = f"is {holders[port]}, too"
                yield Problem(host.name, variable(name), repr(port), wrong, "a port of its own")
            holders.setdefault(port, variable(name))


def _alerts(site: Site) -> Iterator[Problem]:
    holders: dict[str, str] = {}
    for host in site.freebsd_hosts:
        url = get(host, "alert.ping_url") if host.is_storage else None
        if url is not None and holders.setdefault(url, host.name) != host.name:
            wrong = f"is that of {holders[url]}, too: nobody would notice that one of them is silent"
            yield Problem(host.name, "alert_ping_url", repr(url), wrong, "one of the host's own, in inventory.py")


def _keys(site: Site) -> Iterator[Problem]:
    hosts = sorted(host.name for host in site.freebsd_hosts)
    for host in site.freebsd_hosts:
        purposes = get(host, "usb.purposes")
        for name in ("enc.key", "bhyve.key"):
            key = get(host, name)
            if key is None:
                continue
            owner, purpose = host.key_name(key).split(":", 1)
            if owner not in hosts:
                wrong = f"names the host {owner}, which is not a FreeBSD host of the inventory"
                yield Problem(host.name, variable(name), repr(key), wrong, " or ".join(hosts))
            if purposes is not None and purpose not in purposes:
                wrong = f"has the purpose {purpose}, which usb_purposes does not name"
                yield Problem(host.name, variable(name), repr(key), wrong, " or ".join(purposes))
        enc, bhyve = get(host, "enc.key"), get(host, "bhyve.key")
        if enc is not None and bhyve is not None and host.key_name(enc) == host.key_name(bhyve):
            yield Problem(host.name, "bhyve_key", repr(bhyve), "is enc_key, too", "a key of its own")


def _clients(site: Site) -> Iterator[Problem]:
    shares = next((s for host in site.freebsd_hosts if (s := get(host, "nfs.shares")) is not None), None)
    for host in site.clients:
        presets, preset = get(host, "client.mount_presets"), get(host, "client.mount_preset")
        if presets is not None and preset is not None and preset not in presets:
            wrong = "is not a preset"
            yield Problem(host.name, "client_mount_preset", repr(preset), wrong, " or ".join(presets))
        paths: list[str] = []
        for index, mount in enumerate(get(host, "client.mounts") or ()):
            if shares is not None and mount.share not in [share.directory for share in shares]:
                known = " or ".join(share.directory for share in shares)
                where = f"client_mounts[{index}].share"
                yield Problem(host.name, where, repr(mount.share), "is not a directory of nfs_shares", known)
            for path in paths:  # the monitor could not make a directory on a server immutable
                if is_within(path, mount.mountpoint) or is_within(mount.mountpoint, path):
                    wrong = "is used twice" if path == mount.mountpoint else f"and {path} lie in one another"
                    where = f"client_mounts[{index}].mountpoint"
                    yield Problem(host.name, where, repr(mount.mountpoint), wrong, "one mount a directory")
            paths.append(mount.mountpoint)
        after = get(host, "client.escalate_after")
        if after and is_none(host, "client.escalate_command"):
            yield Problem(
                host.name,
                "client_escalate_command",
                "None",
                f"is missing, with client_escalate_after = {after}",
                "the absolute path of a program",
            )


def _lifetimes(site: Site) -> Iterator[Problem]:
    for host in site.hosts[:1]:
        ca, before = get(host, "pki.ca_days"), get(host, "pki.renew_before_days")
        for name in ("pki.server_days", "pki.client_days"):
            days = get(host, name)
            if days is not None and ca is not None and days > ca:
                wrong = f"outlives the CA (pki_ca_days = {ca})"
                yield Problem(SITE, variable(name), repr(days), wrong, f"{ca} at most")
            if days is not None and before is not None and days <= before:
                wrong = f"is renewed on every run (pki_renew_before_days = {before})"
                yield Problem(SITE, variable(name), repr(days), wrong, f"more than {before}")


_CHECKS: tuple[Callable[[Site], Iterator[Problem]], ...] = (
    _names_and_groups,
    _agreement,
    _addresses,
    _vip_names,
    _ports,
    _alerts,
    _keys,
    _clients,
    _lifetimes,
    *STORAGE_CHECKS,
)
