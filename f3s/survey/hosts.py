"""Sticks, pools, roles and addresses."""

from __future__ import annotations

import ipaddress
import re

from f3s import stunnel
from f3s.fstab import entries
from f3s.survey.model import FSTAB, HOSTS, Draft, Seen, Served, key_label, key_place
from f3s.survey.replication import pushes
from f3s.zfs import Dataset, key_file

SNAPSHOT_TOOLS = ("sanoid", "zap", "zfs-periodic", "zfs-snapshot-mgmt", "zfsnap", "zfsnap2", "zfstools", "zxfer")
VERSIONS = ("zrepl", "zrepl-dsh2dsh", "stunnel", "vm-bhyve", "nfs-utils", "node_exporter", *SNAPSHOT_TOOLS)
_DISK = re.compile(r"([a-z]+\d+)(?:[ps]\d+[a-h]?|[a-h])?")


def tell(draft: Draft, name: str, seen: Seen) -> None:
    """What is there, in words."""
    system, view = seen.system, seen.view
    if system is None:
        draft.note(name, "unknown", "release, packages and addresses")
    else:
        there = [f"{each} {system.packages[each]}" for each in VERSIONS if each in system.packages]
        draft.note(name, "system", ", ".join([system.release, *there]))
        for each, interface in system.interfaces.items():
            words = [str(address) for address in interface.addresses]
            words += [
                f"vhid {vhid} {' '.join(carp.addresses)} {carp.state.value} advskew {carp.advskew}"
                for vhid, carp in interface.virtual_hosts.items()
            ]
            draft.note(name, "address", f"{each}: {', '.join(words)}")
        if tools := [each for each in SNAPSHOT_TOOLS if each in system.packages]:
            draft.note(name, "yours", f"{', '.join(tools)}: takes or prunes snapshots, too")
    for path in (path for path, found in seen.texts.items() if found is None):
        draft.note(name, "unknown", f"{path}: it is no readable text file")
    for what in ("pools", "datasets", "mounts") if seen.freebsd else ("linux_mounts",):
        if getattr(view, what) is None:
            draft.note(name, "unknown", what.replace("_", " "))
    for pool in (view.pools or {}).values():
        # such as blocks smaller than the disk's, which only a new pool mends
        said = f": {pool.status.status}" if pool.status.status else ""
        draft.note(name, "pool", f"{pool.name} {pool.health} on {', '.join(pool.vdevs)}{said}")
    for pool_name in seen.importable or ():
        draft.note(name, "yours", f"the pool {pool_name} is on a disk and not imported: nothing is known of it")
    for dataset in seen.datasets.values():
        if dataset.encrypted and dataset.is_encryption_root:
            text = f"{dataset.name} {dataset.get('encryption')}, {'open' if dataset.key_loaded else 'closed'}"
            draft.note(name, "dataset", f"{text}, key {dataset.get('keylocation')}")
    for entry in entries(seen.text(FSTAB)):
        draft.note(name, "fstab", f"{entry.source} {entry.mountpoint} {entry.fstype} {','.join(entry.options)}")


def keys(draft: Draft, what: Served | None) -> None:
    """The stick, and which purpose names the key of what."""
    for name, seen in draft.freebsd.items():
        found, view = draft.found[name], seen.view
        folder = key_place(view, draft.default("usb_mountpoint"))
        found["usb_mountpoint"] = folder
        mount = view.mounts.at(folder) if view.mounts else None
        found["usb_label"] = key_label(view, folder, draft.default("usb_label"))
        stick = view.stick
        if stick is None or mount is None or stick.keys is None:
            draft.note(name, "unknown", f"the stick: nothing with keys is mounted on {folder}")
        else:
            device = stick.disk or mount.device
            if match := _DISK.fullmatch(device):
                found["usb_device"] = match[1]
            label = f"label {found['usb_label']}" if mount.device.startswith("ufs/") else "no label"
            draft.note(name, "stick", f"{device} on {folder}, {label}: {', '.join(sorted(stick.keys))}")
        vm_dir = (seen.rc or {}).get("vm_dir") or ""
        if vm_dir.startswith("zfs:"):
            found["bhyve_dataset"] = vm_dir.removeprefix("zfs:")
        roots = {part: dataset for part in ("enc", "bhyve") if (dataset := _root(draft, name, part, what))}
        for part, dataset in roots.items():
            key = (key_file(dataset.get("keylocation")) or "").rpartition("/")[2].removesuffix(".key")
            owner, colon, purpose = key.partition(":")
            if part == "enc":
                found |= {"enc_dataset": dataset.name, "enc_encryption": dataset.get("encryption")}
            if not colon or owner not in draft.freebsd:
                draft.note(name, "yours", f"the key of {dataset.name} is {key or 'not a file'}, not HOST:PURPOSE")
            else:
                found[f"{part}_key"] = purpose if owner == name else key
    used = {draft.value(name, key).rpartition(":")[2] for name in draft.freebsd for key in ("enc_key", "bhyve_key")}
    for name in draft.freebsd:
        usual = draft.default("usb_purposes")
        draft.found[name]["usb_purposes"] = usual if used == set(usual) else sorted(used)


