"""The zrepl program (and what fetch(1) gets from its metrics listener), zrepl 0.7.0's wording."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from lab.core import CommandError, Context
from lab.zfs import snapshots
from lab.zfs.model import Node
from lab.zrepl import daemon
from lab.zrepl.state import CONTROL, Daemon, Filesystem, Job, running
from lab.zrepl.yamltree import ConfigError

NEVER = "0001-01-01T00:00:00Z"


def main(ctx: Context) -> int:
    """zrepl configcheck | status --mode raw | signal wakeup JOB | zfs-abstraction release-all --job JOB | version;
    --config FILE anywhere."""
    words = list(ctx.args)
    path = daemon.DEFAULT_CONFIG
    for place, word in enumerate(words):
        if word == "--config" and place + 1 < len(words):
            path = words[place + 1]
            del words[place : place + 2]
            break
        if word.startswith("--config="):
            path = word.partition("=")[2]
            del words[place]
            break
    if words == ["version"]:
        ctx.out("client: zrepl version=v0.7.0 go=go1.26.8 GOOS=freebsd GOARCH=amd64 Compiler=gc\n")
        if not Path(path).exists():
            raise CommandError("config parsing error: open : no such file or directory")
        return 0
    if words[:3] == ["zfs-abstraction", "release-all", "--job"] and len(words) == 4:
        return _release(ctx, words[3])
    if words not in (["configcheck"], ["status", "--mode", "raw"]) and words[:2] != ["signal", "wakeup"]:
        raise ctx.not_simulated()
    try:
        daemon.read(ctx, path)
    except ConfigError as error:
        if str(error).startswith("cannot build"):
            raise CommandError(f"{error}\nconfig parsing failed") from None
        raise CommandError(f"could not parse config: {error}") from None
    if words == ["configcheck"]:
        return 0
    if words[0] == "status":
        ctx.out(_status(_reach(ctx, "status")))
        return 0
    if len(words) != 3:
        raise CommandError("Expected 2 arguments: [wakeup|reset] JOB")
    _reach(ctx, "signal")
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        found = running(host)
        if found is None:
            raise AssertionError(host.name)
        daemon.wake(cluster, host, found, words[2])
    return 0


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
    """The daemon behind the control socket.

    :raises CommandError: it does not answer
    """
    found = running(ctx.host(ctx.store.read()))
    if found is None or not os.path.exists(CONTROL):
        reason = "connect: connection refused" if os.path.exists(CONTROL) else "connect: no such file or directory"
        raise CommandError(f'Post "http://unix/{endpoint}": dial unix {CONTROL}: {reason}')
    return found


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else NEVER


def _error(text: str, when: float) -> dict[str, str] | None:
    return {"Err": text, "Time": _time(when)} if text else None


def _status(found: Daemon) -> str:
    jobs: dict[str, Any] = {"_control": {"internal": None, "type": "internal"}}
    if found.config.metrics:
        jobs["_prometheus"] = {"internal": None, "type": "internal"}
    for push in found.config.pushes:
        jobs[push.name] = {"push": _push(found.jobs[push.name], push.interval is not None), "type": "push"}
    for sink in found.config.sinks:
        jobs[sink.name] = {"sink": {"Snapper": None}, "type": "sink"}
    everything = {"Jobs": jobs, "Global": {"ZFSCmds": {"Active": None}, "Envconst": {"Entries": []}, "OsEnviron": []}}
    return json.dumps(everything, separators=(",", ":"))


def _push(job: Job, periodic: bool) -> dict[str, Any]:
    report = None
    if job.run is not None:
        report = {
            "StartAt": _time(job.run.started),
            "FinishAt": NEVER,
            "WaitReconnectSince": NEVER,
            "WaitReconnectUntil": NEVER,
            "WaitReconnectError": None,
            "Attempts": [
                {
                    "State": job.run.state,
                    "StartAt": _time(job.run.started),
                    "FinishAt": _time(0 if job.run.paused else job.run.finished),
                    "PlanError": _error(job.run.error, job.run.finished),
                    "Filesystems": [_filesystem(each, job.run.finished) for each in job.run.filesystems],
                }
            ],
        }
    snapshots: dict[str, Any] = {
        "State": 32 if job.snapshot_error else 16,
        "SleepUntil": _time(job.sleep_until),
        "Error": job.snapshot_error,
        "Progress": [],
    }
    return {
        "Replication": report,
        "PruningSender": _pruning(job.pruned.get("sender")),
        "PruningReceiver": _pruning(job.pruned.get("receiver")),
        "Snapshotting": {
            "Type": "periodic" if periodic else "manual",
            "Periodic": snapshots if periodic else None,
            "Cron": None,
            "Manual": None if periodic else {},
        },
    }


def _filesystem(each: Filesystem, when: float) -> dict[str, Any]:
    return {
        "Info": {"Name": each.name},
        "State": "step-error" if each.error else "done",
        "BlockedOn": "nothing",
        "PlanError": None,
        "StepError": _error(each.error, when),
        "CurrentStep": len(each.steps),
        "Steps": [
            {"Info": {"From": start, "To": to, "Resumed": False, "BytesExpected": size, "BytesReplicated": size}}
            for start, to, size in each.steps
        ],
    }


def _pruning(errors: dict[str, str] | None) -> dict[str, Any] | None:
    if errors is None:
        return None
    done = [
        {"Filesystem": name, "SnapshotList": [], "DestroyList": [], "SkipReason": "", "LastError": error}
        for name, error in errors.items()
    ]
    state = "ExecErr" if any(errors.values()) else "Done"
    return {"State": state, "Error": "", "Pending": [], "Completed": done}


def fetch(ctx: Context) -> int:
    """fetch(1) -q -o - of the metrics listener's URL; nothing else is there to be fetched."""
    if ctx.args[:-1] not in (["-qo", "-"], ["-q", "-o", "-"]):
        raise ctx.not_simulated()
    url = ctx.args[-1]
    found = running(ctx.host(ctx.store.read()))
    if found is None or url not in [f"http://{address}/metrics" for address in found.config.metrics]:
        raise CommandError(f"fetch: {url}: Connection refused")
    ctx.out(figures(found))
    return 0


def figures(found: Daemon) -> str:
    """The figures of the push jobs (internal/daemon/job/active.go)."""
    named = {f'{{zrepl_job="{name}"}}': job for name, job in sorted(found.jobs.items())}
    lines = []
    for metric, kind, text, values in (
        (
            "filesystem_errors",
            "gauge",
            "number of filesystems that failed replication in the latest replication attempt, or -1 if the job "
            "failed before enumerating the filesystems",
            {label: str(job.failed) for label, job in named.items()},
        ),
        (
            "last_successful",
            "gauge",
            "timestamp of last successful replication",
            {label: repr(job.last_successful) if job.last_successful else "0" for label, job in named.items()},
        ),
        (
            "bytes_replicated",
            "counter",
            "number of bytes replicated from sender to receiver per filesystem",
            {
                f'{{filesystem="{filesystem}",{label[1:]}': str(size)
                for label, job in named.items()
                for filesystem, size in sorted(job.replicated.items())
            },
        ),
    ):
        if values:
            lines += [f"# HELP zrepl_replication_{metric} {text}", f"# TYPE zrepl_replication_{metric} {kind}"]
            lines += [f"zrepl_replication_{metric}{label} {value}" for label, value in values.items()]
    return "".join(f"{line}\n" for line in lines)
