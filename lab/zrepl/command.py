"""The zrepl program, with the wording of zrepl 0.7.0."""

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
from lab.zrepl.config import ConfigError
from lab.zrepl.state import CONTROL, Daemon, Filesystem, Job, running

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
        daemon.read(path)
    except ConfigError as error:
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
    internal = {"internal": None, "type": "internal"}
    jobs: dict[str, Any] = {"_control": internal, "_prometheus": internal}
    for push in found.config.pushes:
        jobs[push.name] = {"push": _push(found.jobs[push.name]), "type": "push"}
    for sink in found.config.sinks:
        jobs[sink.name] = {"sink": {"Snapper": None}, "type": "sink"}
    everything = {"Jobs": jobs, "Global": {"ZFSCmds": {"Active": None}, "Envconst": {"Entries": []}, "OsEnviron": []}}
    return json.dumps(everything, separators=(",", ":"))


def _push(job: Job) -> dict[str, Any]:
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
            "Type": "periodic",
            "Periodic": snapshots,
            "Cron": None,
            "Manual": None,
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
