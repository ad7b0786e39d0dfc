"""A site that is there already, as data: what its hosts said becomes lines of inventory.py and group_data/.

Names, places and numbers of the site are proposed where they differ from group_data/. What cannot be said as data is a
note. What a run would change is not said here: a run says so itself, before it changes anything.
"""

from __future__ import annotations

import ipaddress
import pprint
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from f3s import exports, stunnel, zrepl
from f3s.fstab import NFS_TYPES, Entry, entries
from f3s.nfs import LOOPBACK
from f3s.nfs import PORT as NFS_PORT
from f3s.settings import Job
from f3s.settings.model import is_within
from f3s.settings.values import MountPresets
from f3s.system import System
from f3s.textfile import NoPlace, TextFile, is_ours
from f3s.verify.model import NOTHING, HostView
from f3s.zfs import Dataset, key_file
from f3s.zrepl_file import job_list

EXPORTS, ZFS_EXPORTS, FSTAB, HOSTS = "/etc/exports", "/etc/zfs/exports", "/etc/fstab", "/etc/hosts"
TEXTS = {
    True: (zrepl.CONFIG, EXPORTS, ZFS_EXPORTS, stunnel.SERVER_CONFIG, FSTAB, HOSTS),
    False: (stunnel.CLIENT_CONFIG, FSTAB, HOSTS),
}
"""What is read of a FreeBSD host, and of a client."""
RC_VARIABLES = ("vm_dir", "zfskeys_datasets", "nfsuserd_enable", "nfsuserd_flags")
SNAPSHOT_TOOLS = ("sanoid", "zap", "zfs-periodic", "zfs-snapshot-mgmt", "zfsnap", "zfsnap2", "zfstools", "zxfer")
_VERSIONS = ("zrepl", "zrepl-dsh2dsh", "stunnel", "vm-bhyve", "nfs-utils", "node_exporter", *SNAPSHOT_TOOLS)
_FIXED = re.compile("(port|sec)=|(_netdev|nofail|defaults)$|x-")
"""Options of a mount that the deploy sets itself, or that say nothing."""
_DISK = re.compile(r"([a-z]+\d+)(?:[ps]\d+[a-h]?|[a-h])?")


@dataclass(frozen=True)
class Seen:
    """What is known of one host; None is unknown.

    + groups, own: what the inventory says of it already, its connection included
    + word: its name as the inventory has it, with the connector
    + view: stick, pools, datasets and mounts
    + texts: the files of TEXTS, and those that the deploy would put there, by path
    + rc: RC_VARIABLES
    """

    groups: frozenset[str]
    own: Mapping[str, object]
    word: str
    system: System | None = None
    view: HostView = NOTHING
    texts: Mapping[str, TextFile | None] = field(default_factory=dict)
    rc: Mapping[str, str | None] | None = None
    importable: tuple[str, ...] | None = None

    @property
    def freebsd(self) -> bool:
        return "freebsd" in self.groups

    def text(self, path: str) -> str:
        found = self.texts.get(path)
        return found.text if found else ""

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        return self.view.datasets or {}

    @property
    def shares(self) -> list[str]:
        """What a client mounts through its tunnel: paths on the server."""
        return [entry.source.partition(":")[2] for entry in self.tunnelled]

    @property
    def tunnelled(self) -> list[Entry]:
        found = entries(self.text(FSTAB))
        return [
            each
            for each in found
            if each.fstype in NFS_TYPES and each.source.partition(":")[0] in (LOOPBACK, "localhost")
        ]

    def received(self, dataset: str) -> bool:
        """Whether it lies in a sink."""
        roots = [job["root_fs"] for job in self.jobs() if job.get("type") == "sink" and job.get("root_fs")]
        return any(is_within(dataset, root) for root in roots)

    def jobs(self) -> list[dict[str, Any]]:
        try:
            return job_list(self.text(zrepl.CONFIG))
        except NoPlace:
            return []


@dataclass(frozen=True)
class Proposal:
    """files: text by path in the folder; report: what was found, and what is no data."""

    files: Mapping[str, str]
    report: str


