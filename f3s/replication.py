"""What replication looks like from outside: zrepl's status and figures, and the state of a replica."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from f3s.conditions import POOL_FULL
from f3s.keycheck import KeyCheck
from f3s.parsing import UnknownOutput
from f3s.quoting import Shell, command
from f3s.settings.model import is_within
from f3s.zfs import Dataset, Pool, Snapshot


def parse_status(text: str) -> dict[str, str | None]:
    """The push jobs in the output of `zrepl status --mode raw` (zrepl 0.7.0: replication/report, daemon/job).

    Each with what its latest run, or the latest round of snapshots, failed of; None for one that goes well.

    Raises UnknownOutput for anything that is not such an output.
    """
    try:
        jobs = json.loads(text)["Jobs"]
        return {name: _error(job["push"]) for name, job in jobs.items() if job["type"] == "push"}
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as err:
        raise UnknownOutput(f"not the output of `zrepl status --mode raw`: {type(err).__name__} {err}") from err


def _error(push: Mapping[str, Any]) -> str | None:
    snapshotting: str | None = ((push["Snapshotting"] or {}).get("Periodic") or {}).get("Error") or None
    report = push["Replication"] or {"Attempts": None}
    attempt = (report["Attempts"] or [{"State": "planning"}])[-1]
    state = attempt["State"]
    if state in ("planning-error", "filesystem-error"):
        return "; ".join(_errors(attempt))
    if state not in ("done", "planning", "fan-out-filesystems"):
        raise UnknownOutput(f"unknown state {state!r}")
    waiting = report.get("WaitReconnectError") if state != "done" else None
    return waiting["Err"] if waiting else snapshotting


def _errors(attempt: Mapping[str, Any]) -> list[str]:
    found = [attempt["PlanError"]["Err"]] if attempt["PlanError"] else []
    for filesystem in attempt["Filesystems"]:
        for kind in ("PlanError", "StepError"):
            if filesystem[kind]:
                found.append(f"{filesystem['Info']['Name']}: {filesystem[kind]['Err']}")
    return [" ".join(error.split()) for error in found]


def newest_common(source: Iterable[Snapshot], replica: Iterable[Snapshot]) -> Snapshot | None:
    """The newest snapshot that both sides have, as the replica names it; a guid survives send and receive."""
    guids = {snapshot.guid for snapshot in source}
    common = [snapshot for snapshot in replica if snapshot.guid in guids]
    return max(common, key=lambda snapshot: snapshot.createtxg, default=None)


def sent(dataset: str, replica: str, datasets: Iterable[str]) -> dict[str, str]:
    """What a job sends and where each of it arrives: its dataset, and all file systems and volumes below it.

    So its filter `dataset<` selects them (f3s.zrepl). Parents come first.

    dataset, replica: the job's own
    datasets: those of the source host
    """
    below = sorted(name for name in datasets if is_within(name, dataset) and name != dataset)
    return {name: replica + name.removeprefix(dataset) for name in (dataset, *below)}


def unopened(replica: str, keylocation: str, check: KeyCheck | None) -> str:
    """What to say of a replica that its key does not open; no check: the dataset has gone meanwhile."""
    text = f"{keylocation} does not open the replica {replica}: {check.value if check else 'the dataset has gone'}"
    return f"{text}. {OLD_KEY}" if check is KeyCheck.WRONG else text


OLD_KEY = (
    "If the key was changed on the source, the replica has the old one until its next replication: wait for that, and "
    "keep a copy of the old key until then (docs/runbook.md, Key not loaded)"
)


PROMOTED = "f3s_promoted"
"""How the name of the snapshot begins after which a replica takes nothing more: its own host writes to it."""
LAST_RECEIVED = "zrepl_last_received_J_"
"""How the tag begins of the hold that zrepl's sink puts on what it received last."""


