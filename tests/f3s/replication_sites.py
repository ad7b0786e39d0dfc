"""Sites with replication jobs, as the checked settings of them are."""

from __future__ import annotations

from f3s.settings import HostSettings, Job, Site
from f3s.settings.model import Bhyve, Enc, Pool, Usb, WireGuard, Zrepl

F0, F1, F2 = (f"f{number}.lan.buetow.org" for number in range(3))


def job(
    name: str,
    source: str,
    target: str,
    dataset: str = "zdata/enc/nfsdata",
    interval: str = "1m",
    replica_mountpoint: str | None = None,
) -> Job:
    return Job(
        name=name,
        source=source,
        target=target,
        dataset=dataset,
        interval=interval,
        replica_mountpoint=replica_mountpoint,
    )


def site(*jobs: Job, rollback: tuple[str, ...] = ()) -> Site:
    """Three FreeBSD hosts with data pools, of which f0 is the primary and f1 the standby."""
    zrepl = Zrepl(
        jobs=jobs,
        sink_root="zdata/sink",
        port=8888,
        return_port=8889,
        metrics_port=9811,
        snapshot_prefix="zrepl_",
        keep_last=10,
        keep_grid="1x1h(keep=all) | 24x1h | 14x1d",
        first_replication_timeout=300,
        rollback_replicas=rollback,
    )
    parts = {
        "zrepl": zrepl,
        "usb": Usb(device="da0", label="F3S_KEYS", mountpoint="/keys", purposes=("bhyve", "zdata")),
        "pool": Pool(
            name="zdata",
            mountpoint="/data",
            disk="ada1",
            autotrim=True,
            failmode="wait",
            scrub=True,
            scrub_threshold_days=30,
        ),
        "enc": Enc(dataset="zdata/enc", encryption="aes-256-gcm", key="zdata"),
        "bhyve": Bhyve(
            dataset="zroot/bhyve",
            old_dataset="zroot/bhyve_old",
            key="bhyve",
            snapshot="f3s_migrate",
            stop_timeout=180,
        ),
    }
    roles = {F0: "storage_primary", F1: "storage_standby", F2: "freebsd"}
    return Site(
        tuple(
            HostSettings(
                name,
                frozenset({"freebsd", role}),
                {
                    **parts,
                    "wireguard": WireGuard(address=f"192.168.2.13{number}", network="192.168.2.0/24"),
                },
            )
            for number, (name, role) in enumerate(roles.items())
        )
    )


SHIPPED = site(
    job("f0_to_f1_nfsdata", F0, F1, replica_mountpoint="/data/nfs"),
    job("f0_to_f1_fedora", F0, F1, "zroot/bhyve/fedora", "10m"),
)