@dataclass(frozen=True)
class Served:
    """What is exported to loopback: by which host, which dataset, mounted where; seen by clients below `root`."""

    host: str
    dataset: str
    mountpoint: str
    root: str


@dataclass
class _Draft:
    hosts: Mapping[str, Seen]
    defaults: Mapping[str, Mapping[str, object]]
    found: dict[str, dict[str, object]]
    notes: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, host: str, what: str, text: str) -> None:
        self.notes.append((host, what, text))

    def default(self, name: str) -> Any:
        return next((data[name] for data in self.defaults.values() if name in data), None)

    def value(self, host: str, name: str) -> Any:
        return self.found[host].get(name, self.default(name))

    @property
    def freebsd(self) -> dict[str, Seen]:
        return {name: seen for name, seen in self.hosts.items() if seen.freebsd}

    @property
    def clients(self) -> dict[str, Seen]:
        return {name: seen for name, seen in self.hosts.items() if not seen.freebsd}


def key_place(view: HostView, usual: str) -> str:
    """The folder in which key files are, by what encrypted datasets say."""
    files = [key_file(each.get("keylocation")) for each in (view.datasets or {}).values()]
    folders = [file.rpartition("/")[0] for file in files if file]
    return max(folders, key=folders.count, default=usual) or usual


def key_label(view: HostView, folder: str, usual: str) -> str:
    """The label of what is mounted there."""
    mount = view.mounts.at(folder) if view.mounts else None
    kind, _, label = mount.device.partition("/") if mount else ("", "", "")
    return label if kind == "ufs" else usual


def proposal(
    hosts: Mapping[str, Seen],
    defaults: Mapping[str, Mapping[str, object]],
    modes: Mapping[str, str] | None = None,
) -> Proposal:
    """The files for a site, and the report.

    + hosts: by name, in the order of the inventory
    + defaults: group -> the variables of its file in group_data/
    + modes: octal modes of the shared directories, where they are known
    """
    draft = _Draft(hosts, defaults, {name: {} for name in hosts})
    for name, seen in hosts.items():
        _tell(draft, name, seen)
    what = served(hosts)
    _keys(draft, what)
    primary, standby = _roles(draft, what)
    _pools(draft)
    _address(draft, primary, standby)
    _lan(draft)
    _jobs(draft, what, primary, standby)
    _nfs(draft, what, primary, standby)
    _mounts(draft, what, modes or {})
    return Proposal(_files(draft, primary, standby), _report(draft))


def served(hosts: Mapping[str, Seen]) -> Served | None:
    """What is served, told from the exports to loopback of the host that is not its replica's."""
    order = sorted(hosts, key=lambda name: "storage_primary" not in hosts[name].groups)
    for name in order:
        seen = hosts[name]
        for line in exports.lines(seen.text(EXPORTS)):
            if isinstance(line, str) or not (line.root or line.local):
                continue
            for path in line.paths:
                mount = seen.view.mounts.at(path) if seen.view.mounts else None
                origin = mount.device if mount and mount.fstype == "nullfs" else path
                for each in seen.datasets.values():
                    if each.get("mountpoint") == origin and not seen.received(each.name):
                        return Served(name, each.name, origin, path)
    return None


# -- one thing after the other --


def _tell(draft: _Draft, name: str, seen: Seen) -> None:
    """What is there, in words."""
    system, view = seen.system, seen.view
    if system is None:
        draft.note(name, "unknown", "release, packages and addresses")
    else:
        there = [f"{each} {system.packages[each]}" for each in _VERSIONS if each in system.packages]
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
        draft.note(name, "pool", f"{pool.name} {pool.health} on {', '.join(pool.vdevs)}")
    for pool_name in seen.importable or ():
        draft.note(name, "yours", f"the pool {pool_name} is on a disk and not imported: nothing is known of it")
    for dataset in seen.datasets.values():
        if dataset.encrypted and dataset.is_encryption_root:
            text = f"{dataset.name} {dataset.get('encryption')}, {'open' if dataset.key_loaded else 'closed'}"
            draft.note(name, "dataset", f"{text}, key {dataset.get('keylocation')}")
    for entry in entries(seen.text(FSTAB)):
        draft.note(name, "fstab", f"{entry.source} {entry.mountpoint} {entry.fstype} {','.join(entry.options)}")


