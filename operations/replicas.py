"""Replicas on their target: arrived, undiverged, mounted read-only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from pyinfra import logger
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.facts.files import FileContents

from f3s.controller import RECORD, recorded_writer
from f3s.keycheck import KeyCheck
from f3s.parsing import UnknownOutput
from f3s.quoting import command
from f3s.replication import (
    MOUNT_STEPS,
    PROMOTED,
    Plan,
    WayBack,
    plan_divergence,
    plan_mount,
    sent,
    unopened,
    way_back,
)
from f3s.settings.model import is_within
from f3s.zfs import Dataset, Snapshot
from facts.base import script
from facts.mounts import Mounts
from facts.zfs import Datasets, HistoryMarks, KeyChecks, Snapshots
from facts.zrepl import Written
from operations.base import Commands, executing, known, known_of, told
from operations.reasons import operation

NO_COMMON = "nothing can be replicated into it (docs/runbook.md, Disk dead, where the source was made anew)"


def _newest() -> dict[str, Snapshot]:
    """The newest snapshot of each dataset. A replica has one once its first replication is complete."""
    return {snapshot.dataset: snapshot for snapshot in known(Snapshots)}  # oldest first


def _promoted(host_name: str | None) -> bool:
    """Whether the record says that this host may write to the replica that it serves; None: it serves none."""
    if host_name is None:
        return False
    try:
        return recorded_writer(told(FileContents, path=RECORD) or ()) == host_name
    except UnknownOutput as error:
        raise OperationError(f"{host.name}: {error}") from None


@operation()
def arrived(jobs: Mapping[str, tuple[str, str]], seconds: int) -> Commands:
    """Waits for first replications. One that takes longer is no failure: the next run goes on waiting.

    The source says what else lies below a job's dataset. A dataset without a snapshot there comes with the job's next
    snapshots; only a job that has brought nothing so far is waited for until then.

    + jobs: replica of a job's dataset -> name of the source, dataset there
    + seconds: how long to wait for all of them together

    **Example:** `replicas.arrived({"zdata/sink/f0/zroot/vm": ("f0.lan.buetow.org", "zroot/vm")}, 300)`
    """
    newest = _newest()
    wanted: dict[str, str] = {}
    waited_for = []
    for replica, (source, dataset) in jobs.items():
        there = known_of(source, Datasets)
        if there is None and executing():
            host.log(
                f"what lies below {dataset} is not known: {source} could not be asked. Only {replica} is waited for; "
                "run this task again when it is back",
                logger.warning,
            )
        pairs = sent(dataset, replica, there or ())
        missing = [name for name, to in pairs.items() if to not in newest]
        if missing and replica in newest:
            taken = {snapshot.dataset for snapshot in known_of(source, Snapshots) or ()}
            missing = [name for name in missing if name in taken]
        wanted |= pairs
        waited_for += [pairs[name] for name in missing]
    if waited_for:
        yield script("await-replica", seconds, *waited_for)
        return
    host.noop(
        ", ".join(
            f"{to} has {newest[to].short_name}" if to in newest else f"{name} has no snapshot yet that could be sent"
            for name, to in wanted.items()
        )
    )


@operation()
def undiverged(
    replicas: Mapping[str, str],
    sink: str,
    sources: Mapping[str, tuple[str, str]],
    rollback: Sequence[str] = (),
    served: Mapping[str, str] = MappingProxyType({}),
) -> Commands:
    """Replicas, and what is below them, have only what they received. Anything else is reported, and dropped only if
    the settings say so.

    + replicas: dataset -> name of the job that fills it
    + sink: dataset that all of them are below
    + sources: name of the job -> the host that sends, dataset there
    + rollback: names of the jobs whose replicas are rolled back
    + served: the replica that this host serves -> its short name, see `mounted`

    **Example:** `replicas.undiverged({"zdata/sink/f0/zdata/enc/nfsdata": "f0_to_f1_nfsdata"}, "zdata/sink",
    {"f0_to_f1_nfsdata": ("f0.lan.buetow.org", "zdata/enc/nfsdata")})`
    """
    received = known(Snapshots)
    # zrepl's placeholders, and what is not complete yet, have no snapshot
    names = {snapshot.dataset for snapshot in received}
    there = {dataset: job for dataset, job in replicas.items() if dataset in names}
    written = known(Written, tree=sink) if there else {}
    # after the replicas' own: see way_back
    origins = {
        host_name: known_of(host_name, Snapshots) for host_name in {sources[job][0]: None for job in there.values()}
    }
    clean = True
    for replica, job in there.items():
        source, origin = sources[job]
        for name in (name for name in written if is_within(name, replica) and name in names):
            own = [snapshot for snapshot in received if snapshot.dataset == name]
            theirs = [each for each in origins[source] or () if each.dataset == origin + name.removeprefix(replica)]
            # if the source is off, or no longer has it, only the written bytes are known
            back = way_back(theirs, own) if theirs else WayBack(own[-1])
            if back is None:
                host.log(f"{name} has no snapshot in common with its source on {source}: {NO_COMMON}", logger.warning)
            elif back.drops or written[name]:
                found = known(Datasets).get(name)
                # a machine's replica is read-only again while it returns, and its source may be off
                marked = any(each.short_name.startswith(PROMOTED) for each in (back.drops if theirs else own))
                open_now = found is not None and found.get("readonly") == "off"
                writable = marked or open_now or _promoted(served.get(name))
                back = back.held(known(HistoryMarks).holds)
                plan = plan_divergence(name, written[name], back, job, rollback=job in rollback, writable=writable)
                if plan.report:
                    host.log(plan.report, logger.warning)
                if plan.steps:
                    yield from back.commands()
            else:
                continue
            clean = False
    if clean:
        missing = "".join(f"; {dataset} has not arrived yet" for dataset in replicas if dataset not in there)
        host.noop(f"nothing was written to {', '.join(there) or 'any replica'}{missing}")


@operation()
def keys_named(replicas: Mapping[str, str], opened: Collection[str]) -> Commands:
    """Encrypted datasets that stay closed name the key that opens them, and are read-only, whoever made their sink.

    One that was promoted, because its virtual machine runs here, stays writable.

    They are received with `keylocation=prompt`.

    Without the name nobody could tell whether a key that is lost on all sticks still matters (f3s.keys). Each is
    tested in every run, because a key that was changed on the source arrives only with the next replication. A dataset
    that the key does not open is reported and keeps its location.

    + replicas: dataset -> `file:///keys/SOURCE:PURPOSE.key`
    + opened: replicas that `mounted` opens; it names their key as well

    **Example:** `replicas.keys_named({"zdata/sink/f0/zroot/bhyve/fedora": "file:///keys/f0:bhyve.key"}, [])`
    """
    newest = _newest()  # one that has not wholly arrived has no snapshot
    promoted = {each.dataset for each in known(Snapshots) if each.short_name.startswith(PROMOTED)}
    closed: dict[str, str] = {}
    datasets = known(Datasets)
    for dataset in datasets.values():
        if dataset.name in newest and any(is_within(dataset.name, replica) for replica in replicas):
            _refuse_plain(dataset)
        if dataset.is_encryption_root and dataset.name in newest and dataset.name not in opened:
            wanted = next((key for replica, key in replicas.items() if is_within(dataset.name, replica)), None)
            if wanted is not None:
                closed[dataset.name] = wanted
    checks = known(KeyChecks, keys=tuple(closed.items())) if closed else {}
    fine = True
    for name, keylocation in closed.items():
        check = checks.get(name)
        if datasets[name].get("readonly") == "off" and name not in promoted:
            fine = False
            yield command("zfs set readonly=on {}", name)
        if check is not KeyCheck.FITS:
            fine = False
            host.log(unopened(name, keylocation, check), logger.warning)
        elif datasets[name].get("keylocation") != keylocation:
            fine = False
            yield command("zfs set keylocation={} {}", keylocation, name)
    if fine:
        host.noop("every replica that has arrived names the key that opens it")


def _refuse_plain(replica: Dataset) -> None:
    if not replica.encrypted:
        pool, _, rest = replica.name.partition("/")
        aside = f"{pool}/{rest.rpartition('/')[2]}_plain"
        way = command("zfs set mountpoint=none {} && zfs rename {} {}", replica.name, replica.name, aside)
        raise OperationError(
            f"{host.name}: the replica {replica.name} is not encrypted: an earlier job sent it so, and no encrypted "
            f"stream can be received into it. Set it aside: `{way}`. Then run this again: all is sent anew. Destroy "
            "the old one once that has arrived, its data are plain text"
        )


@operation()
def mounted(dataset: str, keylocation: str, mountpoint: str, serves: str | None = None) -> Commands:
    """A replica is open with its source's key and mounted, also after a reboot: read-only, unless it was promoted.

    + dataset: the replica
    + keylocation: `file:///keys/SOURCE:PURPOSE.key`
    + mountpoint: where it is mounted
    + serves: short name of this host, where it serves this replica: as the record of f3s_storage has it

    **Example:** `replicas.mounted("zdata/sink/f0/zdata/enc/nfsdata", "file:///keys/f0:zdata.key", "/data/nfs")`
    """
    commands = {
        "keylocation": command("zfs set keylocation={} {}", keylocation, dataset),
        "load-key": command("zfs load-key {}", dataset),
        "readonly": command("zfs set readonly=on {}", dataset),
        "canmount": command("zfs set canmount=on {}", dataset),
        "mountpoint": command("zfs set mountpoint={} {}", mountpoint, dataset),
        # setting the mount point may have mounted it already
        "mount": command("case $(zfs get -H -o value mounted {}) in yes) ;; *) zfs mount {} ;; esac", dataset, dataset),
    }
    found = known(Datasets).get(dataset)
    if found is None or dataset not in _newest():
        if executing():
            host.log(
                f"{dataset} has not arrived yet, so {mountpoint} is not mounted. A first replication of much "
                "data takes long: see `zrepl status` on the source, and run this task again afterwards",
                logger.warning,
            )
            return
        yield from (commands[step] for step in MOUNT_STEPS)
        return
    _refuse_plain(found)
    key = known(KeyChecks, keys=((dataset, keylocation),)).get(dataset)
    mount = known(Mounts, directories=()).at(mountpoint)
    plan = plan_mount(
        found, key or KeyCheck.NO_FILE, keylocation, mountpoint, mount.device if mount else None, _promoted(serves)
    )
    if plan.refusal:
        raise OperationError(f"{host.name}: {plan.refusal}")
    if plan.report:
        host.log(plan.report, logger.warning)
    yield from (commands[step] for step in plan.steps)
    if plan == Plan():
        host.noop(f"{dataset} is mounted read-only on {mountpoint}, and {keylocation} opens it")