@dataclass(frozen=True)
class WayBack:
    """How a replica becomes what both sides have: back to the newest common snapshot.

    + to: that snapshot, as the replica names it
    + drops: the replica's later snapshots, which are lost by it; oldest first
    + releases: tag and snapshot of zrepl's own holds on those. `zfs rollback -r` meets a held snapshot with `dataset
      is busy` when it has destroyed the others already (seen): they go first
    + kept: tag and snapshot of the holds of somebody else, who has to release them
    """

    to: Snapshot
    drops: tuple[Snapshot, ...] = ()
    releases: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()

    def held(self, holds: Mapping[str, Sequence[str]]) -> WayBack:
        """The same with the holds; tags by snapshot, on the replica's host."""
        held = [(tag, each.name) for each in self.drops for tag in holds.get(each.name, ())]
        ours = tuple(hold for hold in held if hold[0].startswith(LAST_RECEIVED))
        return replace(self, releases=ours, kept=tuple(hold for hold in held if hold not in ours))

    def commands(self) -> list[Shell]:
        """What goes it, in order. The replica stays read-only and mounted."""
        steps = [command("zfs release {} {}", tag, name) for tag, name in self.releases]
        return [*steps, command("zfs rollback -r {}" if self.drops else "zfs rollback {}", self.to.name)]


def way_back(source: Iterable[Snapshot], replica: Collection[Snapshot]) -> WayBack | None:
    """The way back of a replica, without the holds; None where the two have no snapshot in common.

    source: its snapshots, read after those of the replica: what was received in between is in both then
    """
    common = newest_common(source, replica)
    if common is None:
        return None
    later = (each for each in replica if each.createtxg > common.createtxg)
    return WayBack(common, tuple(sorted(later, key=lambda each: each.createtxg)))


def allowed_age(interval: int) -> int:
    """How old the newest common snapshot may be, in seconds, with an interval of that many seconds.

    Just before the next snapshot has been transferred the newest one is an interval old, and one run may be
    missed; a minute is for the transfer.
    """
    return 2 * interval + 60


@dataclass(frozen=True)
class Plan:
    """What to do with a replica.

    steps: rollback, keylocation, load-key, readonly, canmount, mountpoint, mount, in the order to run them.
    report: what is wrong with it and for the operator to decide or to mend; its data stay as they are.
    refusal: why nothing can be done about it and the run has to end.
    """

    steps: tuple[str, ...] = ()
    report: str | None = None
    refusal: str | None = None


MOUNT_STEPS = ("keylocation", "load-key", "readonly", "canmount", "mountpoint", "mount")
"""The key comes before `readonly`, `readonly` before the mount point: a received dataset has no mount point, and
giving it one mounts it at once (zfsprops(7)) - writable, if it were not read-only by then."""


def plan_divergence(replica: str, written: int, back: WayBack, job: str, *, rollback: bool, writable: bool) -> Plan:
    """Decide about a replica that something came to beside what it received, which stops its replication (observed).

    written: bytes that differ from its newest snapshot, read after `zpool sync`.
    rollback: the operator named the job, and so gave up what came to it.
    writable: promoted, or made writable by hand: clients may be writing to it, and what they wrote is nowhere else.
    """
    own = ", ".join(each.short_name for each in back.drops)
    found = [f"{written} bytes were written to it since {(*back.drops, back.to)[-1].short_name}"] if written else []
    found += [f"it has snapshots of its own: {own}"] if own else []
    if not found:
        return Plan()
    diverged = f"{replica} has diverged: {' and '.join(found)}"
    if writable:
        return Plan(
            report=f"{diverged}. It was promoted, or made writable by hand, and what was written since is nowhere "
            "else: docs/runbook.md, Host dead or Virtual machine of a dead host, brings it back"
        )
    if back.kept:
        release = " && ".join(command("zfs release {} {}", tag, name) for tag, name in back.kept)
        return Plan(
            report=f"{diverged}, and no replication is accepted while they are there. Somebody holds some of that, so "
            f"nothing was dropped. If nobody needs what came after {back.to.short_name}: `{release}`, then run this "
            "again"
        )
    if rollback:
        lost = f"{replica} goes back to {back.to.short_name}, and its own snapshots {own} are lost"
        return Plan(("rollback",), lost if own else None)
    return Plan(
        report=f"{diverged}, and no replication is accepted while they are there. To drop them: "
        f"`{' && '.join(back.commands())}`, or run again with zrepl_rollback_replicas = [{job!r}]"
    )