def _keys(draft: _Draft, what: Served | None) -> None:
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


def _root(draft: _Draft, name: str, part: str, what: Served | None) -> Dataset | None:
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


def _roles(draft: _Draft, what: Served | None) -> tuple[str | None, str | None]:
    """The primary and the standby: as the inventory has them, or by what is served, and sent where."""

    def of(group: str) -> str | None:
        return next((name for name, seen in draft.hosts.items() if group in seen.groups), None)

    primary = of("storage_primary") or (what.host if what else None)
    standby = of("storage_standby")
    for push in _pushes(draft):
        if standby is None and what and (push.host, push.dataset) == (what.host, what.dataset):
            standby = push.target
    for role, name in (("primary", primary), ("standby", standby)):
        if name is None:
            draft.note("site", "unknown", f"which host is the {role}: put it into storage_{role} in inventory.py")
    return primary, standby


def _pools(draft: _Draft) -> None:
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


def _address(draft: _Draft, primary: str | None, standby: str | None) -> None:
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


def _lan(draft: _Draft) -> None:
    """Addresses on the network of the virtual IP, and on the one that replication goes over."""
    vips = {
        ipaddress.IPv4Address(str(found["vip_address"])) for found in draft.found.values() if "vip_address" in found
    }
    ends = {ipaddress.IPv4Address(push.address) for push in _pushes(draft)}
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


@dataclass(frozen=True)
class _Push:
    """A job that sends; target: the host at the other end, None where it is none of the inventory's."""

    host: str
    name: str
    dataset: str
    target: str | None
    address: str
    port: int
    job: Mapping[str, Any]


def _pushes(draft: _Draft) -> Iterator[_Push]:
    """The jobs over TCP that send one tree."""
    holders = {
        str(address.ip): name
        for name, seen in draft.freebsd.items()
        for interface in (seen.system.interfaces.values() if seen.system else ())
        for address in interface.addresses
    }
    for name, seen in draft.freebsd.items():
        for job in seen.jobs():
            connect, chosen = job.get("connect"), job.get("filesystems")
            if job.get("type") != "push" or not isinstance(connect, Mapping) or not isinstance(chosen, Mapping):
                continue
            address, _, port = str(connect.get("address", "")).rpartition(":")
            trees = [pattern.rstrip("<") for pattern, wanted in chosen.items() if wanted]
            one = len(chosen) == len(trees) == 1
            if connect.get("type") == "tcp" and port.isdigit() and _is_address(address) and one:
                yield _Push(name, job["name"], trees[0], holders.get(address), address, int(port), job)


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def _jobs(draft: _Draft, what: Served | None, primary: str | None, standby: str | None) -> None:
    """The replications between the hosts; all other jobs stay the operator's."""
    for name, seen in draft.freebsd.items():
        try:
            job_list(seen.text(zrepl.CONFIG))
        except NoPlace as error:
            draft.note(name, "unknown", f"the jobs in {zrepl.CONFIG}: {error}")
    pushes = list(_pushes(draft))
    main = next((each for each in pushes if what and (each.host, each.dataset) == (what.host, what.dataset)), None)
    prefix = _snapshotting(main).get("prefix") if main else None
    jobs: list[dict[str, object]] = []
    taken: set[tuple[str, str]] = set()
    for push in pushes:
        job, why = _as_data(draft, push, what, prefix)
        if job is None:
            draft.note(push.host, "yours", f"the job {push.name} stays as it is: {why}")
        else:
            jobs.append(job)
            draft.note(push.host, "job", f"{push.name}: {push.dataset} to {push.target} every {job['interval']}")
        taken.add((push.host, push.name))
    for name, seen in draft.freebsd.items():
        for theirs in seen.jobs():
            ours = theirs.get("type") == "sink" and any(
                push.target == name and _listens(theirs, push) for push in pushes if (push.host, push.name) in taken
            )
            if ours:
                draft.found[name]["zrepl_sink_root"] = theirs.get("root_fs")
                draft.note(name, "job", f"{theirs['name']}: the sink, into {theirs.get('root_fs')}")
            elif (name, theirs["name"]) not in taken:
                draft.note(name, "yours", f"the job {theirs['name']} ({theirs.get('type')}) stays as it is")
    if primary is None:
        return
    found = draft.found[primary]
    if main is None and what and standby:
        short = [name.partition(".")[0] for name in (primary, standby)]
        usual = draft.default("zrepl_jobs")[0]
        own_name = f"{short[0]}_to_{short[1]}_{what.dataset.rpartition('/')[2]}"
        places = {"source": primary, "target": standby, "dataset": what.dataset, "replica_mountpoint": what.mountpoint}
        jobs.insert(0, {**usual, "name": own_name, **places})
        draft.note("site", "missing", f"no job sends {what.dataset} to {standby}: {own_name} will")
    if jobs:
        found["zrepl_jobs"] = jobs
    if main:
        found |= {"zrepl_port": main.port, "zrepl_snapshot_prefix": prefix}
        rules = main.job.get("pruning", {}).get("keep_sender", ())
        for kind, key, variable in (("last_n", "count", "zrepl_keep_last"), ("grid", "grid", "zrepl_keep_grid")):
            for rule in rules:
                if rule.get("type") == kind and key in rule:
                    found[variable] = rule[key]


