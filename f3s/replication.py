"""What replication looks like from outside: zrepl's status and figures, and the state of a replica."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: the event has not happened."""


@dataclass(frozen=True)
class JobStatus:
    """A push job as `zrepl status` shows it.

    running: a replication or its planning is under way.
    succeeded_at: when the latest run ended, if it ended well; None while it runs, after a failure and before the
        first run.
    error: what the latest run or the latest round of snapshots failed of.
    """

    name: str
    running: bool
    succeeded_at: datetime | None
    error: str | None


def parse_status(text: str) -> dict[str, JobStatus]:
    """The push jobs in the output of `zrepl status --mode raw` (zrepl 0.7.0: replication/report, daemon/job).

    Raises ValueError for anything that is not such an output.
    """
    try:
        jobs = json.loads(text)["Jobs"]
        return {name: _push_status(name, job["push"]) for name, job in jobs.items() if job["type"] == "push"}
    except (KeyError, TypeError, AttributeError, IndexError, json.JSONDecodeError) as err:
        raise ValueError(f"not the output of `zrepl status --mode raw`: {type(err).__name__} {err}") from err


def _push_status(name: str, push: Mapping[str, Any]) -> JobStatus:
    snapshotting = ((push["Snapshotting"] or {}).get("Periodic") or {}).get("Error") or None
    report = push["Replication"]
    if report is None or not report["Attempts"]:
        waiting = (report or {}).get("WaitReconnectError")
        return JobStatus(name, report is not None, None, waiting["Err"] if waiting else snapshotting)
    attempt = report["Attempts"][-1]
    state = attempt["State"]
    if state == "done":
        done = snapshotting is None
        return JobStatus(name, False, _time(attempt["FinishAt"]) if done else None, snapshotting)
    if state in ("planning-error", "filesystem-error"):
        return JobStatus(name, False, None, "; ".join(_errors(attempt)))
    if state in ("planning", "fan-out-filesystems"):
        waiting = report["WaitReconnectError"]
        return JobStatus(name, True, None, waiting["Err"] if waiting else snapshotting)
    raise ValueError(f"zrepl job {name}: unknown state {state!r}")


def _errors(attempt: Mapping[str, Any]) -> list[str]:
    found = [attempt["PlanError"]["Err"]] if attempt["PlanError"] else []
    for filesystem in attempt["Filesystems"]:
        for kind in ("PlanError", "StepError"):
            if filesystem[kind]:
                found.append(f"{filesystem['Info']['Name']}: {filesystem[kind]['Err']}")
    return [" ".join(error.split()) for error in found]


def _time(text: str) -> datetime | None:
    if text == NEVER:
        return None
    # Go writes nanoseconds, Python reads microseconds
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


@dataclass(frozen=True)
class JobFigures:
    """A push job in zrepl's Prometheus figures.

    last_successful: seconds since the epoch; None if nothing was replicated since the daemon started.
    failed: file systems that the latest run could not replicate; -1 if it failed before it knew them.
    """

    last_successful: float | None
    failed: int


_FIGURE = re.compile(r'zrepl_replication_(last_successful|filesystem_errors)\{zrepl_job="([^"]+)"\} (\S+)')


def parse_figures(text: str) -> dict[str, JobFigures]:
    """The push jobs in the text of zrepl's metrics listener (zrepl 0.7.0, daemon/job/active.go)."""
    found: dict[str, dict[str, float]] = {}
    for figure, job, value in _FIGURE.findall(text):
        found.setdefault(job, {})[figure] = float(value)
    return {
        job: JobFigures(values.get("last_successful") or None, int(values.get("filesystem_errors", 0)))
        for job, values in found.items()
    }


@dataclass(frozen=True)
class Snapshot:
    """creation: seconds since the epoch. guid survives send and receive: equal means the same snapshot."""

    name: str
    guid: str
    creation: int


