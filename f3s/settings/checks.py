"""Checks that need more than one value: of one host, of two hosts, of the whole site.

A value that its own rule refused is not there any more; a check that needs it is left out, so that each
mistake is reported once.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from f3s.settings.model import HostSettings, Job, Site, is_within
from f3s.settings.problems import HIDDEN, SITE, Problem
from f3s.settings.rules import HOST_NAME_RULE

GROUPS = ("storage_primary", "storage_standby", "storage", "freebsd", "clients")

SAME_EVERYWHERE = {
    "lan": ("network",),
    "wireguard": ("network",),
    "vip": ("address", "names"),
    "stunnel": ("port",),
    "usb": ("label", "mountpoint", "purposes"),
    "nfs": ("port", "dataset", "mountpoint", "shares", "marker", "failback_block", "owners", "idmap_domain"),
    "zrepl": ("jobs", "port", "snapshot_prefix"),
    "carp": ("vhid", "advbase", "password"),
    "pki": ("directory", "extra_clients", "ca_days", "server_days", "client_days", "renew_before_days"),
}
"""What hosts must agree on, by prefix: a share, a password or a job that only one end knows is of no use."""


def check_site(site: Site) -> Iterator[Problem]:
    """Every problem that only shows when several values are seen together."""
    for check in _CHECKS:
        yield from check(site)


def _get(host: HostSettings, name: str) -> Any:
    """The value of ``prefix.field``; None when it is not set, was refused, or is not for this host."""
    prefix, field = name.split(".")
    return getattr(host.parts.get(prefix), field, None)


def _variable(name: str) -> str:
    return name.replace(".", "_", 1)


def _jobs(site: Site) -> tuple[Job, ...]:
    """The jobs of the first host that has any: a host that says otherwise is reported by _agreement."""
    return next((jobs for host in site.hosts if (jobs := _get(host, "zrepl.jobs")) is not None), ())


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
                yield Problem(
                    host.name,
                    f"{prefix}_{field}",
                    HIDDEN if secret else repr(value),
                    f"differs from that of {first.name}",
                    "the same on both" if secret else repr(expected),
                )


def _addresses(site: Site) -> Iterator[Problem]:
    for prefix in ("lan", "wireguard"):
        holders: dict[str, str] = {}
        for host in site.hosts:
            address, network = _get(host, f"{prefix}.address"), _get(host, f"{prefix}.network")
            if address is None:
                continue
            variable = f"{prefix}_address"
            if address in holders:
                wrong = f"is the address of {holders[address]}, too"
                yield Problem(host.name, variable, repr(address), wrong, "an address of the host's own")
            holders.setdefault(address, host.name)
            if network is not None and (reason := _not_usable(address, network)):
                yield Problem(host.name, variable, repr(address), reason, f"a host address of {network}")
    lan_hosts = {_get(host, "lan.address"): host.name for host in reversed(site.hosts)}
    for host in site.hosts[:1]:
        vip, network = _get(host, "vip.address"), _get(host, "lan.network")
        if vip is not None and vip in lan_hosts:
            wrong = f"is the lan_address of {lan_hosts[vip]}"
            yield Problem(SITE, "vip_address", repr(vip), wrong, "an address that no host has")
        if vip is not None and network is not None and (reason := _not_usable(vip, network)):
            yield Problem(SITE, "vip_address", repr(vip), reason, f"a host address of {network}")
    for host in site.freebsd_hosts[:1]:
        lan, wireguard = _get(host, "lan.network"), _get(host, "wireguard.network")
        if lan and wireguard and ipaddress.IPv4Network(lan).overlaps(ipaddress.IPv4Network(wireguard)):
            yield Problem(SITE, "wireguard_network", repr(wireguard), f"overlaps lan_network {lan}", "one apart")


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
        for name in _get(host, "vip.names") or ():
            if name in hosts:
                yield Problem(SITE, "vip_names", repr(name), "is the name of a host", "names that no host has")
        for name in _get(host, "pki.extra_clients") or ():
            if name in hosts:
                wrong = "is a host of the inventory, which gets its certificate anyway"
                yield Problem(SITE, "pki_extra_clients", repr(name), wrong, "names that no host has")


def _carp(site: Site) -> Iterator[Problem]:
    primary = next((host for host in site.hosts if host.is_primary), None)
    standby = next((host for host in site.hosts if host.is_standby), None)
    if primary is None or standby is None or primary is standby:
        return
    low, high = _get(primary, "carp.advskew"), _get(standby, "carp.advskew")
    if low is not None and high is not None and low >= high:
        wrong = f"is not below the {high} of the standby {standby.name}"
        yield Problem(primary.name, "carp_advskew", repr(low), wrong, "the lower number on the primary")
    if high == 254:
        wrong = "leaves no room below the 254 with which `carp backup` gives the address away"
        yield Problem(standby.name, "carp_advskew", repr(high), wrong, "253 at most on the standby")


def _ports(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts:
        holders: dict[int, str] = {}
        for name in ("stunnel.port", "nfs.port", "zrepl.port", "zrepl.metrics_port"):
            port = _get(host, name)
            if port is None:
                continue
            if port in holders:
                wrong = f"is {holders[port]}, too"
                yield Problem(host.name, _variable(name), repr(port), wrong, "a port of its own")
            holders.setdefault(port, _variable(name))


def _keys(site: Site) -> Iterator[Problem]:
    hosts = sorted(host.name for host in site.freebsd_hosts)
    for host in site.freebsd_hosts:
        purposes = _get(host, "usb.purposes")
        for name in ("enc.key", "bhyve.key"):
            key = _get(host, name)
            if key is None:
                continue
            owner, purpose = host.key_name(key).split(":", 1)
            if owner not in hosts:
                wrong = f"names the host {owner}, which is not a FreeBSD host of the inventory"
                yield Problem(host.name, _variable(name), repr(key), wrong, " or ".join(hosts))
            if purposes is not None and purpose not in purposes:
                wrong = f"has the purpose {purpose}, which usb_purposes does not name"
                yield Problem(host.name, _variable(name), repr(key), wrong, " or ".join(purposes))
        enc, bhyve = _get(host, "enc.key"), _get(host, "bhyve.key")
        if enc is not None and bhyve is not None and host.key_name(enc) == host.key_name(bhyve):
            yield Problem(host.name, "bhyve_key", repr(bhyve), "is enc_key, too", "a key of its own")


def _disks(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts:
        stick, disk = _get(host, "usb.device"), _get(host, "pool.disk")
        if disk is not None and disk == stick:
            yield Problem(host.name, "pool_disk", repr(disk), "is usb_device, too", "another disk")
        if host.is_storage and "pool" in host.parts and getattr(host.pool, "disk", "refused") is None:
            wrong = "is missing on a storage host"
            yield Problem(host.name, "pool_disk", "None", wrong, "the name of the data disk, such as ada1")
        for device in _get(host, "usb.format_allow") or ():
            if disk is not None and device == disk:
                yield Problem(host.name, "usb_format_allow", repr(device), "is pool_disk", "a key stick")


def _datasets(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts:
        pool, enc = _get(host, "pool.name"), _get(host, "enc.dataset")
        nfs, sink = _get(host, "nfs.dataset"), _get(host, "zrepl.sink_root")
        bhyve, old = _get(host, "bhyve.dataset"), _get(host, "bhyve.old_dataset")
        if pool and enc and not is_within(enc, pool):
            yield Problem(host.name, "enc_dataset", repr(enc), "is not in the data pool", f"below {pool}")
        if enc and nfs and (nfs == enc or not is_within(nfs, enc)):
            yield Problem(host.name, "nfs_dataset", repr(nfs), "would not be encrypted", f"below {enc}")
        if bhyve and old and (is_within(old, bhyve) or is_within(bhyve, old)):
            wrong = f"and bhyve_dataset {bhyve} lie in one another"
            yield Problem(host.name, "bhyve_old_dataset", repr(old), wrong, f"a dataset beside {bhyve}")
        if bhyve and old and old.split("/")[0] != bhyve.split("/")[0]:
            wrong = "is in another pool, where a rename cannot put it"
            yield Problem(host.name, "bhyve_old_dataset", repr(old), wrong, f"in {bhyve.split('/')[0]}")
        if enc and bhyve and (is_within(enc, bhyve) or is_within(bhyve, enc)):
            wrong = f"and enc_dataset {enc} lie in one another"
            yield Problem(host.name, "bhyve_dataset", repr(bhyve), wrong, f"a dataset outside {enc}")
        for name, tree in (("enc_dataset", enc), ("bhyve_dataset", bhyve)):
            if sink and tree and (is_within(sink, tree) or is_within(tree, sink)):
                wrong = f"and {name} {tree} lie in one another"
                yield Problem(host.name, "zrepl_sink_root", repr(sink), wrong, f"a dataset outside {tree}")


def _zrepl_jobs(site: Site) -> Iterator[Problem]:
    jobs = _jobs(site)
    hosts = {host.name: host for host in site.freebsd_hosts}
    for index, job in enumerate(jobs):
        where = f"zrepl_jobs[{job.name}]"
        if any(job.name == other.name for other in jobs[:index]):
            yield Problem(SITE, f"{where}.name", repr(job.name), "is the name of two jobs", "one name for each job")
        for end, name in (("source", job.source), ("target", job.target)):
            if name not in hosts:
                wrong = "is not a FreeBSD host of the inventory"
                yield Problem(SITE, f"{where}.{end}", repr(name), wrong, " or ".join(sorted(hosts)))
        if job.source == job.target:
            yield Problem(SITE, f"{where}.target", repr(job.target), "is the source, too", "another host")
        for other in jobs[:index]:
            if (other.source, other.target, other.dataset) == (job.source, job.target, job.dataset):
                wrong = f"goes from the same source to the same target in {other.name}"
                yield Problem(SITE, f"{where}.dataset", repr(job.dataset), wrong, "one job for it")
        if source := hosts.get(job.source):
            trees = [tree for name in ("enc.dataset", "bhyve.dataset") if (tree := _get(source, name))]
            if len(trees) == 2 and not any(is_within(job.dataset, tree) for tree in trees):
                wrong = "would not be encrypted, and only encrypted datasets are sent"
                yield Problem(SITE, f"{where}.dataset", repr(job.dataset), wrong, f"below {' or '.join(trees)}")
        if (target := hosts.get(job.target)) and "pool" in target.parts:
            sink, pool = _get(target, "zrepl.sink_root"), _get(target, "pool.name")
            if sink and pool and is_within(sink, pool) and getattr(target.pool, "disk", "refused") is None:
                wrong = f"has no pool {pool} for the sink {sink}: its pool_disk is not set"
                yield Problem(SITE, f"{where}.target", repr(job.target), wrong, "a host with a pool_disk")
    names = [job.name for job in jobs]
    for host in site.freebsd_hosts[:1]:
        for name in _get(host, "zrepl.rollback_replicas") or ():
            if name not in names:
                wrong = "is not the name of a job"
                yield Problem(SITE, "zrepl_rollback_replicas", repr(name), wrong, " or ".join(names) or "none")


def _bhyve_switch(site: Site) -> Iterator[Problem]:
    hosts = sorted(host.name for host in site.freebsd_hosts)
    named = {name for host in site.freebsd_hosts for name in _get(host, "bhyve.destroy_old") or ()}
    for name in sorted(named - set(hosts)):
        wrong = "is not a FreeBSD host of the inventory"
        yield Problem(SITE, "bhyve_destroy_old", repr(name), wrong, " or ".join(hosts))


def _mountpoints(site: Site) -> Iterator[Problem]:
    jobs = _jobs(site)
    for host in site.freebsd_hosts:
        stick, pool = _get(host, "usb.mountpoint"), _get(host, "pool.mountpoint")
        taken = {pool: "pool_mountpoint", stick: "usb_mountpoint"}
        if stick and pool and (is_within(stick, pool) or is_within(pool, stick)):
            wrong = f"and pool_mountpoint {pool} lie in one another"
            yield Problem(host.name, "usb_mountpoint", repr(stick), wrong, "a directory outside the pool")
        nfs = _get(host, "nfs.mountpoint")
        if nfs in taken:
            wrong = f"is {taken[nfs]}, too"
            yield Problem(host.name, "nfs_mountpoint", repr(nfs), wrong, "a directory of its own")
        taken.setdefault(nfs, "nfs_mountpoint")
        for job in jobs:
            path = job.replica_mountpoint
            if job.target != host.name or path is None:
                continue
            serves = job.dataset == _get(host, "nfs.dataset") and host.is_storage
            if path in taken and not (taken[path] == "nfs_mountpoint" and serves):
                wrong = f"is {taken[path]} of {host.name}, too"
                where = f"zrepl_jobs[{job.name}].replica_mountpoint"
                yield Problem(SITE, where, repr(path), wrong, "a directory of its own, or None")
            taken[path] = f"the replica_mountpoint of {job.name}"


def _clients(site: Site) -> Iterator[Problem]:
    shares = next((s for host in site.freebsd_hosts if (s := _get(host, "nfs.shares")) is not None), None)
    for host in site.clients:
        presets, preset = _get(host, "client.mount_presets"), _get(host, "client.mount_preset")
        if presets is not None and preset is not None and preset not in presets:
            wrong = "is not a preset"
            yield Problem(host.name, "client_mount_preset", repr(preset), wrong, " or ".join(presets))
        paths: set[str] = set()
        for index, mount in enumerate(_get(host, "client.mounts") or ()):
            if shares is not None and mount.share not in [share.directory for share in shares]:
                known = " or ".join(share.directory for share in shares)
                where = f"client_mounts[{index}].share"
                yield Problem(host.name, where, repr(mount.share), "is not a directory of nfs_shares", known)
            if mount.mountpoint in paths:
                where = f"client_mounts[{index}].mountpoint"
                yield Problem(host.name, where, repr(mount.mountpoint), "is used twice", "one mount a directory")
            paths.add(mount.mountpoint)
        after, command = _get(host, "client.escalate_after"), _get(host, "client.escalate_command")
        if after and command is None and "escalate_command" in host.parts["client"].model_fields_set:
            yield Problem(
                host.name,
                "client_escalate_command",
                "None",
                f"is missing, with client_escalate_after = {after}",
                "a path",
            )


def _nfs_files(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts[:1]:
        names = [share.directory for share in _get(host, "nfs.shares") or ()]
        for field in ("nfs.marker", "nfs.failback_block"):
            name = _get(host, field)
            if name in names:
                wrong = "is the name of another file or share in nfs_mountpoint"
                yield Problem(SITE, _variable(field), repr(name), wrong, "a name of its own")
            if name is not None:
                names.append(name)
        for name, count in sorted(Counter(share.directory for share in _get(host, "nfs.shares") or ()).items()):
            if count > 1:
                yield Problem(SITE, "nfs_shares", repr(name), f"is there {count} times", "each directory once")


def _lifetimes(site: Site) -> Iterator[Problem]:
    for host in site.hosts[:1]:
        ca, before = _get(host, "pki.ca_days"), _get(host, "pki.renew_before_days")
        for name in ("pki.server_days", "pki.client_days"):
            days = _get(host, name)
            if days is not None and ca is not None and days > ca:
                wrong = f"outlives the CA (pki_ca_days = {ca})"
                yield Problem(SITE, _variable(name), repr(days), wrong, f"{ca} at most")
            if days is not None and before is not None and days <= before:
                wrong = f"is renewed on every run (pki_renew_before_days = {before})"
                yield Problem(SITE, _variable(name), repr(days), wrong, f"more than {before}")


_CHECKS: tuple[Callable[[Site], Iterator[Problem]], ...] = (
    _names_and_groups,
    _agreement,
    _addresses,
    _vip_names,
    _carp,
    _ports,
    _keys,
    _disks,
    _datasets,
    _zrepl_jobs,
    _bhyve_switch,
    _mountpoints,
    _nfs_files,
    _clients,
    _lifetimes,
)
