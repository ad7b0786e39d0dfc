"""D is plain: its machines are stopped, all of it is made read-only and unmounted, and it gives up its name."""

from __future__ import annotations

from collections.abc import Iterator

from f3s.bhyve.commands import guard, set_properties
from f3s.bhyve.copying import check_space
from f3s.bhyve.model import Facts, Migration, Step, Wanted
from f3s.bhyve.tree import CANMOUNT, MOUNTPOINT, READONLY, SNAPSHOT, VMS, Refusal, is_local, local, value
from f3s.quoting import Shell, command, script, words
from f3s.zfs import MIGRATION, Dataset


def check_start(migration: Migration) -> None:
    """Raises Refusal where the migration could not be brought to its end, before a machine is stopped."""
    new, wanted, facts, sources = migration.root, migration.wanted, migration.facts, migration.sources
    mark = local(new, MIGRATION)
    if mark not in (None, "started"):
        raise Refusal(f"{new.name} is not encrypted, but marked {MIGRATION}={mark}")
    if not facts.vm.installed:
        raise Refusal(f"the migration of {new.name} has begun, but vm-bhyve is not installed any more")
    if facts.vm_dir != f"zfs:{new.name}":
        raise Refusal(f"vm_dir in rc.conf is {facts.vm_dir or 'not set'}, not zfs:{new.name}")
    if not migration.mountpoint.startswith("/"):
        raise Refusal(f"{new.name} has the mount point {migration.mountpoint}; vm-bhyve needs a directory")
    check_encryptable(facts, wanted)
    for wrong, why in (
        ([d.name for d in sources if d.encrypted], "encrypted already, move it away by hand"),
        ([d.name for d in sources if value(d, "receive_resume_token")], "partly received, of unknown origin"),
        (
            [d.name for d in sources if migration.guid(d.name)],
            f"has a snapshot {migration.snapshot} that is not ours, choose another bhyve_snapshot",
        ),
    ):
        if wrong:
            raise Refusal(f"{', '.join(wrong)}: {why}")
    # what `zfs unmount` takes away, with the snapshots that are mounted by themselves (zfs_main.c, unshare_unmount)
    ours = {d.name for d in sources if value(d, "mountpoint") != "legacy"}
    if others := [m for m in facts.mounts.below(migration.mountpoint) if m.device.partition("@")[0] not in ours]:
        commands = "; ".join(command("umount {}", mount.directory) for mount in reversed(others))
        raise Refusal(
            f"{new.name} could not be unmounted, because others are mounted in it: `{commands}` there, until the"
            " migration is over"
        )
    _check_machines(migration)
    check_space(migration)
    if wanted.old.rpartition("/")[0] != new.parent:
        raise Refusal(f"{wanted.old} must stand beside {new.name}")


def check_encryptable(facts: Facts, wanted: Wanted) -> None:
    """Raises Refusal where there is no key file, and where the pool can hold no encrypted dataset."""
    if facts.key_present is False:
        raise Refusal(f"there is no key file {wanted.key_file}: is the stick mounted?")
    if facts.encryption_feature not in ("enabled", "active"):
        pool = wanted.dataset.partition("/")[0]
        raise Refusal(
            f"the pool {pool} has feature@encryption {facts.encryption_feature}: nothing in it can be"
            f" encrypted. `zpool set feature@encryption=enabled {pool}`, on a pool to boot from after its boot code"
            " was updated"
        )


def _check_machines(migration: Migration) -> None:
    vm, new = migration.facts.vm, migration.root
    begun = local(new, MIGRATION) is not None
    if vm.vms is None:
        if not begun or new.mounted or vm.devices:
            raise Refusal(f"unknown which virtual machines run: {vm.problem}")
        return
    if strangers := sorted(vm.devices - {known.name for known in vm.vms}):
        raise Refusal(f"running, but not known to vm-bhyve: {', '.join(strangers)}; stop them by hand")
    locked = {known.name: known.detail for known in vm.vms if known.state == "Locked"}
    if locked and not begun:
        by = ", ".join(f"{name} by {host}" for name, host in locked.items())
        files = words(f"{migration.mountpoint}/{name}/run.lock" for name in locked)  # vm-bhyve, lib/vm-run
        raise Refusal(f"locked: {by}. What runs nowhere has no need of its lock: `{command('rm {}', files)}`")


