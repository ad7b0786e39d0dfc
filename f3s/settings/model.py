"""The settings of a site as tasks read them: one part for each prefix of the group data.

The variable ``carp_vhid`` of inventory.py or group_data/ is ``host.carp.vhid`` here; every field of every
part below is written the same way. What a field means is said in group_data/, where people edit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, overload

from pydantic import BaseModel, ConfigDict

from f3s.settings import rules as r


class Part(BaseModel):
    """All variables that begin with one prefix."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Lan(Part):
    address: r.Address
    network: r.Network


class WireGuard(Part):
    address: r.Address
    network: r.Network


class Vip(Part):
    address: r.Address
    names: Annotated[tuple[r.HostName, ...], r.many("host names", at_least=1)]


class Usb(Part):
    device: r.Device
    label: r.UfsLabel
    mountpoint: r.Mountpoint
    purposes: Annotated[tuple[r.Purpose, ...], r.many("key purposes", at_least=1)]
    format_allow: Annotated[tuple[r.Device, ...], r.many("devices")] = ()


class Pool(Part):
    name: r.PoolName
    mountpoint: r.Mountpoint
    disk: r.OptionalDevice = None
    disk_serial: r.Serial = None
    disk_model: r.Serial = None
    autotrim: r.Flag
    failmode: Annotated[Literal["wait", "continue", "panic"], r.one_of("wait", "continue", "panic")]
    scrub: r.Flag
    scrub_threshold_days: r.Days


class Enc(Part):
    dataset: r.Dataset
    encryption: r.Encryption
    key: r.Key


class Bhyve(Part):
    dataset: r.Dataset
    old_dataset: r.Dataset
    key: r.Key
    snapshot: r.SnapshotName
    stop_timeout: r.Seconds
    destroy_old: Annotated[tuple[r.HostName, ...], r.many("host names")] = ()


class Job(BaseModel):
    """One dataset that zrepl pushes from one host to another."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: r.JobName
    source: r.HostName
    target: r.HostName
    dataset: r.Dataset
    interval: r.Duration
    replica_mountpoint: r.OptionalMountpoint = None

    @property
    def interval_seconds(self) -> int:
        return r.duration_seconds(self.interval)


class Zrepl(Part):
    jobs: Annotated[tuple[Job, ...], r.many("jobs")]
    sink_root: r.Dataset
    port: r.Port
    metrics_port: r.Port
    snapshot_prefix: r.SnapshotName
    keep_last: Annotated[int, r.whole(1, 100000)]
    keep_grid: r.Grid
    first_replication_timeout: r.Seconds
    rollback_replicas: Annotated[tuple[r.JobName, ...], r.many("job names")] = ()


class Carp(Part):
    interface: r.Interface
    # ifconfig: "vhid must be greater than 0 and less than 255" (observed on 13.2)
    vhid: Annotated[int, r.whole(1, 254)]
    advbase: Annotated[int, r.whole(1, 255, "seconds")]
    advskew: Annotated[int, r.whole(0, 254, "1/256 seconds")]
    password: r.CarpPassword = None


class Share(BaseModel):
    """One directory below the NFSv4 root that clients mount."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    directory: r.FileName
    mode: r.Mode


class Nfs(Part):
    port: r.Port
    dataset: r.Dataset
    mountpoint: r.Mountpoint
    shares: Annotated[tuple[Share, ...], r.many("shares", at_least=1)]
    marker: r.FileName
    failback_block: r.FileName
    owners: Annotated[Literal["numeric", "names"], r.one_of("numeric", "names")]
    idmap_domain: r.HostName

    @property
    def marker_path(self) -> str:
        return f"{self.mountpoint}/{self.marker}"

    @property
    def failback_block_path(self) -> str:
        return f"{self.mountpoint}/{self.failback_block}"


class Stunnel(Part):
    port: r.Port


class Pki(Part):
    directory: r.Directory
    extra_clients: Annotated[tuple[r.HostName, ...], r.many("host names")]
    ca_days: r.Days
    server_days: r.Days
    client_days: r.Days
    renew_before_days: r.Days


