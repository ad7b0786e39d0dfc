"""zrepl's configuration of one host, built from the site's list of replication jobs.

Keys and their meaning: zrepl 0.7.0, docs/configuration and internal/config/config.go. FreeBSD's package is 0.6.1,
which knows all of them, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import yaml

SINK_JOB = "sink"
"""Name of the one sink of a host. zrepl keeps job names in holds on the pool: it must never change."""

PREFIX = "zrepl_"

# Replication of every minute is thinned out to hours, then to days; the newest ones are kept by last_n as well.
SENDER_GRID = "1x1h(keep=all) | 24x1h | 14x1d"
RECEIVER_GRID = "1x1h(keep=all) | 24x1h | 35x1d | 6x30d"
KEEP_LAST = 10

_TIMESTAMP = "[0-9]{8}_[0-9]{6}_[0-9]{3}"
# zrepl's own snapshots, of this job or of another one: the prefix, perhaps a job's name, the time it was taken at.
# Anything else that begins with the prefix was made by hand and is kept.
OWN_SNAPSHOT = f"^{PREFIX}([A-Za-z0-9._:-]+_)?{_TIMESTAMP}$"

_DURATION = re.compile(r"\s*([0-9]+)\s*([smhdw])\s*")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Job(Protocol):
    """One dataset that is replicated from one host to another, as the site's data describe it."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def interval(self) -> str: ...


def interval_seconds(interval: str) -> int:
    """Seconds of a zrepl duration such as `1m` (one number and one of s, m, h, d, w; config_duration.go).

    Raises ValueError for anything else and for zero.
    """
    match = _DURATION.fullmatch(interval)
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if not seconds:
        raise ValueError(f"{interval!r} is not a zrepl interval: a positive number and one of s, m, h, d, w")
    return seconds


def identity(host: str) -> str:
    """The name under which a sink files what comes from that host: one component of a dataset name."""
    return host.split(".", 1)[0]


def replica_dataset(job: Job, sink: str) -> str:
    """The dataset on the target that receives the job's dataset (`ROOT_FS/CLIENT/PATH`, docs: job type sink)."""
    return f"{sink}/{identity(job.source)}/{job.dataset}"


def snapshot_prefix(job: Job, jobs: Sequence[Job]) -> str:
    """What the job's snapshots begin with.

    Jobs that send the same datasets to different targets run on the same beat and would give their snapshots the
    same names; each would also prune what the others have not sent yet. So all but the first put their own name
    into the prefix, and a job prunes on its source only what begins with its own.
    """
    sharing = [other for other in jobs if other.source == job.source and _overlap(other.dataset, job.dataset)]
    return PREFIX if sharing[0].name == job.name else f"{PREFIX}{job.name}_"


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _push(job: Job, jobs: Sequence[Job], target_address: str, port: int) -> dict[str, Any]:
    prefix = snapshot_prefix(job, jobs)
    taken_here = f"^{re.escape(prefix)}{_TIMESTAMP}$"
    return {
        "name": job.name,
        "type": "push",
        "connect": {"type": "tcp", "address": _hostport(target_address, port)},
        # the dataset and all below: a VM's disk may be a volume below the VM's dataset
        "filesystems": {f"{job.dataset}<": True},
        # raw: zrepl refuses what is not encrypted, and the target stores it without the key
        "send": {"encrypted": True},
        "snapshotting": {"type": "periodic", "prefix": prefix, "interval": job.interval},
        "pruning": {
            "keep_sender": [
                {"type": "not_replicated"},
                {"type": "last_n", "count": KEEP_LAST, "regex": taken_here},
                {"type": "grid", "grid": SENDER_GRID, "regex": taken_here},
                {"type": "regex", "negate": True, "regex": taken_here},
            ],
            "keep_receiver": [
                {"type": "last_n", "count": KEEP_LAST, "regex": OWN_SNAPSHOT},
                {"type": "grid", "grid": RECEIVER_GRID, "regex": OWN_SNAPSHOT},
                {"type": "regex", "negate": True, "regex": OWN_SNAPSHOT},
            ],
        },
    }


def _sink(clients: Mapping[str, str], root_fs: str, address: str, port: int) -> dict[str, Any]:
    return {
        "name": SINK_JOB,
        "type": "sink",
        "root_fs": root_fs,
        "serve": {
            "type": "tcp",
            "listen": _hostport(address, port),
            # WireGuard's interface may come up after the daemon
            "listen_freebind": True,
            "clients": dict(clients),
        },
        "recv": {
            # read-only from the first byte on: one write on a replica breaks every later replication
            # (observations.md). No other property: mountpoint or canmount set here would be set again with
            # every receive and undo what the replica was given afterwards.
            "properties": {"override": {"readonly": "on"}},
            # the parents that zrepl makes up must not need a key
            "placeholder": {"encryption": "off"},
        },
    }


def _hostport(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def host_config(
    host: str,
    jobs: Sequence[Job],
    addresses: Mapping[str, str],
    sink: str,
    port: int,
    metrics_port: int,
) -> dict[str, Any] | None:
    """The whole configuration of a host as plain data; None where the host neither sends nor receives.

    host, jobs: the host's name as the jobs use it, and all jobs of the site.
    addresses: host name -> the address on which replication runs (WireGuard).
    sink: dataset below which every target stores its replicas.
    port, metrics_port: TCP ports of the sinks and of the metrics listener (loopback only).

    Raises KeyError for a job of a host without an address.
    """
    out = [job for job in jobs if job.source == host]
    clients = {addresses[job.source]: identity(job.source) for job in jobs if job.target == host}
    if not out and not clients:
        return None
    config_jobs = [_push(job, jobs, addresses[job.target], port) for job in out]
    if clients:
        config_jobs.append(_sink(clients, sink, addresses[host], port))
    return {
        "global": {
            "logging": [
                # zrepl reports the failure of any outlet to the first one, which therefore must not fail
                {"type": "stdout", "level": "error", "format": "human"},
                {"type": "syslog", "level": "info", "format": "human"},
            ],
            "monitoring": [{"type": "prometheus", "listen": f"127.0.0.1:{metrics_port}"}],
        },
        "jobs": config_jobs,
    }


def render(config: Mapping[str, Any]) -> str:
    """The configuration as the text of zrepl.yml, the same text for the same data."""
    return "# Written by the f3s deploy; changes made here are lost.\n" + yaml.safe_dump(
        dict(config), sort_keys=False, width=110
    )