def _snapshotting(push: _Push) -> Mapping[str, Any]:
    said = push.job.get("snapshotting")
    return said if isinstance(said, Mapping) else {}


def _listens(sink: Mapping[str, Any], push: _Push) -> bool:
    listen = str((sink.get("serve") or {}).get("listen", ""))
    return listen in (f"{push.address}:{push.port}", f":{push.port}", f"0.0.0.0:{push.port}")


def _as_data(
    draft: _Draft, push: _Push, what: Served | None, prefix: str | None
) -> tuple[dict[str, object] | None, str]:
    """An item of zrepl_jobs, or why it cannot be one."""
    seen = draft.hosts[push.host]
    timing = _snapshotting(push)
    trees = [draft.value(push.host, f"{part}_dataset") for part in ("enc", "bhyve")]
    if push.target is None:
        return None, f"{push.address} is no host of the inventory"
    if push.dataset not in seen.datasets:
        return None, f"{push.dataset} is not there. Take it out of {zrepl.CONFIG}, where it does nothing"
    if not any(is_within(push.dataset, tree) for tree in trees):
        return None, f"{push.dataset} is not below {' or '.join(trees)}"
    if timing.get("type") != "periodic" or timing.get("prefix") != prefix:
        return None, f"its snapshots are not periodic, or do not begin with {prefix}"
    short = push.host.partition(".")[0]
    target = draft.hosts[push.target]
    roots = [job.get("root_fs") for job in target.jobs() if job.get("type") == "sink" and _listens(job, push)]
    replica = target.datasets.get(f"{roots[0]}/{short}/{push.dataset}") if roots else None
    place = replica.get("mountpoint") if replica and replica.mounted else None
    if what and push.dataset == what.dataset:
        place = what.mountpoint
    data = {
        "name": push.name,
        "source": push.host,
        "target": push.target,
        "dataset": push.dataset,
        "interval": timing.get("interval"),
        "replica_mountpoint": place,
    }
    try:
        Job.model_validate(data)
    except ValidationError as error:
        return None, "; ".join(f"{each['loc'][-1]} {each['msg']}" for each in error.errors())
    return data, ""


