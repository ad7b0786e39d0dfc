"""The variables of inventory.py and group_data/: one model for each prefix.

The variable ``carp_vhid`` of inventory.py or group_data/ is ``host.carp.vhid`` here; every field of every
part below is named in the same way. group_data/, where people edit it, says what a field means.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from f3s.settings import values as v
from f3s.settings.rules import many, one_of, whole


class Strict(BaseModel):
    """Values of these types and no others, which stay as they are."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Part(Strict):
    """All variables that begin with one prefix."""


class Lan(Part):
    address: v.Address
    network: v.Network


class WireGuard(Part):
    address: v.Address
    network: v.Network


class Vip(Part):
    address: v.Address
    names: Annotated[tuple[v.HostName, ...], many("host names", at_least=1)]


class Replace(Part):
    files: Annotated[tuple[v.Path, ...], many("absolute paths")] = ()


class Usb(Part):
    device: v.Device
    label: v.UfsLabel
    mountpoint: v.BootMountpoint
    purposes: Annotated[tuple[v.Purpose, ...], many("key purposes", at_least=1)]
    format_allow: Annotated[tuple[v.Device, ...], many("devices")] = ()


class Pool(Part):
    name: v.PoolName
    mountpoint: v.Mountpoint
    disk: v.OptionalDevice = None
    disk_serial: v.Serial = None
    disk_model: v.Serial = None
    autotrim: v.Flag
    failmode: Annotated[Literal["wait", "continue", "panic"], one_of("wait", "continue", "panic")]
    scrub: v.Flag
    scrub_threshold_days: v.Days


class Enc(Part):
    dataset: v.Dataset
    encryption: v.Encryption
    key: v.Key


class Bhyve(Part):
    dataset: v.Dataset
    old_dataset: v.Dataset
    key: v.Key
    snapshot: v.SnapshotName
    stop_timeout: v.Seconds
    destroy_old: Annotated[tuple[v.HostName, ...], many("host names")] = ()


class Job(Strict):
    """One dataset that zrepl pushes from one host to another."""

    name: v.JobName
    source: v.HostName
    target: v.HostName
    dataset: v.Dataset
    interval: v.Duration
    replica_mountpoint: v.OptionalMountpoint = None

    @property
    def interval_seconds(self) -> int:
        return v.duration_seconds(self.interval)


class Zrepl(Part):
    jobs: Annotated[tuple[Job, ...], many("jobs")]
    sink_root: v.Dataset
    port: v.Port
    return_port: v.Port
    metrics_port: v.Port
    snapshot_prefix: v.SnapshotName
    keep_last: Annotated[int, whole(1, 100000)]
    keep_grid: v.Grid
    first_replication_timeout: v.Seconds
    rollback_replicas: Annotated[tuple[v.JobName, ...], many("job names")] = ()
    prune_history: Annotated[tuple[v.JobName, ...], many("job names")] = ()


class Carp(Part):
    interface: v.Interface
    # ifconfig: "vhid must be greater than 0 and less than 255" (observed on 13.2)
    vhid: Annotated[int, whole(1, 254)]
    other_vhids: Annotated[tuple[Annotated[int, whole(1, 254)], ...], many("vhids")]
    advbase: Annotated[int, whole(1, 255, "seconds")]
    unicast: v.Flag
    failback_losses: Annotated[int, whole(1, 100, "times")]
    failback_quiet: v.Seconds
    password: v.CarpPassword = None


class Alert(Part):
    textfile_directory: v.Path
    command: v.OptionalPath = None
    ping_url: v.OptionalUrl = None


class Share(Strict):
    """One directory below the NFSv4 root that clients mount."""

    directory: v.FileName
    mode: v.Mode


class Nfs(Part):
    dataset: v.Dataset
    mountpoint: v.Mountpoint
    shares: Annotated[tuple[Share, ...], many("shares", at_least=1)]
    marker: v.FileName
    failback_block: v.FileName
    export: v.Mountpoint
    fsid: Annotated[int, whole(1, 1000)]
    patience: v.Seconds
    for_others: v.Flag = False
    owners: Annotated[Literal["numeric", "names"], one_of("numeric", "names")]
    idmap_domain: v.HostName

    @property
    def marker_path(self) -> str:
        return f"{self.mountpoint}/{self.marker}"

    @property
    def failback_block_path(self) -> str:
        return f"{self.mountpoint}/{self.failback_block}"


class Stunnel(Part):
    port: v.Port


class Pki(Part):
    directory: v.Directory
    extra_clients: Annotated[tuple[v.HostName, ...], many("host names")]
    ca_days: v.Days
    server_days: v.Days
    client_days: v.Days
    renew_before_days: v.Days


class Mount(Strict):
    """One share and the place where a client mounts it."""

    share: v.FileName
    mountpoint: v.Mountpoint


class Client(Part):
    mounts: Annotated[tuple[Mount, ...], many("mounts", at_least=1)]
    mount_presets: v.MountPresets
    mount_preset: v.Label
    tunnel_root_only: v.Flag
    # half of what verify and the alert take for too old (f3s.monitor.TOO_OLD)
    monitor_interval: Annotated[int, whole(1, 60, "seconds")]
    move_seconds: v.Seconds
    stat_timeout: v.Seconds
    unmount_timeout: v.Seconds
    mount_timeout: v.Seconds
    metrics_file: v.OptionalPath = None
    escalate_after: Annotated[int, whole(0, 100000, "failed checks (0 = never)")] = 0
    escalate_command: v.OptionalPath = None

    @property
    def mount_options(self) -> tuple[str, ...]:
        """The options of the chosen preset, in the order in which they are written."""
        return tuple(self.mount_presets[self.mount_preset].split(","))

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Source and mount point of each mount: the server is the local end of the tunnel."""
        return tuple((f"127.0.0.1:/{mount.share}", mount.mountpoint) for mount in self.mounts)


def is_within(path: str, parent: str) -> bool:
    """Whether a dataset or path is ``parent`` or below it."""
    return path == parent or path.startswith(f"{parent}/")