def _root(draft: Draft, name: str, part: str, what: Served | None) -> Dataset | None:
    """The encrypted tree of virtual machines, or of the data: what is served lies there, or it is right in a pool."""
    seen, machines = draft.hosts[name], draft.value(name, "bhyve_dataset")
    roots = [each for each in seen.datasets.values() if each.encrypted and each.is_encryption_root]
    if part == "bhyve":
        return next((each for each in roots if each.name == machines), None)
    if what and what.host == name:
        return seen.datasets.get(what.dataset.rpartition("/")[0])
    own = [
        each for each in roots if each.parent == each.pool and each.name != machines and not seen.received(each.name)
    ]
    own.sort(key=lambda each: each.name != draft.default("enc_dataset"))
    return own[0] if own else None


def roles(draft: Draft, what: Served | None) -> tuple[str | None, str | None]:
    """The primary and the standby: as the inventory has them, or by what is served, and sent where."""

    def of(group: str) -> str | None:
        return next((name for name, seen in draft.hosts.items() if group in seen.groups), None)

    primary = of("storage_primary") or (what.host if what else None)
    standby = of("storage_standby")
    for push in pushes(draft):
        if standby is None and what and (push.host, push.dataset) == (what.host, what.dataset):
            standby = push.target
    for role, name in (("primary", primary), ("standby", standby)):
        if name is None:
            draft.note("site", "unknown", f"which host is the {role}: put it into storage_{role} in inventory.py")
    return primary, standby


def pools(draft: Draft) -> None:
    for name, seen in draft.freebsd.items():
        found = draft.found[name]
        dataset = found.get("enc_dataset")
        if not isinstance(dataset, str):
            continue
        pool_name = dataset.partition("/")[0]
        pool, root = (seen.view.pools or {}).get(pool_name), seen.datasets.get(pool_name)
        if pool is None or root is None:
            continue
        found |= {"pool_name": pool_name, "pool_mountpoint": root.get("mountpoint")}
        disks = [match[1] for each in pool.vdevs if (match := _DISK.fullmatch(each))]
        if len(pool.vdevs) == 1 and disks:
            found["pool_disk"] = disks[0]
        else:
            draft.note(name, "unknown", f"pool_disk: {pool_name} is on {', '.join(pool.vdevs)}, which is no one disk")


def virtual_address(draft: Draft, primary: str | None, standby: str | None) -> None:
    """The virtual IP: of the two storage hosts, the vhid on whose address the tunnel accepts, or the first one."""
    for name in filter(None, (primary, standby)):
        seen, found = draft.hosts[name], draft.found[name]
        there = [
            (interface, vhid, carp)
            for interface, each in (seen.system.interfaces if seen.system else {}).items()
            for vhid, carp in each.virtual_hosts.items()
            if carp.addresses
        ]
        accepts = {value.get("accept", "") for value in stunnel.services(seen.text(stunnel.SERVER_CONFIG)).values()}
        there.sort(key=lambda one: not any(each.startswith(f"{one[2].addresses[0]}:") for each in accepts))
        if not there:
            draft.note(name, "unknown", "the virtual IP: no interface has a vhid with an address")
            continue
        interface, vhid, carp = there[0]
        address = carp.addresses[0]
        found |= {"carp_interface": interface, "carp_vhid": vhid, "carp_advbase": carp.advbase, "vip_address": address}
        found["carp_other_vhids"] = sorted(other for _, other, _ in there[1:])
        ports = [each.rpartition(":")[2] for each in accepts if each.startswith(f"{address}:")]
        if ports and ports[0].isdigit():
            found["stunnel_port"] = int(ports[0])
        lines = (line.partition("#")[0].split() for line in seen.text(HOSTS).splitlines())
        if names := [word for words in lines if words[:1] == [address] for word in words[1:]]:
            found["vip_names"] = list(dict.fromkeys(names))


def networks(draft: Draft) -> None:
    """Addresses on the network of the virtual IP, and on the one that replication goes over."""
    vips = {
        ipaddress.IPv4Address(str(found["vip_address"])) for found in draft.found.values() if "vip_address" in found
    }
    ends = {ipaddress.IPv4Address(push.address) for push in pushes(draft)}
    for name, seen in draft.hosts.items():
        found = draft.found[name]
        there = {
            each: address
            for each, interface in (seen.system.interfaces if seen.system else {}).items()
            for address in interface.addresses
        }
        tunnels = {each: one for each, one in there.items() if any(end in one.network for end in ends)}
        tunnels = tunnels or {each: one for each, one in there.items() if each.startswith("wg")}
        rest = [one for each, one in there.items() if each not in tunnels]
        near = [one for one in rest if any(vip in one.network for vip in vips)]
        near = near or (rest if len(rest) == 1 else [])
        for prefix, choice in (("lan", near), ("wireguard", list(tunnels.values()))):
            if prefix == "wireguard" and not seen.freebsd:
                continue
            if choice:
                found |= {f"{prefix}_address": str(choice[0].ip), f"{prefix}_network": str(choice[0].network)}
            else:
                draft.note(name, "unknown", f"{prefix}_address")