def _nfs(draft: _Draft, what: Served | None, primary: str | None, standby: str | None) -> None:
    if what is None:
        draft.note("site", "unknown", f"what is served: no dataset is exported to {LOOPBACK} in {EXPORTS}")
    else:
        draft.found[what.host] |= {"nfs_dataset": what.dataset, "nfs_mountpoint": what.mountpoint}
        if what.root != what.mountpoint:
            draft.found[what.host]["nfs_export"] = what.root
    for name in filter(None, (primary, standby)):
        seen, found = draft.hosts[name], draft.found[name]
        rc = seen.rc or {}
        if (rc.get("nfsuserd_enable") or "NO").upper() == "YES":
            found["nfs_owners"] = "names"
            match = re.search(r"-domain\s+(\S+)", rc.get("nfsuserd_flags") or "")
            found["nfs_idmap_domain"] = match[1] if match else name.partition(".")[2] or name
        export = draft.value(name, "nfs_export")
        mountpoint = what.mountpoint if what else draft.default("nfs_mountpoint")
        text = seen.text(EXPORTS)
        try:
            text = exports.merged(text, export, mountpoint)
        except NoPlace:
            draft.note(name, "yours", f"{EXPORTS} has a root of NFSv4 of its own: the run says what to do")
        shared = exports.others(text) + exports.others(seen.text(ZFS_EXPORTS))
        for line in shared:
            draft.note(name, "yours", f"the export `{line}` stays as it is")
        if shared:
            found["nfs_for_others"] = True
        for service, options in stunnel.services(seen.text(stunnel.SERVER_CONFIG)).items():
            ours = options.get("connect", "").rpartition(":")[2] == str(NFS_PORT)
            told = f"[{service}] accepts on {options.get('accept')}, connects to {options.get('connect')}"
            draft.note(name, "tunnel" if ours else "yours", told if ours else f"{told}: it stays as it is")


def _mounts(draft: _Draft, what: Served | None, modes: Mapping[str, str]) -> None:
    """What clients mount through their tunnel, and how."""
    shares: list[str] = []
    for name, seen in draft.clients.items():
        found = draft.found[name]
        mounts = []
        for entry, path in zip(seen.tunnelled, seen.shares, strict=True):
            below = what.mountpoint if what and is_within(path, what.mountpoint) else ""
            share = path.removeprefix(below).strip("/")
            if not share or "/" in share:
                draft.note(name, "yours", f"{entry.source} is no directory directly below the export")
                continue
            mounts.append({"share": share, "mountpoint": entry.mountpoint})
            _preset(draft, name, [each for each in entry.options if not _FIXED.match(each)])
            for option in entry.options:
                if option.startswith("port=") and what:
                    draft.found[what.host].setdefault("stunnel_port", int(option.removeprefix("port=")))
        if mounts:
            found["client_mounts"] = mounts
            shares += [each["share"] for each in mounts]
        else:
            draft.note(name, "unknown", f"what it mounts: nothing from {LOOPBACK} is in {FSTAB}")
    if what and shares:
        usual = {each["directory"]: each["mode"] for each in draft.default("nfs_shares")}
        draft.found[what.host]["nfs_shares"] = [
            {"directory": each, "mode": modes.get(each) or usual.get(each, "0755")} for each in dict.fromkeys(shares)
        ]


def _preset(draft: _Draft, name: str, options: list[str]) -> None:
    """The options of a mount as a preset, where they are more than the usual ones have."""
    usual: dict[str, str] = draft.default("client_mount_presets")
    wanted = [*options]
    wanted += [] if any(each in ("rw", "ro") for each in wanted) else ["rw"]
    wanted += [] if any(each in ("hard", "soft", "softerr") for each in wanted) else ["hard"]
    for preset, text in usual.items():
        if set(text.split(",")) == set(wanted):
            draft.found[name]["client_mount_preset"] = preset
            return
    presets = {**usual, "site": ",".join(wanted)}
    try:
        TypeAdapter(MountPresets).validate_python(presets)
    except ValidationError as error:
        draft.note(name, "yours", f"the mount options {','.join(options)}: {error.errors()[0]['msg']}")
        return
    draft.found[name] |= {"client_mount_presets": presets, "client_mount_preset": "site"}


# -- the files --