def plan_mount(
    replica: Dataset, key: KeyCheck, keylocation: str, mountpoint: str, occupant: str | None, promoted: bool
) -> Plan:
    """Decide how a replica becomes a read-only mount, see MOUNT_STEPS.

    key: whether the key at keylocation opens it, tested without loading it.
    occupant: what is mounted on mountpoint now.
    promoted: f3s_storage's record says that clients write to it here: it is not made read-only.
    """
    if replica.is_volume:
        return Plan(refusal=f"{replica.name} is a volume and cannot be mounted on {mountpoint}")
    if occupant not in (None, replica.name):
        return Plan(
            refusal=f"{occupant} is mounted on {mountpoint}, where the replica {replica.name} belongs. Find out "
            "which of them has the data that clients wrote last. If that is the replica: "
            f"`{command('zfs set mountpoint=none {}' if occupant[0] != '/' else 'umount {}', occupant)}`"
        )
    if key is KeyCheck.WRONG:
        state = "It is open with the old key until it is unmounted" if replica.key_loaded else "It stays locked"
        return Plan(
            report=f"{keylocation} does not open {replica.name}: {key.value}. {state}. If the key was changed on "
            "the source, the next replication changes the replica's, too, and until then the old file opens it "
            f"(docs/runbook.md, Change a key). `doas zfs load-key -n -L {keylocation} {replica.name}` tells"
        )
    if key is not KeyCheck.FITS:
        return Plan(refusal=f"{keylocation} does not open {replica.name}: {key.value}")
    done = {
        "keylocation": replica.get("keylocation") == keylocation,
        "load-key": replica.key_loaded,
        "readonly": promoted or replica.get("readonly") == "on",
        "canmount": replica.get("canmount") == "on",
        "mountpoint": replica.get("mountpoint") == mountpoint,
        "mount": occupant == replica.name,
    }
    steps = tuple(step for step in MOUNT_STEPS if not done[step])
    told = f"{replica.name} was promoted: clients write to it, and it stays writable (docs/runbook.md, Host dead)"
    return Plan(steps, told if promoted else None)


def unfit_sources(
    datasets: Mapping[str, Dataset],
    wanted: Mapping[str, str],
    made: Collection[str] = (),
    machines: tuple[str, str] = ("", ""),
) -> list[str]:
    """Why jobs cannot run on this host: a sentence for each dataset that is missing or not encrypted.

    wanted: job name -> dataset.
    made: what an earlier task of the run makes where it is missing.
    machines: the tree of the virtual machines and the old one: while the first is plain or not there yet, the move of
    the machines makes it, encrypted.
    """
    new, old = machines
    moves = new not in datasets or not datasets[new].encrypted
    problems = []
    for job, name in wanted.items():
        coming = name in made or (is_within(name, new) and f"{old}{name.removeprefix(new)}" in datasets)
        if name not in datasets and not coming:
            problems.append(f"{job}: there is no dataset {name}; make it, or take the job out of zrepl_jobs")
        for dataset in datasets.values():
            if is_within(dataset.name, name) and not dataset.encrypted and not (moves and is_within(dataset.name, new)):
                problems.append(f"{job}: {dataset.name} is not encrypted, and only encrypted datasets are sent")
    return problems


def no_room(needs: Mapping[str, int], datasets: Mapping[str, Dataset], pools: Mapping[str, Pool]) -> list[str]:
    """Why replicas that have not arrived yet must not be sent: they would fill their pool, or it is full already.

    A pool that is not there yet, or that tells no size because it is suspended, is no reason here.

    needs: replica -> bytes that are still to come.
    datasets, pools: those of the target.
    """
    problems = []
    for name in dict.fromkeys(replica.partition("/")[0] for replica in needs):
        pool, root = pools.get(name), datasets.get(name)
        coming = {replica: size for replica, size in needs.items() if is_within(replica, name)}
        need = sum(coming.values())
        if pool is None or root is None or not pool.size:
            continue
        used = 1 - (pool.free - need) / pool.size
        # of the root: quotas above a replica are the operator's own
        if POOL_FULL.holds(used) or need > int(root.get("available") or 0):
            problems.append(
                f"{', '.join(coming)}: {need / 2**30:.1f} GiB are to come into {name}, which has "
                f"{pool.free / 2**30:.1f} GiB free, and a pool is full at {float(POOL_FULL.limit):.0%}"
            )
    return problems