def record(migration: Migration) -> Iterator[Step]:
    """Marks D, with what is to be as before in the end; its bare mount point takes no writes."""
    new = migration.root
    begun, names = local(new, MIGRATION) is not None, machines_to_start(migration)
    if begun and set(names) == set(migration.recorded):
        return
    values = {
        MIGRATION: "started",
        SNAPSHOT: migration.snapshot,
        VMS: ",".join(names) or "-",
        MOUNTPOINT: f"{migration.origin}:{migration.mountpoint}",
    }
    below = () if begun else _guard_below(migration)
    title = f"record on {new.name} what runs: {', '.join(names) or 'no virtual machine'}"
    yield Step("record", title, (*below, set_properties(values, new.name)))


def _guard_below(migration: Migration) -> tuple[Shell, ...]:
    """As `guard`, while D is mounted: plain files below it must not be found when the machines are off."""
    place = migration.mountpoint
    if not migration.root.mounted:
        return guard(migration.facts, place)
    if (holder := migration.facts.mounts.above(place)) is None:
        return ()
    below = place.removeprefix(holder.directory).strip("/")
    return (script(migration.wanted.programs.guard, "guard-below", holder.directory, below),)


def machines_to_start(migration: Migration) -> tuple[str, ...]:
    """Those that run in the end, in the order of vm_list: recorded ones, and those that run by now."""
    vms = {vm.name: vm for vm in migration.facts.vm.vms or ()}
    names = {*migration.recorded, *_running(migration)}
    last = len(vms) + 1
    order = {vm.name: vm.order or last for vm in vms.values()}
    return tuple(sorted(names, key=lambda name: (order.get(name, last), name)))


def _running(migration: Migration) -> frozenset[str]:
    vm = migration.facts.vm
    return vm.devices | {known.name for known in vm.vms or () if not known.stopped}


def stop(migration: Migration) -> Iterator[Step]:
    """Shuts the virtual machines down, and waits for them."""
    wanted, running = migration.wanted, sorted(_running(migration))
    if not running:
        return
    # one by one: vm ends after a machine with a saved state (lib/vm-core, core::discard). It asks before it
    # ends a boot loader: end of file is a yes (lib/vm-util, util::confirm), an open input waits for ever
    stops = (command("/usr/local/sbin/vm stop {} </dev/null", name) for name in running)
    arguments = ("stopped", wanted.stop_timeout, migration.mountpoint, words(running))
    wait = script(wanted.programs.wait, "bhyve-wait", *arguments)
    title = f"shut down {', '.join(running)} (ACPI, at most {wanted.stop_timeout} s)"
    yield Step("stop", title, (*stops, wait))


def retire(migration: Migration) -> Iterator[Step]:
    """Nothing of D can be written, or mounted by a reboot."""
    new, sources = migration.root, migration.sources
    retired = ((d.name, values) for d in sources if (values := _retired(d, is_root=d is new)))
    commands = [set_properties(values, name) for name, values in retired]
    commands += [command("zfs unmount {}", d.name) for d in reversed(sources) if d.mounted]
    if commands:
        yield Step("retire", f"make {new.name} and all below it read-only and unmount it", tuple(commands))


def _retired(dataset: Dataset, *, is_root: bool) -> dict[str, str]:
    """Properties that keep a dataset from being mounted by a reboot or written, with notes of the old values."""
    values: dict[str, str] = {}
    if value(dataset, "canmount") == "on":
        before = "on" if is_local(dataset, "canmount") else "default"
        values |= {CANMOUNT: before, "canmount": "noauto"}
    own = is_local(dataset, "readonly")
    if value(dataset, "readonly") == "off" and (own or is_root):
        values |= {READONLY: "off" if own else "default", "readonly": "on"}
    return values


def rename(migration: Migration) -> Step:
    """D becomes O; the marks go with it."""
    new, old, place = migration.root.name, migration.wanted.old, f"{migration.mountpoint}_old"
    commands = (command("zfs rename {} {}", new, old), set_properties({"mountpoint": place}, old))
    return Step("rename", f"rename {new} to {old}, out of the way at {place}", commands)
