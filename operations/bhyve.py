"""The steps of the migration of VM datasets, planned by f3s.bhyve from the facts of the moment."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host

from f3s.bhyve import Plan, plan
from f3s.bhyve_steps import Step
from f3s.bhyve_tree import Refusal, Wanted
from f3s.keycheck import KeyCheck
from f3s.mounts import MountTable
from f3s.secretfile import ABSENT, SecretState
from f3s.vmbhyve import VmHost
from f3s.zfs import Dataset, Snapshot, key_file
from facts.base import FILES
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from facts.mounts import Mounts
from facts.rcconf import Variables
from facts.secrets import SecretFile
from facts.zfs import KeyChecks, Snapshots
from operations.base import Shown, executing, known


def wanted(
    dataset: str,
    old: str,
    snapshot: str,
    key_file: str,
    encryption: str,
    stick: str,
    stop_timeout: int,
    destroy_old: bool,
) -> Wanted:
    """What the migration of the current host is to reach, with the programs that run there."""
    return Wanted(
        dataset=dataset,
        old=old,
        snapshot=snapshot,
        key_file=key_file,
        encryption=encryption,
        stick=stick,
        stop_timeout=stop_timeout,
        destroy_old=destroy_old,
        wait_script=(FILES / "once" / "bhyve-wait.sh").read_text(),
        metadata_script=(FILES / "once" / "bhyve-metadata.sh").read_text(),
        guard_script=(FILES / "once" / "guard-below.sh").read_text(),
    )


class HostFacts:
    """The facts of the current host, each read when a plan first asks for it."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self._key_file = wanted, wanted.key_file

    @cached_property
    def datasets(self) -> Mapping[str, Dataset]:
        return known(AllProperties)

    @cached_property
    def snapshots(self) -> tuple[Snapshot, ...]:
        return known(Snapshots)

    @cached_property
    def vm(self) -> VmHost:
        return known(Vms)

    @cached_property
    def vm_dir(self) -> str | None:
        return known(Variables, names=("vm_dir",))["vm_dir"]

    @cached_property
    def encryption_feature(self) -> str:
        return known(EncryptionFeature, pool=self._wanted.dataset.partition("/")[0])

    @cached_property
    def key_present(self) -> bool | None:
        key: SecretState | None = host.get_fact(SecretFile, path=self._key_file)
        if key is None:
            raise OperationError(f"{host.name}: it could not be found out whether {self._key_file} is there")
        # while the plan is made, usb_keys of the same run may have yet to bring the key
        return True if key != ABSENT else (False if executing() else None)

    @cached_property
    def key_check(self) -> KeyCheck | None:
        dataset = self._wanted.dataset
        check = known(KeyChecks, keys=((dataset, f"file://{self._key_file}"),)).get(dataset)
        return None if check is KeyCheck.NO_FILE and not executing() else check

    def mounts(self, directory: str) -> MountTable:
        return known(Mounts, directories=(directory,))


@dataclass(frozen=True)
class Survey:
    """steps: those that are left, none where the migration refuses (`finished` reports it); encrypted: the dataset
    is an encryption root with a key file, or will be one after them."""

    steps: tuple[Step, ...]
    encrypted: bool


def survey(wanted: Wanted) -> Survey:
    """The plan of the whole migration, for one operation each."""
    facts = HostFacts(wanted)
    dataset = facts.datasets.get(wanted.dataset)
    # a root of somebody else may have no key file: nothing at boot could open it
    encrypted = dataset is not None and dataset.is_encryption_root and key_file(dataset.get("keylocation")) is not None
    try:
        steps = plan(facts, wanted).steps
    except Refusal:
        return Survey((), encrypted)
    return Survey(steps, encrypted or bool(steps))


@operation()
def step(planned: Step, wanted: Wanted) -> Generator[StringCommand]:
    """One step of the migration, planned again from facts when its turn comes.

    + planned: the step as the plan of the whole migration foresaw it
    + wanted: what the migration is to reach

    :raises OperationError: the migration refuses, or the host is not in the state that this step leaves
    """
    if not executing():
        yield from (Shown(command) for command in planned.commands)
        return
    steps = _plan(wanted).steps
    current = next((each for each in steps if each.key == planned.key), None)
    if current is None:
        host.noop(f"not needed any more: {planned.title}")
        return
    if steps[0] is not current:
        raise OperationError(
            f"{host.name}: the next step is now '{steps[0].title}', not '{planned.title}': something changed since"
            " the plan was made. Run again"
        )
    yield from (Shown(command) for command in current.commands)


@operation()
def finished(wanted: Wanted) -> Generator[StringCommand]:
    """Nothing of the migration is left to do; says what is there.

    + wanted: what the migration is to reach

    :raises OperationError: the migration refuses, or steps are left when it should be over
    """
    left = _plan(wanted)
    if left.steps and executing():
        raise OperationError(f"{host.name}: left to do: {left.steps[0].title}. Run again")
    host.noop(left.found or f"{len(left.steps)} steps of the migration come before this")
    yield from ()


def _plan(wanted: Wanted) -> Plan:
    """The plan from facts; raises OperationError with the reason where the migration refuses."""
    try:
        return plan(HostFacts(wanted), wanted)
    except Refusal as refusal:
        raise OperationError(f"{host.name}: {refusal}") from None
