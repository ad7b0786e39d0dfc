"""The steps of the migration of VM datasets, planned by f3s.bhyve from the facts of the moment."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.bhyve.model import Facts, Plan, Programs, Step, Wanted
from f3s.bhyve.plan import at_rest, is_ours, left_alone, place, plan
from f3s.bhyve.tree import Refusal
from f3s.bhyve.vms import VmHost
from f3s.keycheck import KeyCheck
from f3s.secretfile import ABSENT
from f3s.zfs import Dataset
from facts.base import FILES
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from facts.mounts import Mounts
from facts.rcconf import Variables
from facts.secrets import SecretFiles
from facts.zfs import KeyChecks, Snapshots
from operations.base import Shown, executing, in_turn, known, nothing_left
from operations.reasons import noted, operation

PROGRAMS = Programs(
    wait=(FILES / "once" / "bhyve-wait.sh").read_text(),
    metadata=(FILES / "once" / "bhyve-metadata.sh").read_text(),
    guard=(FILES / "once" / "guard-below.sh").read_text(),
)
"""What the steps run on a host, for Wanted."""


def left_at_first(wanted: Wanted) -> Plan:
    """What is left to do on the current host, for the plan of the run: nothing where the migration refuses."""
    plan_now = Plan((), "the migration refuses", key_at_boot=False)
    with noted():
        plan_now = left(wanted)
    return plan_now


def left(wanted: Wanted) -> Plan:
    """What is left to do on the current host. One that is done, or has no such dataset, is asked for nothing else.

    :raises OperationError: the migration refuses, or a fact is unknown
    """
    datasets = known(AllProperties)
    key_check = _key_check(wanted) if is_ours(datasets, wanted) else None
    try:
        if rest := at_rest(datasets, key_check, wanted):
            return rest
        vm = known(Vms)
        return left_alone(datasets, vm, wanted) or plan(_facts(datasets, key_check, vm, wanted), wanted)
    except Refusal as refusal:
        raise OperationError(f"{host.name}: {refusal}") from None


def _facts(datasets: Mapping[str, Dataset], key_check: KeyCheck | None, vm: VmHost, wanted: Wanted) -> Facts:
    return Facts(
        datasets=datasets,
        key_check=key_check,
        key_present=_key_present(wanted.key_file),
        snapshots=known(Snapshots),
        vm=vm,
        vm_dir=known(Variables, names=("vm_dir",))["vm_dir"],
        encryption_feature=known(EncryptionFeature, pool=wanted.dataset.partition("/")[0]),
        mounts=known(Mounts, directories=place(datasets, wanted)),
    )


# while the plan is made, usb_keys of the same run may have yet to bring the key


def _key_check(wanted: Wanted) -> KeyCheck | None:
    check = known(KeyChecks, keys=((wanted.dataset, wanted.location),)).get(wanted.dataset)
    return None if check is KeyCheck.NO_FILE and not executing() else check


def _key_present(path: str) -> bool | None:
    if known(SecretFiles, paths=(path,)) != (ABSENT,):
        return True
    return False if executing() else None


@operation()
def step(planned: Step, wanted: Wanted) -> Generator[StringCommand]:
    """One step of the migration, planned again from facts when its turn comes.

    + planned: the step as the plan of the whole migration foresaw it

    :raises OperationError: the migration refuses, or the host is not in the state that this step leaves
    """
    if not executing():
        yield from (Shown(command) for command in planned.commands)
        return
    current = in_turn(planned, left(wanted).steps)
    yield from (Shown(command) for command in (current.commands if current else ()))


@operation()
def finished(planned: Plan, wanted: Wanted) -> Generator[StringCommand]:
    """Nothing of the migration is left to do; says what is there.

    + planned: the plan of the whole migration

    :raises OperationError: the migration refuses, or steps are left when it should be over
    """
    now = left(wanted) if executing() else planned
    if executing():
        nothing_left(now.steps)
    host.noop(now.found or f"{len(now.steps)} steps of the migration come before this")
    yield from ()
