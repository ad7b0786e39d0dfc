"""The settings as tasks read them: of one host, and of the site with all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from f3s.settings import model as m
from f3s.settings.model import Job, Part, is_within

P = TypeVar("P", bound=Part)


class HostPart(Generic[P]):
    """A part of HostSettings that the hosts of one group have. Reading it on other hosts is an error, not None."""

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
    parts: Mapping[str, object]

    lan = HostPart(m.Lan, "all")
    vip = HostPart(m.Vip, "all")
    stunnel = HostPart(m.Stunnel, "all")
    pki = HostPart(m.Pki, "all")
    replace = HostPart(m.Replace, "all")
    wireguard = HostPart(m.WireGuard, "freebsd")
    usb = HostPart(m.Usb, "freebsd")
    pool = HostPart(m.Pool, "freebsd")
    enc = HostPart(m.Enc, "freebsd")
    bhyve = HostPart(m.Bhyve, "freebsd")
    zrepl = HostPart(m.Zrepl, "freebsd")
    nfs = HostPart(m.Nfs, "freebsd")
    carp = HostPart(m.Carp, "storage")
    alert = HostPart(m.Alert, "storage")
    client = HostPart(m.Client, "clients")

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
        """Whether this deploy makes a data pool on the host: it does if a disk is named."""
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

    @property
    def served_job(self) -> Job:
        """The job whose replica the standby serves: of ``nfs_dataset``, from the primary to the standby and no other.

        What is sent to a third host says nothing about the standby. f3s.settings.checks_storage makes sure that there
        is exactly one such job.
        """
        return next(
            job
            for job in self.jobs_from(self.primary)
            if job.target == self.standby.name and job.dataset == self.primary.nfs.dataset
        )

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
