"""D was renamed to O: an encrypted D is made, filled, proven and put to use. The streams are in f3s.bhyve.copying."""

from __future__ import annotations

from collections.abc import Iterator

from f3s.bhyve.commands import guard, options, set_properties, start_commands
from f3s.bhyve.model import Migration, Move, Step
from f3s.bhyve.retire import check_encryptable, machines_to_start
from f3s.bhyve.tree import METADATA, SNAPSHOT, Refusal, check_roots, local, settings_of, tree, value
from f3s.keycheck import KeyCheck
from f3s.quoting import Shell, command, script
from f3s.zfs import MIGRATION, Dataset


def check_under_way(migration: Migration) -> None:
    """Everything at D is ours, nothing else is mounted where D will be, and the key is there as long as it matters."""
    facts, wanted, root, new = migration.facts, migration.wanted, migration.root, migration.new
    for dataset in facts.datasets.values():
        if dataset.mounted and value(dataset, "mountpoint") == migration.mountpoint and dataset is not new:
            raise Refusal(f"{dataset.name} is mounted at {migration.mountpoint}, the place of {wanted.dataset}")
    if new is None:
        check_encryptable(facts, wanted)
        return
    if local(new, MIGRATION) not in ("copying", "verified"):
        raise Refusal(f"{new.name} was not made by this migration, which is under way from {root.name}")
    check_roots(facts.datasets, new.name, new.name)
    if migration.verified:
        return
    known = {move.new for move in migration.moves}
    if strangers := [d.name for d in tree(facts.datasets, new.name) if d.name not in known]:
        raise Refusal(f"without a counterpart below {root.name}: {', '.join(strangers)}")
    if not new.key_loaded:
        check_encryptable(facts, wanted)


def move_away(migration: Migration) -> Iterator[Step]:
    """O leaves D's mount point."""
    old, place = migration.wanted.old, f"{migration.mountpoint}_old"
    if value(migration.root, "mountpoint") != place:
        yield Step("move away", f"move {old} to {place}", (set_properties({"mountpoint": place}, old),))
    if mounted := [source.name for source in reversed(migration.sources) if source.mounted]:
        commands = tuple(command("zfs unmount {}", name) for name in mounted)
        yield Step("unmount", f"unmount {', '.join(mounted)}", commands)


def snapshot(migration: Migration) -> Iterator[Step]:
    """The snapshot that is copied. It is atomic over all datasets: on some only, it is not ours.

    Another one takes the place of that which the old tree has changed since; what is copied stays of use. After a power
    cut a dataset shows `written` although it has not changed: the import marks its intent log (zil.c, zil_claim;
    observed). To copy that, too, is nothing but an empty stream.
    """
    old, name = migration.wanted.old, migration.snapshot
    taken = [source.name for source in migration.sources if migration.guid(source.name)]
    if lacking := [source.name for source in migration.sources if taken and source.name not in taken]:
        raise Refusal(f"without the snapshot {name} that {', '.join(taken)} have: {', '.join(lacking)}")
    if migration.outdated:
        written = ", ".join(source.name for source in migration.sources if source.written)
        title = f"copy up to {name}, because these show writes since the last snapshot: {written}"
        yield Step("again", title, (set_properties({SNAPSHOT: name}, old),))
    if not taken:
        yield Step("snapshot", f"snapshot {old}@{name} and below", (command("zfs snapshot -r {}", f"{old}@{name}"),))


def parent(migration: Migration) -> Iterator[Step]:
    """The encrypted D; one that is there is opened."""
    if migration.new:
        yield from _key(migration, migration.new)
        return
    wanted = migration.wanted
    settings = settings_of(migration.root)
    settings.pop("mountpoint", None)
    if migration.origin == "local":
        settings["mountpoint"] = migration.mountpoint
    values = {
        "encryption": wanted.encryption,
        "keyformat": "raw",
        "keylocation": wanted.location,
        MIGRATION: "copying",
        **settings,
    }
    guards = guard(migration.facts, migration.mountpoint) if migration.renamed else ()
    create = command("zfs create {} {}", options(values), wanted.dataset)
    title = f"create the encrypted {wanted.dataset}, with no plain text below its mount point"
    yield Step("parent", title, (*guards, create))


