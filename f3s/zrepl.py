"""zrepl's configuration of one host, built from the site's list of replication jobs.

Keys and their meaning: zrepl 0.7.0, docs/configuration and internal/config/config.go. FreeBSD's package is 0.6.1,
which knows all of them, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from f3s.parsing import UnknownOutput
from f3s.settings import HostSettings, Job, Site
from f3s.settings.model import Zrepl, is_within
from f3s.textfile import NoPlace
from f3s.zfs import Marks
from f3s.zrepl_file import job_list

CONFIG = "/usr/local/etc/zrepl/zrepl.yml"
SINK_JOB = "sink"
"""Name of the one sink of a host. zrepl keeps job names in holds on the pool: it must never change."""

_TIMESTAMP = "[0-9]{8}_[0-9]{6}_[0-9]{3}"


def snapshot_prefix(job: Job, site: Site) -> str:
    """What the names of the job's snapshots begin with.

    Jobs that send the same datasets to different targets run on the same beat and would give their snapshots the
    same names; each would also prune what the others have not sent yet. So all but the first put their own name
    into the prefix, and a job prunes on its source only what begins with its own.
    """
    sharing = [
        other
        for other in site.jobs
        if other.source == job.source
        and (is_within(other.dataset, job.dataset) or is_within(job.dataset, other.dataset))
    ]
    prefix = site.host(job.source).zrepl.snapshot_prefix
    return prefix if sharing[0] == job else f"{prefix}{job.name}_"


def own_snapshots(prefix: str, jobs: str = "") -> str:
    """A regular expression for the snapshots that zrepl made: the prefix and the time they were taken at.

    A snapshot that merely begins with the prefix was made by hand, and is kept.

    jobs: a regular expression for job names between the two, see `snapshot_prefix`.
    """
    return f"^{re.escape(prefix)}{jobs}{_TIMESTAMP}$"


def _keep(snapshots: str, options: Zrepl) -> list[dict[str, Any]]:
    """Rules of which each keeps what it matches; what none keeps is destroyed (docs: prune)."""
    return [
        {"type": "last_n", "count": options.keep_last, "regex": snapshots},
        {"type": "grid", "grid": options.keep_grid, "regex": snapshots},
        {"type": "regex", "negate": True, "regex": snapshots},
    ]


def _push(job: Job, site: Site) -> dict[str, Any]:
    target = site.host(job.target)
    return {
        "name": job.name,
        "type": "push",
        "connect": {"type": "tcp", "address": f"{target.wireguard.address}:{target.zrepl.port}"},
        # the dataset and all below: a VM's disk may be a volume below the VM's dataset
        "filesystems": {f"{job.dataset}<": True},
        # raw: zrepl refuses what is not encrypted, and the target stores it without the key
        "send": {"encrypted": True},
        "snapshotting": {"type": "periodic", "prefix": snapshot_prefix(job, site), "interval": job.interval},
        "pruning": keep_rules(job, site),
    }


def keep_rules(job: Job, site: Site) -> dict[str, list[dict[str, Any]]]:
    """The keep rules of a job: keep_sender and keep_receiver."""
    options = site.host(job.source).zrepl
    # the target gets the snapshots of all jobs that share the dataset, and nobody else prunes them there
    received = own_snapshots(options.snapshot_prefix, "([A-Za-z][A-Za-z0-9_-]*_)?")
    return {
        "keep_sender": [{"type": "not_replicated"}, *_keep(own_snapshots(snapshot_prefix(job, site)), options)],
        "keep_receiver": _keep(received, options),
    }


def _sink(host: HostSettings, site: Site) -> dict[str, Any]:
    sources = [site.host(job.source) for job in site.jobs_to(host)]
    return {
        "name": SINK_JOB,
        "type": "sink",
        "root_fs": host.zrepl.sink_root,
        "serve": {
            "type": "tcp",
            "listen": f"{host.wireguard.address}:{host.zrepl.port}",
            # WireGuard's interface may come up after the daemon
            "listen_freebind": True,
            "clients": {source.wireguard.address: source.short_name for source in sources},
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


def host_config(host: HostSettings, site: Site) -> dict[str, Any] | None:
    """The whole configuration of a host as plain data; None where the host neither sends nor receives."""
    jobs = [_push(job, site) for job in site.jobs_from(host)]
    if site.jobs_to(host):
        jobs.append(_sink(host, site))
    if not jobs:
        return None
    return {
        "global": {
            "logging": [
                # zrepl reports the failure of any outlet to the first one, which therefore must not fail
                {"type": "stdout", "level": "error", "format": "human"},
                {"type": "syslog", "level": "info", "format": "human"},
            ],
            "monitoring": [{"type": "prometheus", "listen": f"127.0.0.1:{host.zrepl.metrics_port}"}],
        },
        "jobs": jobs,
    }


def job_names(text: str) -> tuple[str, ...]:
    """The names of the jobs in the text of a zrepl.yml; empty for an empty text.

    Raises UnknownOutput where that cannot be told.
    """
    try:
        return tuple(job["name"] for job in job_list(text))
    except NoPlace as error:
        raise UnknownOutput(f"the jobs in zrepl.yml cannot be told: {error}") from error


_OF_JOB = re.compile(r"zrepl_(?:(?:CURSOR|CURSORTENTATIVE|STEP)_G_[0-9a-f]{16}|STEP|last_received)_J_(.+)")


def left_over(marks: Marks, jobs: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What zrepl keeps for jobs that are not there (any more): job -> bookmarks, and snapshots with a hold.

    It is released by no other job, and the history up to it is never pruned (zrepl 0.7.0, internal/endpoint).
    """
    found: dict[str, tuple[str, ...]] = {}
    named = [(name, name.partition("#")[2]) for name in marks.bookmarks]
    named += [(name, tag) for name, tags in marks.holds.items() for tag in tags]
    for name, mark in named:
        match = _OF_JOB.fullmatch(mark)
        if match and match[1] not in jobs:
            found[match[1]] = (*found.get(match[1], ()), name)
    return found
