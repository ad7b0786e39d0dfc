"""The zrepl program, with the wording of zrepl 0.7.0."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from lab.core import CommandError, Context
from lab.zfs import snapshots
from lab.zfs.model import Node
from lab.zrepl import daemon
from lab.zrepl.config import ConfigError
from lab.zrepl.state import CONTROL, Daemon, Job, running

NEVER = "0001-01-01T00:00:00Z"


def main(ctx: Context) -> int:
    """zrepl configcheck --config FILE, status --mode raw, signal VERB JOB, zfs-abstraction release-all --job JOB."""
    match ctx.args:
        case ["zfs-abstraction", "release-all", "--job", job]:
            return _release(ctx, job)
        case ["configcheck", "--config", path]:
            _check(path)
        case ["status", "--mode", "raw"]:
            _check(daemon.DEFAULT_CONFIG)
            ctx.out(_status(_reach(ctx, "status")))
        case ["signal", "wakeup", job]:
            _check(daemon.DEFAULT_CONFIG)
            _reach(ctx, "signal")
            with ctx.cluster() as cluster:
                host = ctx.host(cluster)
                found = running(host)
                assert found is not None
                daemon.wake(cluster, host, found, job)
        case ["signal", "reset", job]:
            # a job listens to it while it is at work (daemon/job/reset); one that is does not stand still here
            if (at_work := _reach(ctx, "signal").jobs[job].run) and at_work.paused:
                raise ctx.not_simulated()
            raise CommandError("already reset")
        case _:
            raise ctx.not_simulated()
    return 0


def _check(path: str) -> None:
    try:
        daemon.read(path)
    except ConfigError as error:
        raise CommandError(f"could not parse config: {error}") from None


def _release(ctx: Context, job: str) -> int:
    """What zrepl keeps for a job: its bookmarks and holds (internal/client/zfsabstractions_release.go). No
    configuration is needed, and no daemon."""
    with ctx.cluster() as cluster:
        node = Node(ctx.store, cluster, ctx.host(cluster))
        for dataset in node.all():
            for mark in [
                each.name for each in dataset.bookmarks if re.fullmatch(rf"zrepl_\w+_G_\w+_J_{job}", each.name)
            ]:
                snapshots.destroy_bookmark(node, f"{dataset.name}#{mark}")
                ctx.out(f"destroy {dataset.name}#{mark} ... OK\n")
            for snap in dataset.snapshots:
                for tag in {f"zrepl_STEP_J_{job}", f"zrepl_last_received_J_{job}"} & set(snap.holds):
                    snapshots.hold(node, tag, f"{dataset.name}@{snap.name}", release=True)
                    ctx.out(f"destroy {dataset.name}@{snap.name} {tag} ... OK\n")
    return 0


def _reach(ctx: Context, endpoint: str) -> Daemon:
    """The daemon behind the control socket."""
    found = running(ctx.host(ctx.store.read()))
    if found is None or not os.path.exists(CONTROL):
        reason = "connect: connection refused" if os.path.exists(CONTROL) else "connect: no such file or directory"
        raise CommandError(f'Post "http://unix/{endpoint}": dial unix {CONTROL}: {reason}')
    return found


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else NEVER


def _error(text: str) -> dict[str, str] | None:
    return {"Err": text} if text else None


def _status(found: Daemon) -> str:
    """What the deploy reads of the status; the real one tells more."""
    internal = {"internal": None, "type": "internal"}
    jobs: dict[str, Any] = {"_control": internal, "_prometheus": internal}
    for push in found.config.pushes:
        jobs[push.name] = {"push": _push(found.jobs[push.name]), "type": "push"}
    for sink in found.config.sinks:
        jobs[sink.name] = {"sink": {"Snapper": None}, "type": "sink"}
    for name, kind in found.config.idle.items():
        # a report of this form for each kind of job (daemon/job, Status); nobody has woken it
        said: dict[str, Any] = {
            "sink": {"Snapper": None},
            "pull": {"Replication": None, "Snapshotting": None},
            "snap": {"Pruning": None, "Snapshotting": {"Type": "manual"}},
        }
        said["push"] = {"Replication": None, "Snapshotting": {"Type": "manual", "Periodic": None}}
        jobs[name] = {kind: said[kind], "type": kind}
    return json.dumps({"Jobs": jobs}, separators=(",", ":"))


def _push(job: Job) -> dict[str, Any]:
    report = None
    if job.run is not None:
        attempt = {
            "State": job.run.state,
            "FinishAt": _time(0 if job.run.paused else job.run.finished),
            "PlanError": _error(job.run.error),
            "Filesystems": [
                {"Info": {"Name": each.name}, "PlanError": None, "StepError": _error(each.error)}
                for each in job.run.filesystems
            ],
        }
        report = {"WaitReconnectError": None, "Attempts": [attempt]}
    snapshots = {"Type": "periodic", "Periodic": {"Error": job.snapshot_error}}
    return {"Replication": report, "Snapshotting": snapshots}