class Mount(BaseModel):
    """One share and the place where a client mounts it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    share: r.FileName
    mountpoint: r.Mountpoint


class Client(Part):
    mounts: Annotated[tuple[Mount, ...], r.many("mounts", at_least=1)]
    mount_presets: r.MountPresets
    mount_preset: r.Label
    monitor_interval: r.Seconds
    stat_timeout: r.Seconds
    unmount_timeout: r.Seconds
    mount_timeout: r.Seconds
    metrics_file: r.OptionalPath = None
    escalate_after: Annotated[int, r.whole(0, 100000, "failed checks (0 = never)")] = 0
    escalate_command: r.OptionalPath = None

    @property
    def mount_options(self) -> tuple[str, ...]:
        """The options of the chosen preset, in the order in which they are written."""
        return tuple(self.mount_presets[self.mount_preset].split(","))


P = TypeVar("P", bound=Part)


class HostPart(Generic[P]):
    """A part of HostSettings that the hosts of one group have; elsewhere reading it is an error, not None."""

    def __init__(self, model: type[P], group: str) -> None:
        self.model = model
        self.group = group

    def __set_name__(self, owner: type[HostSettings], name: str) -> None:
        self.prefix = name

    @overload
    def __get__(self, host: None, owner: type[HostSettings]) -> HostPart[P]: ...
    @overload
    def __get__(self, host: HostSettings, owner: type[HostSettings]) -> P: ...
    def __get__(self, host: HostSettings | None, owner: type[HostSettings]) -> HostPart[P] | P:
        if host is None:
            return self
        part = host.parts.get(self.prefix)
        if not isinstance(part, self.model):
            raise LookupError(
                f"{host.name} has no {self.prefix}_ settings: they belong to the hosts of group {self.group}"
            )
        return part


@dataclass(frozen=True)
class HostSettings:
    """Everything that tasks need to know about one host.

    + name: its name in the inventory
    + groups: the inventory groups it is in
    """

    name: str
    groups: frozenset[str]
    parts: Mapping[str, Part]

    lan = HostPart(Lan, "all")
    vip = HostPart(Vip, "all")
    stunnel = HostPart(Stunnel, "all")
    pki = HostPart(Pki, "all")
    wireguard = HostPart(WireGuard, "freebsd")
    usb = HostPart(Usb, "freebsd")
    pool = HostPart(Pool, "freebsd")
    enc = HostPart(Enc, "freebsd")
    bhyve = HostPart(Bhyve, "freebsd")
    zrepl = HostPart(Zrepl, "freebsd")
    nfs = HostPart(Nfs, "freebsd")
    carp = HostPart(Carp, "storage")
    client = HostPart(Client, "clients")

    @property
    def short_name(self) -> str:
        """The first label of the name; zrepl calls the host this (its client identity)."""
        return self.name.split(".", 1)[0]

    @property
    def is_freebsd(self) -> bool:
        return "freebsd" in self.groups

    @property
    def is_storage(self) -> bool:
        return "storage" in self.groups

    @property
    def is_primary(self) -> bool:
        return "storage_primary" in self.groups

    @property
    def is_standby(self) -> bool:
        return "storage_standby" in self.groups

    @property
    def is_client(self) -> bool:
        return "clients" in self.groups

    @property
    def has_pool(self) -> bool:
        """Whether this deploy makes a data pool on the host: it does where a disk is named."""
        return self.is_freebsd and self.pool.disk is not None

    def key_name(self, key: str) -> str:
        """The full name of a key: ``zdata`` is the host's own, ``HOST:zdata``; ``OTHER:zdata`` stays."""
        return key if ":" in key else f"{self.name}:{key}"

    def key_file(self, key: str) -> str:
        """The path of a key on the stick, as every FreeBSD host sees it."""
        return f"{self.usb.mountpoint}/{self.key_name(key)}.key"

    def key_location(self, key: str) -> str:
        """The key's ``keylocation`` for ZFS."""
        return f"file://{self.key_file(key)}"

    def key_of(self, dataset: str) -> str:
        """The full name of the key that encrypts ``dataset`` on this host.

        Raises LookupError for a dataset that is below neither ``enc_dataset`` nor ``bhyve_dataset``.
        """
        for tree in (self.enc, self.bhyve):
            if is_within(dataset, tree.dataset):
                return self.key_name(tree.key)
        raise LookupError(f"{dataset} is not below {self.enc.dataset} or {self.bhyve.dataset} of {self.name}")


def is_within(path: str, parent: str) -> bool:
    """Whether a dataset or path is ``parent`` or below it."""
    return path == parent or path.startswith(f"{parent}/")


def host_parts() -> dict[str, HostPart[Any]]:
    """The parts of HostSettings by prefix."""
    return {name: part for name, part in vars(HostSettings).items() if isinstance(part, HostPart)}


@dataclass(frozen=True)
class Site:
    """All hosts of the inventory, in its order."""

    hosts: tuple[HostSettings, ...]

    def host(self, name: str) -> HostSettings:
        """Raises LookupError for a name that the inventory does not have."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LookupError(f"no host {name} in the inventory")

    @property
    def freebsd_hosts(self) -> tuple[HostSettings, ...]:
        return tuple(host for host in self.hosts if host.is_freebsd)

    @property
    def storage_hosts(self) -> tuple[HostSettings, ...]:
        """The primary, then the standby."""
        return (self.primary, self.standby)

    @property
    def clients(self) -> tuple[HostSettings, ...]:
        return tuple(host for host in self.hosts if host.is_client)

    @property
    def primary(self) -> HostSettings:
        return next(host for host in self.hosts if host.is_primary)

    @property
    def standby(self) -> HostSettings:
        return next(host for host in self.hosts if host.is_standby)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of all keys that belong on every stick, without ``.key``, sorted."""
        return tuple(sorted(host.key_name(purpose) for host in self.freebsd_hosts for purpose in host.usb.purposes))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All replication jobs."""
        return self.primary.zrepl.jobs

    def jobs_from(self, host: HostSettings) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.source == host.name)

    def jobs_to(self, host: HostSettings) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.target == host.name)

    def replica(self, job: Job) -> str:
        """The dataset on the target in which a job's replica arrives: SINK_ROOT/CLIENT_IDENTITY/DATASET."""
        return f"{self.host(job.target).zrepl.sink_root}/{self.host(job.source).short_name}/{job.dataset}"

    def replica_key_location(self, job: Job) -> str:
        """The ``keylocation`` with which the target opens a job's replica: the source's key."""
        return self.host(job.target).key_location(self.host(job.source).key_of(job.dataset))
