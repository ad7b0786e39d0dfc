"""Replicas on their target: arrived, undiverged, mounted read-only."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host

from f3s.keycheck import KeyCheck
from f3s.quoting import command
from f3s.replication import MOUNT_STEPS, Plan, plan_divergence, plan_mount
from f3s.zfs import Snapshot
from facts.mounts import Mounts
from facts.zfs import Datasets, KeyChecks, Snapshots
from facts.zrepl import Written
from operations.base import Commands, executing, known
from operations.zrepl import script


def _newest() -> dict[str, Snapshot]:
    """The newest snapshot of each dataset. A replica has one once its first replication is complete."""
    return {snapshot.dataset: snapshot for snapshot in known(Snapshots)}  # oldest first


@operation()
def arrived(dataset: str, seconds: int) -> Commands:
    """Waits for a first replication. One that takes longer is no failure: the next run goes on from there.

    + dataset: the replica
    + seconds: how long to wait

    **Example:** `replicas.arrived("zdata/sink/f0/zdata/enc/nfsdata", 300)`
    """
    if newest := _newest().get(dataset):
        host.noop(f"{dataset} has arrived, its newest snapshot is {newest.short_name}")
        return
    yield script("await-replica", dataset, seconds)


@operation()
def undiverged(dataset: str, job: str, rollback: bool = False) -> Commands:
    """Nothing was written to a replica, nor below it; what was is reported, and dropped only if that is wanted.

    + dataset: the replica
    + job: name of the job that fills it
    + rollback: drop what was written

    **Example:** `replicas.undiverged("zdata/sink/f0/zdata/enc/nfsdata", "f0_to_f1_nfsdata")`
    """
    newest = _newest()
    if dataset not in newest:
        host.noop(f"{dataset} has not arrived yet")
        return
    clean = True
    for name, written in known(Written, tree=dataset).items():
        if name not in newest:
            continue  # one of zrepl's placeholders, or not complete yet
        plan = plan_divergence(name, written, newest[name], job, rollback)
        clean = clean and plan == Plan()
        if plan.report:
            host.log(plan.report, logger.warning)
        elif plan.steps:
            yield command("zfs rollback {}", newest[name].name)
    if clean:
        host.noop(f"{dataset} is as its newest snapshot")


@operation()
def mounted(dataset: str, keylocation: str, mountpoint: str) -> Commands:
    """A replica is open with its source's key and mounted read-only; also after a reboot.

    + dataset: the replica
    + keylocation: `file:///keys/SOURCE:PURPOSE.key`
    + mountpoint: where it is mounted

    **Example:** `replicas.mounted("zdata/sink/f0/zdata/enc/nfsdata", "file:///keys/f0:zdata.key", "/data/nfs")`
    """
    commands = {
        "keylocation": command("zfs set keylocation={} {}", keylocation, dataset),
        "load-key": command("zfs load-key {}", dataset),
        "readonly": command("zfs set readonly=on {}", dataset),
        "canmount": command("zfs set canmount=on {}", dataset),
        "mountpoint": command("zfs set mountpoint={} {}", mountpoint, dataset),
        # setting the mount point may have mounted it
        "mount": command("case $(zfs get -H -o value mounted {}) in yes) ;; *) zfs mount {} ;; esac", dataset, dataset),
    }
    found = known(Datasets).get(dataset)
    if found is None or dataset not in _newest():
        if executing():
            host.log(
                f"{dataset} has not arrived yet, so {mountpoint} is not mounted. A first replication takes as long "
                "as the data are large: see `zrepl status` on the source, and run this task again afterwards",
                logger.warning,
            )
            return
        yield from (commands[step] for step in MOUNT_STEPS)
        return
    key = known(KeyChecks, keys=((dataset, keylocation),)).get(dataset)
    mount = known(Mounts, directories=()).at(mountpoint)
    plan = plan_mount(found, key or KeyCheck.NO_FILE, keylocation, mountpoint, mount.device if mount else None)
    if plan.refusal:
        raise OperationError(f"{host.name}: {plan.refusal}")
    if plan.report:
        host.log(plan.report, logger.warning)
        return
    yield from (commands[step] for step in plan.steps)
    if not plan.steps:
        host.noop(f"{dataset} is mounted read-only on {mountpoint}, and {keylocation} opens it")
