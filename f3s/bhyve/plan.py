"""The plan of a host, and the order of the migration; the table in f3s.bhyve says which state each step leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from f3s.bhyve import afterwards, rebuild, retire
from f3s.bhyve.copying import copy_children
from f3s.bhyve.model import Facts, Migration, Plan, Step, Wanted, mountpoint
from f3s.bhyve.tree import Refusal, check_encrypted, local
from f3s.bhyve.vms import VmHost
from f3s.keycheck import KeyCheck
from f3s.quoting import command
from f3s.zfs import MIGRATION, Dataset, Property, key_file


def migrate(migration: Migration) -> Iterator[Step]:
    """The migration in its order. What has no step left yields none; what an earlier step has yet to make is foreseen.

    Raises Refusal, so before any step, where the state is not one that this migration has made or may change.
    """
    if not migration.renamed:
        retire.check_start(migration)
        yield from retire.record(migration)
        yield from retire.stop(migration)
        yield from retire.retire(migration)
        yield retire.rename(migration)
    else:
        rebuild.check_under_way(migration)
        yield from rebuild.move_away(migration)
    yield from rebuild.snapshot(migration)
    yield from rebuild.parent(migration)
    copies = [*copy_children(migration), *rebuild.metadata(migration)]
    yield from copies
    yield from rebuild.verify(migration, complete=not copies)
    yield from rebuild.activate(migration)
    yield rebuild.start(migration)


def plan(facts: Facts, wanted: Wanted) -> Plan:
    """All steps that are left, in order. Raises Refusal as `migrate` and `at_rest`."""
    if rest := at_rest(facts.datasets, facts.key_check, wanted):
        return rest
    new, old = facts.datasets.get(wanted.dataset), facts.datasets.get(wanted.old)
    if old and local(old, MIGRATION) == "started":
        return _planned(migrate(Migration(facts, wanted, old)))
    assert new is not None
    if old and new.encrypted and wanted.destroy_old:
        return _planned(afterwards.destroy(facts, wanted, new, old))
    if new.encrypted:
        return _planned(afterwards.keep_open(facts, wanted, new))
    return left_alone(facts.datasets, facts.vm, wanted) or _planned(migrate(Migration(facts, wanted, new)))


def left_alone(datasets: Mapping[str, Dataset], vm: VmHost, wanted: Wanted) -> Plan | None:
    """The plan of a host without vm-bhyve on which no migration has begun; None on another one."""
    new, old = datasets.get(wanted.dataset), datasets.get(wanted.old)
    if vm.installed or new is None or new.encrypted or local(new, MIGRATION) or local(old, MIGRATION) == "started":
        return None
    return Plan((), f"vm-bhyve is not installed, {new.name} is left alone", key_at_boot=False)


def _planned(steps: Iterator[Step]) -> Plan:
    return Plan(tuple(steps), "", key_at_boot=True)


def at_rest(datasets: Mapping[str, Dataset], key_check: KeyCheck | None, wanted: Wanted) -> Plan | None:
    """The plan without steps where the datasets and the check of the key show it; None where all facts are needed.

    key_check: as in Facts, None where D is no encryption root of this deploy.
    Raises Refusal where a dataset is not what this migration makes.
    """
    _check_marks(datasets, wanted)
    new, old = datasets.get(wanted.dataset), datasets.get(wanted.old)
    mark = local(old, MIGRATION)
    if new is None and old is None:
        return Plan((), f"there is no dataset {wanted.dataset}", key_at_boot=False)
    if new is None or not new.encrypted or mark == "started":
        return None
    if old and wanted.destroy_old:
        if mark:
            return None
        raise Refusal(f"{old.name} is of unknown origin (it has no mark of this migration): it is not destroyed")
    remark = check_encrypted(datasets, new)
    if not afterwards.is_open(new, key_check, wanted):
        return None
    found = f"{new.name} and all below it are encrypted"
    if mark:
        state = "destroyed in part" if mark == "destroying" else "kept"
        found = f"{new.name} is migrated; {wanted.old} is {state}, bhyve_destroy_old destroys it"
    # a root of somebody else may have no key file: nothing at boot could open it
    keyed = new.is_encryption_root and key_file(new.get("keylocation")) is not None
    return Plan((), found + remark, key_at_boot=keyed)


def is_ours(datasets: Mapping[str, Dataset], wanted: Wanted) -> bool:
    """D is an encryption root of this deploy, so its key has to fit."""
    new, old = datasets.get(wanted.dataset), datasets.get(wanted.old)
    return new is not None and new.is_encryption_root and bool(local(new, MIGRATION) or local(old, MIGRATION))


def place(datasets: Mapping[str, Dataset], wanted: Wanted) -> tuple[str, ...]:
    """The directory where D is mounted, or will be, if there is one."""
    new, old = datasets.get(wanted.dataset), datasets.get(wanted.old)
    root = old if local(old, MIGRATION) == "started" else new
    _, path = mountpoint(root) if root else ("", "")
    return (path,) if path.startswith("/") else ()


def _check_marks(datasets: Mapping[str, Dataset], wanted: Wanted) -> None:
    """Raises Refusal where D and O are not a pair that this migration has made or may change."""
    new, old = datasets.get(wanted.dataset), datasets.get(wanted.old)
    mark = local(old, MIGRATION)
    for dataset in datasets.values():
        # the name was changed. A mark that came with a stream (`received`) is that of a backup
        begun = dataset.properties.get(MIGRATION) == Property("started", "local")
        if begun and dataset.name not in (wanted.dataset, wanted.old):
            raise Refusal(
                f"a migration is under way from {dataset.name}, but bhyve_old_dataset is {wanted.old}: set it back"
                " until it is over"
            )
    if new and local(new, MIGRATION) == "copying" and mark is None:
        aside = command("zfs rename {} {}", new.name, f"{new.name}_part")
        raise Refusal(
            f"{new.name} is not complete, and no dataset has the mark of what it is copied from any more. To begin anew"
            f" with a backup: `{aside}`, then receive it as {new.name}"
        )
    if mark not in (None, "started", "done", "destroying"):
        raise Refusal(f"{wanted.old} has the unknown mark {MIGRATION}={mark}")
    if old and mark is None and (new is None or not new.encrypted):
        raise Refusal(
            f"{old.name} is of unknown origin (it has no mark of this migration): look at it. If its name is free for"
            f" the old tree: `{command('zfs rename {} {}', old.name, f'{old.name}_aside')}`"
        )
    if old and mark and new and not new.encrypted:
        raise Refusal(f"{new.name} is not encrypted, and {old.name} was renamed from it: somebody made a second one")
    if mark in ("done", "destroying") and new is None:
        raise Refusal(f"{wanted.old} is marked {mark}, but {wanted.dataset} is gone: {wanted.old} may be the only copy")
    ours = mark != "started" and (mark or local(new, MIGRATION))
    if ours and new and new.encrypted and not new.is_encryption_root:
        raise Refusal(f"{new.name} is not an encryption root of its own any more, but under {new.encryption_root}")