def newest_common(source: tuple[Snapshot, ...], replica: tuple[Snapshot, ...]) -> Snapshot | None:
    """The newest snapshot that both sides have, as the replica names it."""
    guids = {snapshot.guid for snapshot in source}
    common = [snapshot for snapshot in replica if snapshot.guid in guids]
    return max(common, key=lambda snapshot: snapshot.creation, default=None)


def allowed_age(interval: int) -> int:
    """How old the newest common snapshot may be, in seconds, with an interval of that many seconds.

    Just before the next snapshot has been transferred the newest one is an interval old, and one run may be
    missed; a minute is for the transfer.
    """
    return 2 * interval + 60


@dataclass(frozen=True)
class Replica:
    """A received dataset as the target sees it.

    key_verifies: whether the key file that belongs to it opens it; None where the file cannot be read.
    written: bytes that differ from the newest snapshot, read after `zpool sync`.
    occupant: another file system that is mounted on the wanted mount point.
    """

    dataset: str
    snapshots: tuple[Snapshot, ...]
    keylocation: str
    keystatus: str
    key_verifies: bool | None
    readonly: str
    mountpoint: str
    canmount: str
    mounted: bool
    written: int
    occupant: str | None = None

    @property
    def newest(self) -> str:
        """The newest snapshot's full name."""
        return self.snapshots[-1].name


@dataclass(frozen=True)
class ReplicaPlan:
    """What to do with a replica.

    steps: of rollback, keylocation, load-key, readonly, mountpoint, canmount, mount, in the order to run them.
    refusal: why nothing may be done; then steps is empty.
    warnings: what the operator has to look after.
    """

    steps: tuple[str, ...] = ()
    refusal: str | None = None
    warnings: tuple[str, ...] = ()


def plan_replica(replica: Replica, key_file: str, mountpoint: str, rollback: bool) -> ReplicaPlan:
    """Decide how the replica becomes a read-only mount at mountpoint.

    The key comes before `readonly`, `readonly` before the mount point: a received dataset has no mount point of
    its own, and setting one mounts it (zfsprops(7)) - writable, if it were not read-only by then.

    key_file: path of the key on the target. rollback: the operator named this replica to be rolled back.
    """
    keylocation = f"file://{key_file}"
    if replica.occupant is not None:
        return ReplicaPlan(
            refusal=f"{mountpoint} is taken by {replica.occupant}; {replica.dataset} belongs there. "
            f"Find out which of the two holds the data that clients wrote last before unmounting one"
        )
    if replica.key_verifies is None:
        return ReplicaPlan(
            refusal=f"{key_file}, the key of {replica.dataset}, cannot be read: is the key stick mounted?"
        )
    if not replica.key_verifies:
        loaded = "is still mounted with the old key, but cannot be opened again" if replica.mounted else "stays locked"
        return ReplicaPlan(
            refusal=f"{key_file} does not open {replica.dataset}: the key was changed on the source, or the stick "
            f"has another one. The replica {loaded}. Copy the source's key to every stick, then check with "
            f"`zfs load-key -n -L {keylocation} {replica.dataset}`"
        )
    steps: list[str] = []
    warnings: list[str] = []
    if replica.written > 0 and rollback:
        steps.append("rollback")
    elif replica.written > 0:
        warnings.append(
            f"{replica.dataset} has diverged: {replica.written} bytes were written since {replica.newest}, and "
            f"no replication is accepted until they are gone. To drop them: `zfs rollback {replica.newest}`, or "
            f"run again with zrepl_rollback_replicas naming {replica.dataset}"
        )
    if replica.keylocation != keylocation:
        steps.append("keylocation")
    if replica.keystatus != "available":
        steps.append("load-key")
    if replica.readonly != "on":
        steps.append("readonly")
    if replica.mountpoint != mountpoint:
        steps.append("mountpoint")
    if replica.canmount != "on":
        steps.append("canmount")
    if not replica.mounted or replica.mountpoint != mountpoint:
        steps.append("mount")
    return ReplicaPlan(tuple(steps), None, tuple(warnings))