def _key(migration: Migration, new: Dataset) -> Iterator[Step]:
    key_file, check = migration.wanted.key_file, migration.facts.key_check
    if not new.key_loaded and check not in (KeyCheck.FITS, None):
        text = f"{key_file} does not open {new.name}: {check.value}"
        if not migration.verified:
            text += (
                f". Put the right key on the stick. Where it is lost, `zfs destroy -r {new.name}` and run again:"
                f" {migration.root.name} has all data, and is copied anew"
            )
        raise Refusal(text)
    commands = [] if new.key_loaded else [command("zfs load-key {}", new.name)]
    if not new.mounted:
        commands.append(command("zfs mount {}", new.name))
    if commands:
        yield Step("key", f"load the key of {new.name} and mount it", tuple(commands))


def metadata(migration: Migration) -> Iterator[Step]:
    """The files of O itself, copied and compared."""
    old, new, guid = migration.wanted.old, migration.wanted.dataset, migration.guid(migration.root.name)
    if migration.new and local(migration.new, METADATA) == guid:
        return
    program = migration.wanted.programs.metadata
    commands = (
        command("zfs mount {}", old),
        script(program, "bhyve-metadata", "copy", old, new),
        script(program, "bhyve-metadata", "compare", old, new),
        command("zfs unmount {}", old),
        set_properties({METADATA: guid or "-"}, new),
    )
    yield Step("metadata", f"copy the files of {old} to {new} and compare them", commands)


def verify(migration: Migration, *, complete: bool) -> Iterator[Step]:
    """D is marked once all is proven, which it can be when the copies are complete."""
    if migration.verified:
        return
    if complete:
        migration.prove()
    old, new = migration.wanted.old, migration.wanted.dataset
    title = f"verify that all below {new} is encrypted and the same as {old}@{migration.snapshot}"
    yield Step("verify", title, (set_properties({MIGRATION: "verified"}, new),))


def activate(migration: Migration) -> Iterator[Step]:
    """Copies are mounted as their sources were, which then get their own canmount again."""
    if mounts := tuple(text for move in migration.moves[1:] for text in _mounts(move)):
        yield Step("activate", f"mount all below {migration.wanted.dataset} as it was", mounts)


def _mounts(move: Move) -> Iterator[Shell]:
    source, copy = move.source, move.copy
    if source.is_volume:
        return
    canmount = settings_of(source).get("canmount", "on")
    if (value(copy, "canmount") if copy else "noauto") != canmount:
        # canmount cannot be inherited (zfsprops(7)), so `zfs inherit` does not bring the default back
        yield set_properties({"canmount": canmount}, move.new)
    place = value(copy or source, "mountpoint") or ""
    if canmount == "on" and place.startswith("/") and not (copy and copy.mounted):
        yield command("zfs mount {}", move.new)


def start(migration: Migration) -> Step:
    """The virtual machines that ran run from D; then O is done."""
    wanted, vm = migration.wanted, migration.facts.vm
    names = migration.recorded if migration.renamed else machines_to_start(migration)
    missing = list(names)
    if migration.verified:
        if not vm.installed:
            raise Refusal("the virtual machines cannot be started: vm-bhyve is not installed any more")
        up = {known.name for known in vm.vms or () if known.running}
        missing = [name for name in names if name not in up]
        # on a machine without virtualization vm does nothing at all, and nothing ran
        if missing and not vm.able:
            raise Refusal(f"{', '.join(missing)} cannot be started: {vm.problem}")
    commands = start_commands(vm, wanted, migration.mountpoint, missing)
    title = f"start {', '.join(names) or 'no virtual machine'} from {wanted.dataset}"
    return Step("start", title, (*commands, set_properties({MIGRATION: "done"}, wanted.old)))
