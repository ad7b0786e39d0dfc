"""The shipped site with everything right, to be broken by a test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from f3s.carp import CarpState, CarpView, Rivals, VirtualHost
from f3s.clock import Offset
from f3s.controller import CLAIMS, Status, role, served_dataset, wanted_services, wanted_values
from f3s.fstab import Entry
from f3s.keycheck import KeyCheck
from f3s.keys import KeyFile, Stick
from f3s.monitor import MountState
from f3s.mounts import Mount, MountTable
from f3s.pki.certificates import Finding
from f3s.pki.certificates import State as PkiState
from f3s.replication import sent
from f3s.secretfile import SecretState
from f3s.settings import HostSettings, Site
from f3s.sockets import Listener
from f3s.stunnel import secret_files
from f3s.verify.model import ClusterView, HostView, Row, State
from f3s.verify.report import rows
from f3s.verify.storage import key_tests, wanted_keys, wanted_mounts
from f3s.verify.tls import Outcome, TlsAnswer
from f3s.zfs import DATASET_PROPERTIES, Dataset, Marks, Pool, PoolStatus, Property, Snapshot
from f3s.zrepl import host_config
from tests.f3s.settings_data import F0, F1, F2, R0, build, good

SITE: Site = build(good())
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
FEDORA = "zroot/bhyve/fedora"
DISK = f"{FEDORA}/disk0"
FEDORA_REPLICA = f"zdata/sink/f0/{FEDORA}"
DISK_REPLICA = f"zdata/sink/f0/{DISK}"
BHYVE_KEY = f"file:///keys/{F0}:bhyve.key"
NFS = "zdata/enc/nfsdata"
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
SERVER = "ab" * 32
ETHER = {F0: "52:54:00:00:01:30", F1: "52:54:00:00:01:31"}
__all__ = ["F0", "F1", "F2", "NFS", "NOW", "R0", "REPLICA", "SITE", "changed", "dataset", "one", "right_cluster"]


def dataset(name: str, root: str | None, keylocation: str = "none", **properties: str) -> Dataset:
    """A file system; root: its encryption root, None: not encrypted."""
    values = dict.fromkeys(DATASET_PROPERTIES, "-")
    values |= {"type": "filesystem", "written": "0", "encryption": "aes-256-gcm" if root else "off"}
    values |= {"encryptionroot": root or "-", "keystatus": "available" if root else "-", "keylocation": keylocation}
    return Dataset(name, {key: Property(value, "local") for key, value in (values | properties).items()})


def stick() -> Stick:
    keys = {name: KeyFile(name, 32, "400", "root:wheel", f"{index:064x}") for index, name in enumerate(SITE.key_names)}
    return Stick("da0", Mount("ufs/F3S_KEYS", "/keys", "ufs", frozenset({"ro"})), None, keys, ())


def pool(name: str, health: str = "ONLINE", **status: Any) -> Pool:
    """A pool; status: fields of PoolStatus that differ from those of one that is well."""
    return Pool(name, health, "1", 1, 1, {}, replace(PoolStatus(errors="No known data errors"), **status))


def snapshots(present: Mapping[str, Sequence[str]]) -> tuple[Snapshot, ...]:
    """Those of datasets by their short names, oldest first. What has the same name on both hosts is the same."""
    return tuple(
        Snapshot(f"{name}@{short}", short, number, number)
        for name, shorts in present.items()
        for number, short in enumerate(shorts, 1)
    )


def secrets(host: HostSettings) -> dict[str, SecretState]:
    """The files of the tunnel as the deploy puts them."""
    return {path: SecretState("400", "stunnel", "stunnel", digest(name)) for path, name in secret_files(host).items()}


def digest(name: str) -> str:
    """The SHA-256 of a file of the secrets folder."""
    return hashlib.sha256(name.encode()).hexdigest()


def _datasets(host: HostSettings) -> dict[str, Dataset]:
    found = {host.bhyve.dataset: dataset(host.bhyve.dataset, host.bhyve.dataset)}
    for name, location in wanted_keys(SITE, host, found).items():
        found[name] = dataset(name, name, location)
    if host.is_primary:
        found[FEDORA] = dataset(FEDORA, host.bhyve.dataset)
    for job in SITE.jobs_to(host):
        found.setdefault(
            SITE.replica(job),
            dataset(SITE.replica(job), SITE.replica(job), SITE.replica_key_location(job), keystatus="unavailable"),
        )
    if host.is_primary:
        found[DISK] = dataset(DISK, host.bhyve.dataset)
    if host.is_standby:
        found[DISK_REPLICA] = dataset(DISK_REPLICA, DISK_REPLICA, BHYVE_KEY, keystatus="unavailable")
    return found


def _snapshots(host: HostSettings) -> tuple[Snapshot, ...]:
    names = {(job, *pair) for job in SITE.jobs for pair in sent(job.dataset, SITE.replica(job), [DISK]).items()}
    out = [(name, name) for job, name, _ in names if job.source == host.name]
    received = [(replica, name) for job, name, replica in names if job.target == host.name]
    return tuple(
        Snapshot(f"{name}@zrepl_{age}", f"{of} {age}", SECONDS - age, SECONDS - age)
        for name, of in sorted(out + received)
        for age in (120, 60, 20)
    )


def freebsd_view(host: HostSettings) -> HostView:
    names = [*(wanted_services(host) if host.is_storage else ()), "zrepl"]
    datasets = _datasets(host)
    nowhere = ClusterView(SITE, {}, NOW)
    mounts = tuple(
        Mount(name, point, "zfs", frozenset({"ro" if read_only else "rw"}))
        for point, (name, read_only) in wanted_mounts(nowhere, host).items()
    )
    view = HostView(
        now=SECONDS,
        clock=Offset(0.4, 1.0),
        stick=stick(),
        pools={name: pool(name) for name in ["zroot", "zdata"]},
        datasets=datasets,
        snapshots=_snapshots(host),
        key_checks=dict.fromkeys(key_tests(SITE, host, datasets, None), KeyCheck.FITS),
        mounts=MountTable(mounts, {}),
        written={name: 0 for name in datasets if name.startswith("zdata/sink/f0/")},
        running=dict.fromkeys(names, True),
        marks=Marks((), {}),
        configured_jobs=tuple(job["name"] for job in (host_config(host, SITE) or {"jobs": ()})["jobs"]),
        jobs={job.name: None for job in SITE.jobs_from(host)},
    )
    if not host.is_storage:
        return view
    return replace(
        view,
        rivals=Rivals(0, ETHER[host.name], frozenset({"00:00:5e:00:01:01", *ETHER.values()})),
        carp=carp(CarpState.MASTER if host.is_primary else CarpState.BACKUP, host),
        controller=Status(
            started=True,
            right=True,
            carp=CarpState.MASTER if host.is_primary else CarpState.BACKUP,
            ready=True,
            reason=f"serves {served_dataset(host, SITE)}",
            fsid_number=host.nfs.fsid,
            writer=SITE.primary.short_name,
            proven=host.is_primary,
            decision="ready since 2026-03-01 10:00:00",
            values=wanted_values(host, SITE),
        ),
        listeners=listeners(host),
        secrets=secrets(host),
        stale=(),
        entries={host.nfs.marker: "file", host.nfs.failback_block: "absent"},
    )


def listeners(host: HostSettings) -> tuple[Listener, ...]:
    """What a storage host has that is ready."""
    return (
        Listener("stunnel", 3729, "tcp4", host.vip.address, host.stunnel.port),
        Listener("stunnel", 3729, "tcp4", "127.0.0.1", host.stunnel.port),
        Listener("nfsd", 3718, "tcp4", "127.0.0.1", 2049),
        Listener("sshd", 900, "tcp4", "*", 22),
    )


def carp(
    state: CarpState, host: HostSettings = SITE.primary, preempt: int = 1, demotion: int = 0, claim: int | None = None
) -> CarpView:
    """CARP on a host that is ready."""
    least, most = CLAIMS[role(host)]
    if claim is None:
        claim = least if state is CarpState.MASTER else most
    return CarpView({1: VirtualHost(state, 1, claim, (host.vip.address,))}, (), demotion, preempt)


def client_view(host: HostSettings) -> HostView:
    point = host.client.mounts[0].mountpoint
    return HostView(
        now=SECONDS,
        clock=Offset(0.4, 1.0),
        tls=TlsAnswer(Outcome.ACCEPTED, Outcome.REFUSED, "", SERVER, NOW + timedelta(days=500)),
        mount_states=(MountState(point, "healthy", 7),),
        linux_mounts=(Entry("127.0.0.1:/k3svolumes", point, "nfs4", ("rw", "vers=4.2", "hard", "port=2323")),),
        secrets=secrets(host),
        port_is_open=False,
        running={"stunnel.service": True},
        stale=(),
    )


def right_cluster() -> ClusterView:
    views = {host.name: freebsd_view(host) for host in SITE.freebsd_hosts}
    views |= {host.name: client_view(host) for host in SITE.clients}
    findings = [Finding("ca", PkiState.GOOD, "", NOW + timedelta(days=3000))]
    findings += [Finding(name, PkiState.GOOD, "", NOW + timedelta(days=500)) for name in ["server", *views]]
    files = {name: digest(name) for host in SITE.hosts for name in secret_files(host).values()}
    return ClusterView(SITE, views, NOW, {}, tuple(findings), server_sha256=SERVER, secrets=files)


def changed(cluster: ClusterView, name: str, **values: Any) -> ClusterView:
    """The cluster with other answers of one host."""
    return replace(cluster, hosts={**cluster.hosts, name: replace(cluster.hosts[name], **values)})


def with_dataset(cluster: ClusterView, name: str, wanted: str, change: Callable[[Dataset], Dataset]) -> ClusterView:
    """The cluster with one dataset of a host changed."""
    found: Mapping[str, Dataset] = cluster.hosts[name].datasets or {}
    return changed(cluster, name, datasets={**found, wanted: change(found[wanted])})


def one(cluster: ClusterView, check: str, host: str) -> Row:
    """The one row of a check for a host."""
    found = [row for row in rows(cluster) if (row.check, row.host) == (check, host)]
    assert len(found) == 1, found
    return found[0]


def not_right(cluster: ClusterView) -> dict[tuple[str, str], State]:
    return {(row.check, row.host): row.state for row in rows(cluster) if row.state is not State.RIGHT}
