"""What hosts said, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from f3s import exports, stunnel, zrepl
from f3s.fstab import NFS_TYPES, Entry, entries
from f3s.nfs import LOOPBACK
from f3s.settings.model import is_within
from f3s.system import System
from f3s.textfile import NoPlace, TextFile
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


@dataclass(frozen=True)
class Seen:
    """What is known of one host; None is unknown.

    + groups, own: what the inventory says of it already, its connection included
    + word: its name as the inventory has it, with the connector
    + view: stick, pools, datasets and mounts
    + texts: the files of TEXTS, and those that the deploy would put there, by path
    + rc: RC_VARIABLES
    + certificates: what is at the places of the deploy's, in PEM, by path
    + devd: files with rules for CARP
    """

    groups: frozenset[str]
    own: Mapping[str, object]
    word: str
    system: System | None = None
    view: HostView = NOTHING
    texts: Mapping[str, TextFile | None] = field(default_factory=dict)
    rc: Mapping[str, str | None] | None = None
    importable: tuple[str, ...] | None = None
    certificates: Mapping[str, str] | None = None
    devd: Mapping[str, TextFile] | None = None

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
class Draft:
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