def _files(draft: _Draft, primary: str | None, standby: str | None) -> dict[str, str]:
    groups = {name: _members(draft, name, primary, standby) for name in draft.defaults}
    shared: dict[str, dict[str, object]] = {name: {} for name in draft.defaults}
    beside: dict[str, dict[str, object]] = {
        name: {key: value for key, value in seen.own.items() if key not in draft.found[name]}
        for name, seen in draft.hosts.items()
    }
    for variable in dict.fromkeys(key for found in draft.found.values() for key in found):
        home = next((group for group, data in draft.defaults.items() if variable in data), None)
        usual = draft.default(variable)
        values = {name: found[variable] for name, found in draft.found.items() if variable in found}
        inside = [values[name] for name in groups.get(home or "", ()) if name in values]
        if home and inside and all(value == inside[0] for value in inside):
            if inside[0] != usual:
                shared[home][variable] = inside[0]
            values = {name: value for name, value in values.items() if name not in groups[home]}
        for name, value in values.items():
            if home is None or value != usual:
                beside[name][variable] = value
    files = {f"group_data/{group}.py": _group_file(group, data) for group, data in shared.items() if data}
    foreign = sorted({path for name, seen in draft.hosts.items() for path in _foreign(draft, name, seen)})
    if foreign:
        text = files.get("group_data/all.py") or _group_file("all", {})
        files["group_data/all.py"] = (
            f"{text}\n# Yours, at places that this deploy needs. Look at them first (--dry --diff shows both), then "
            f"take away the #:\n# replace_files = {foreign}\n"
        )
    return {"inventory.py": _inventory(draft, beside, primary, standby), **files}


def _members(draft: _Draft, group: str, primary: str | None, standby: str | None) -> list[str]:
    match group:
        case "all":
            return list(draft.hosts)
        case "freebsd":
            return list(draft.freebsd)
        case "storage":
            return [name for name in (primary, standby) if name]
        case _:
            return list(draft.clients)


def _foreign(draft: _Draft, name: str, seen: Seen) -> Iterator[str]:
    for path, found in seen.texts.items():
        if path not in TEXTS[seen.freebsd] and found and found.text and not is_ours(found.text, path):
            draft.note(name, "yours", f"{path} is where a file of this deploy belongs: see replace_files")
            yield path


def _group_file(group: str, data: Mapping[str, object]) -> str:
    lines = [f'"""Where this site differs from group_data/{group}.py at the top of the repository: see there."""']
    return "\n".join([*lines, "", *(f"{name} = {_value(value)}" for name, value in data.items()), ""])


def _value(value: object) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)


def _inventory(
    draft: _Draft, beside: Mapping[str, Mapping[str, object]], primary: str | None, standby: str | None
) -> str:
    def group(name: str, members: Iterable[str]) -> str:
        lines = [f"    ({draft.hosts[each].word!r}, {_value(dict(beside[each]))})," for each in members]
        return "\n".join([f"{name} = [", *lines, "]"])

    def role(name: str, member: str | None) -> str:
        return f"{name} = [{draft.hosts[member].word!r}]" if member else f"{name} = []  # unknown: put the host here"

    return "\n".join(
        [
            '"""The hosts of this site, as tasks/survey.py found them; group_data/ beside it has what they share."""',
            "",
            "from bridge.settings import check_inventory",
            "",
            group("freebsd", draft.freebsd),
            role("storage_primary", primary),
            role("storage_standby", standby),
            "storage = [*storage_primary, *storage_standby]",
            group("clients", draft.clients),
            "",
            "# refuses wrong data with all its reasons, before any host is contacted",
            "check_inventory(__file__, globals())",
            "",
        ]
    )


def _report(draft: _Draft) -> str:
    short = {name: name.partition(".")[0] for name in draft.hosts}
    rows = [(short.get(host, host), what, text) for host, what, text in dict.fromkeys(draft.notes)]
    order = [*short.values(), "site"]
    rows.sort(key=lambda row: order.index(row[0]))
    width = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return "".join(f"{host:<{width[0]}}  {what:<{width[1]}}  {text}\n" for host, what, text in rows)
