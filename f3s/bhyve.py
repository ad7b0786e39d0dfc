"""Moves vm-bhyve's datasets below an encrypted parent: finds the next steps from facts alone.

D is the dataset (`zroot/bhyve`), O the old tree (`zroot/bhyve_old`), S the migration snapshot. Each row is a state
that the facts show; what leaves it is one command, so a run that is killed is in one of these rows:

| state, found by                                         | step that leaves it                                    |
|---------------------------------------------------------|--------------------------------------------------------|
| D plain, no mark                                        | record: bare mount point `schg`, mark on D with S,     |
|                                                         | mount point, running VMs                               |
| D marked `started`, VMs run or have locks               | stop: ACPI shutdown, bounded wait, stale locks removed |
| VMs stopped, a dataset of D could be mounted or written | retire: canmount=noauto, readonly=on, old values noted |
| all retired, some mounted                               | unmount                                                |
| D marked, retired, not mounted                          | rename: D becomes O, the marks go with it              |
| O marked `started`, its mount point still D's           | move away: mount point of O                            |
| O without S                                             | snapshot, recursive                                    |
| O with S, written to since, D not `verified`            | again: another name for S, which O is without          |
| O with S, no D                                          | parent: bare mount point `schg`, then encrypted D,     |
|                                                         | marked `copying` as it is made                         |
| D `copying`, key not loaded or not mounted (a reboot)   | key: loaded, D mounted                                 |
| a child of O without counterpart, or that one has fewer | copy: full stream of the oldest snapshot, then one     |
| snapshots, a resume token or other settings             | increment a snapshot, then the settings                |
| D without the GUID of O@S                               | metadata: O mounted read-only, files copied and        |
|                                                         | compared, O unmounted, GUID noted on D                 |
| all of that done, D `copying`                           | verify: all proofs, D marked `verified`                |
| D `verified`, a child not mounted as it was             | activate: canmount as before, mount                    |
| D `verified`, all mounted, O `started`                  | start: vm init, VMs that ran; then O marked `done`     |
| O `done` or `destroying`                                | none; with the explicit switch: destroy                |
| O `done` or destroyed, D not open                       | those of f3s.bhyve_open                                |

Why this is safe:
- A mark is a ZFS user property local to the dataset, set in the same command as the change that it tells of.
- The old tree is unmounted with canmount=noauto everywhere before it gives up its name, so that a reboot at any point
  mounts no two datasets at one place. Nothing is mounted at D's mount point until D is encrypted, and the bare
  directory there takes no writes from before D is made: a boot without the key puts no plain text into it.
- Copies are streams of one dataset and one snapshot each, without properties (no -p, no -R): they resume one by one,
  cannot carry encryption=off (observed: -R does), and bring no mount point along. Settings local to the source go with
  the first stream as -o, and are set from facts after the copy, since a resumed stream has none.
- What changed in O after S is copied by one more snapshot, whatever it is. After a power cut the import marks the
  intent log of a dataset (zil.c: zil_claim), which shows as 1024 bytes written; its stream is empty (observed), and ZFS
  does not take it for a change (dsl_dataset.c: dsl_dataset_modified_since_snap).
- Copied are every file system and volume below D with all of their snapshots up to S. Of D itself the files are copied;
  its own older snapshots stay in O. A clone becomes a full copy: its data is kept, the shared space is not.
- Encryption is decided when a dataset is made: `-x encryption` goes with the first stream, an existing target keeps
  what it has, and a target with another encryption root than D stops everything.

Sources: zfs-send(8), zfs-receive(8), zfsprops(7) of OpenZFS 2.1; vm-bhyve lib/vm-core, lib/vm-zfs; observations.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import NoReturn

from f3s.bhyve_copy import set_properties
from f3s.bhyve_open import keep_open
from f3s.bhyve_steps import Migration, Step
from f3s.bhyve_tree import Facts, Refusal, Wanted, check_encrypted, check_roots, local, value
from f3s.keycheck import KeyCheck
from f3s.quoting import command
from f3s.zfs import MIGRATION, Dataset, Property


@dataclass(frozen=True)
class Plan:
    """The steps that are left; where there are none, found says what is there instead."""

    steps: tuple[Step, ...]
    found: str


def plan(facts: Facts, wanted: Wanted) -> Plan:
    """All steps that are left, in order; what an earlier step has yet to make is foreseen.

    Raises Refusal, so before any step, where the state is not one that this migration has made or may change.
    """
    new, old = facts.datasets.get(wanted.dataset), facts.datasets.get(wanted.old)
    mark = local(old, MIGRATION)
    _check_name(facts, wanted)
    if mark not in (None, "started", "done", "destroying"):
        raise Refusal(f"{wanted.old} has the unknown mark {MIGRATION}={mark}")
    if new is None and old is None:
        return Plan((), f"there is no dataset {wanted.dataset}")
    if old and mark is None and (new is None or not new.encrypted):
        raise Refusal(
            f"{old.name} is of unknown origin (it has no mark of this migration); look at it,"
            f" then rename or destroy it by hand"
        )
    if old and mark and new and not new.encrypted:
        raise Refusal(f"{new.name} is not encrypted, and {old.name} was renamed from it: somebody made a second one")
    if old and mark == "started":
        return Plan(tuple(Migration(facts, wanted, old).after_rename()), "")
    if old and mark:
        return _afterwards(facts, wanted, old)
    assert new is not None
    if new.encrypted:
        remark = check_encrypted(facts.datasets, new)
        if wanted.destroy_old and old:
            raise Refusal(f"{old.name} is of unknown origin (it has no mark of this migration): it is not destroyed")
        return Plan(tuple(keep_open(facts, wanted, new)), f"{new.name} and all below it are encrypted{remark}")
    if not facts.vm.installed and local(new, MIGRATION) is None:
        return Plan((), f"vm-bhyve is not installed, {new.name} is left alone")
    migration = Migration(facts, wanted, new)
    return Plan((*migration.before_rename(), *migration.after_rename()), "")


def _check_name(facts: Facts, wanted: Wanted) -> None:
    """Raises Refusal where a migration is under way from another old tree than the wanted one: the name changed."""
    for dataset in facts.datasets.values():
        mark = dataset.properties.get(MIGRATION)
        # a mark that came with a stream (`received`) is that of a backup
        if mark == Property("started", "local") and dataset.name not in (wanted.dataset, wanted.old):
            raise Refusal(
                f"a migration is under way from {dataset.name}, but bhyve_old_dataset is {wanted.old}: set it back"
                " until it is over"
            )
    new = facts.datasets.get(wanted.dataset)
    if local(new, MIGRATION) == "copying" and wanted.old not in facts.datasets:
        raise Refusal(
            f"{wanted.dataset} is not complete, and {wanted.old}, which it is copied from, is not there: look for"
            f" the old tree, and set bhyve_old_dataset to its name"
        )


def _afterwards(facts: Facts, wanted: Wanted, old: Dataset) -> Plan:
    """The migration is over: the old tree is destroyed, on the explicit switch and with all proofs, or kept."""
    new, mark = facts.datasets.get(wanted.dataset), local(old, MIGRATION)
    if new is None:
        raise Refusal(f"{old.name} is marked {mark}, but {wanted.dataset} is gone: {old.name} may be the only copy")
    if new.encryption_root != new.name:
        raise Refusal(f"{new.name} is not an encryption root of its own any more, but under {new.encryption_root}")
    if not wanted.destroy_old:
        remark = check_encrypted(facts.datasets, new)
        state = "destroyed in part" if mark == "destroying" else "kept"
        found = f"{new.name} is migrated; {old.name} is {state}, bhyve_destroy_old destroys it{remark}"
        return Plan(tuple(keep_open(facts, wanted, new)), found)

    def keep(why: str) -> NoReturn:
        raise Refusal(f"{old.name} is not destroyed: {why}")

    try:
        check_roots(facts.datasets, new.name, new.name)
        if steps := tuple(keep_open(facts, wanted, new)):
            return Plan(steps, "")
    except Refusal as refusal:
        keep(str(refusal))
    if not (new.key_loaded and new.mounted):
        keep(f"{new.name} is not mounted with its key loaded")
    # a loaded key proves nothing about the next boot: what is kept must open from the stick, as it will then
    folder = posixpath.dirname(wanted.key_file)
    stick = facts.mounts(folder).at(folder)
    if stick is None or stick.device != wanted.stick:
        keep(f"the stick {wanted.stick} is not mounted on {folder}, but {stick.device if stick else 'nothing'}")
    if (location := value(new, "keylocation")) != f"file://{wanted.key_file}":
        keep(f"the boot opens {new.name} with {location}, not with file://{wanted.key_file}")
    if facts.key_check is not KeyCheck.FITS:
        keep(f"{wanted.key_file} is not proven to open {new.name}")
    migration = Migration(facts, wanted, old)
    if mark == "done":
        migration.prove(new)
    if facts.vm.vms is None:
        keep(f"unknown whether the virtual machines run from {new.name}: {facts.vm.problem}")
    down = sorted(set(migration.recorded) - {vm.name for vm in facts.vm.vms if vm.running})
    if down:
        keep(f"not running from {new.name}: {', '.join(down)}")
    names = {d.name for d in migration.sources}
    clones = [
        d.name
        for d in facts.datasets.values()
        if d.name not in names and (value(d, "origin") or "").partition("@")[0] in names
    ]
    if clones:
        keep(f"{', '.join(clones)} are clones of its snapshots")
    mounted = [d.name for d in reversed(migration.sources) if d.mounted]
    commands = (
        *(command("zfs unmount {}", name) for name in mounted),
        set_properties({MIGRATION: "destroying"}, old.name),
        command("zfs destroy -r {}", old.name),
    )
    return Plan((Step("destroy", f"destroy {old.name} and all below it", commands),), "")
