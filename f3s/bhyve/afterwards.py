"""D is migrated: it stays open, and the old tree is destroyed on the explicit switch, with all proofs.

What a boot without the stick could not do is made up for. D is an encryption root with the mark of this deploy; one
that somebody else made is left alone.

| state, found by                                     | step that leaves it                                           |
|-----------------------------------------------------|---------------------------------------------------------------|
| keylocation of D is not the wanted key file         | key file: keylocation, once the file is proven to open D      |
| D `verified`, its key not loaded, or D not mounted  | open: D marked `opening`, mount point guarded, key, mount     |
| D `opening`, a file system below is not mounted     | mount                                                         |
| D `opening`, all mounted                            | machines: vm init, those of vm_list that are off, as the boot |
|                                                     | would have done; then D marked `verified` again               |

The mark makes up for a run that is killed in between: a machine that is off while D is `verified` was stopped by
somebody, and stays so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from f3s.bhyve.commands import guard, set_properties, start_commands
from f3s.bhyve.model import Facts, Migration, Step, Wanted
from f3s.bhyve.tree import Refusal, check_roots, local, to_mount, tree, value
from f3s.keycheck import KeyCheck
from f3s.quoting import Shell, command
from f3s.zfs import MIGRATION, Dataset


def is_open(new: Dataset, key_check: KeyCheck | None, wanted: Wanted) -> bool:
    """D is open, and will be after the next boot, or is somebody else's to open.

    Raises Refusal where the key file does not open D.
    """
    mark = local(new, MIGRATION)
    if mark not in ("verified", "opening"):
        return True
    if key_check not in (KeyCheck.FITS, None):
        now = (
            "its key is loaded now, but after the next reboot the virtual machines could not be opened"
            if new.key_loaded
            else "the virtual machines cannot be opened"
        )
        raise Refusal(
            f"{wanted.key_file} does not open {new.name}: {key_check.value}; {now}. Put the stick in, or the"
            f" right key on it, or check bhyve_key; the keylocation is {value(new, 'keylocation')}"
        )
    named = value(new, "keylocation") == wanted.location
    return mark == "verified" and named and not _is_closed(new)


def keep_open(facts: Facts, wanted: Wanted, new: Dataset) -> Iterator[Step]:
    """The steps that are left; none where D is open.

    Raises Refusal as `is_open`, and where something is in the way of its mount point.
    """
    if is_open(new, facts.key_check, wanted):
        return
    if value(new, "keylocation") != wanted.location:
        change = command("zfs set keylocation={} {}", wanted.location, new.name)
        yield Step("key file", f"name {wanted.key_file} as the key of {new.name}", (change,))
    if closed := _is_closed(new):
        yield Step("open", f"load the key of {new.name} and mount it", tuple(_open(facts, new)))
    elif local(new, MIGRATION) == "verified":
        return
    # one under another key is its owner's to open
    inside = [each for each in tree(facts.datasets, new.name)[1:] if each.encryption_root == new.name]
    if below := [dataset.name for dataset in inside if to_mount(dataset)]:
        yield Step("mount", f"mount all below {new.name}", tuple(command("zfs mount {}", name) for name in below))
    yield _machines(facts, wanted, new, closed)


def _is_closed(new: Dataset) -> bool:
    return not new.key_loaded or to_mount(new)


def _open(facts: Facts, new: Dataset) -> Iterator[Shell]:
    if local(new, MIGRATION) != "opening":
        yield set_properties({MIGRATION: "opening"}, new.name)
    if to_mount(new):
        yield from guard(facts, value(new, "mountpoint") or "")
    if not new.key_loaded:
        yield command("zfs load-key {}", new.name)
    if to_mount(new):
        yield command("zfs mount {}", new.name)


def _machines(facts: Facts, wanted: Wanted, new: Dataset, closed: bool) -> Step:
    vm = facts.vm
    if vm.vms is None and not closed:
        raise Refusal(f"{new.name} is open again, but unknown which virtual machines run: {vm.problem}")
    # while D is closed vm knows none; the step is planned again once it is open
    off = sorted((each.order, each.name) for each in vm.vms or () if each.order is not None and not each.running)
    names = [name for _, name in off]
    commands = start_commands(vm, wanted, value(new, "mountpoint") or "", names)
    title = f"start {', '.join(names) or 'the virtual machines of vm_list'} from {new.name}"
    return Step("machines", title, (*commands, set_properties({MIGRATION: "verified"}, new.name)))


def destroy(facts: Facts, wanted: Wanted, new: Dataset, old: Dataset) -> Iterator[Step]:
    """Opens D where it is closed; then destroys O. Raises Refusal where anything is not proven."""
    migration = Migration(facts, wanted, old)
    try:
        check_roots(facts.datasets, new.name, new.name)
        if steps := tuple(keep_open(facts, wanted, new)):
            yield from steps
            return
        _check_next_boot(facts, wanted, new)
        # what is destroyed in part cannot be compared any more: it was, when that began
        if local(old, MIGRATION) == "done":
            migration.prove()
        _check_use(migration)
    except Refusal as refusal:
        raise Refusal(f"{old.name} is not destroyed: {refusal}") from None
    commands = (
        *(command("zfs unmount {}", source.name) for source in reversed(migration.sources) if source.mounted),
        set_properties({MIGRATION: "destroying"}, old.name),
        command("zfs destroy -r {}", old.name),
    )
    yield Step("destroy", f"destroy {old.name} and all below it", commands)


def _check_next_boot(facts: Facts, wanted: Wanted, new: Dataset) -> None:
    """A loaded key proves nothing about the next boot: D must open from the stick, as it will then."""
    if not (new.key_loaded and new.mounted):
        raise Refusal(f"{new.name} is not mounted with its key loaded")
    folder = posixpath.dirname(wanted.key_file)
    stick = facts.mounts.at(folder)
    if stick is None or stick.device != wanted.stick:
        there = stick.device if stick else "nothing"
        raise Refusal(f"the stick {wanted.stick} is not mounted on {folder}, but {there}")
    if (location := value(new, "keylocation")) != wanted.location:
        raise Refusal(f"the boot opens {new.name} with {location}, not with {wanted.location}")
    if facts.key_check is not KeyCheck.FITS:
        raise Refusal(f"{wanted.key_file} is not proven to open {new.name}")


def _check_use(migration: Migration) -> None:
    """The virtual machines run from D, and nothing hangs on O."""
    vm, new = migration.facts.vm, migration.wanted.dataset
    if vm.vms is None:
        raise Refusal(f"unknown whether the virtual machines run from {new}: {vm.problem}")
    if down := sorted(set(migration.recorded) - {each.name for each in vm.vms if each.running}):
        raise Refusal(f"not running from {new}: {', '.join(down)}")
    names = {source.name for source in migration.sources}
    others = (each for each in migration.facts.datasets.values() if each.name not in names)
    if clones := [each.name for each in others if (value(each, "origin") or "").partition("@")[0] in names]:
        raise Refusal(f"{', '.join(clones)} are clones of its snapshots")
