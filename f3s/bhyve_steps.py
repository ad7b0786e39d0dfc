"""The steps of the migration in f3s.bhyve, whose table says which state each one leaves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from f3s.bhyve_copy import copy_commands, count_received, guard, options, set_properties
from f3s.bhyve_tree import (
    CANMOUNT,
    METADATA,
    MOUNTPOINT,
    READONLY,
    SNAPSHOT,
    VMS,
    Facts,
    Refusal,
    Wanted,
    bytes_needed,
    check_roots,
    history,
    is_local,
    local,
    settings_of,
    tree,
    value,
)
from f3s.quoting import Shell, command, script, words
from f3s.vmbhyve import VmHost
from f3s.zfs import MIGRATION, Dataset

_START_TIMEOUT = 60  # seconds until a started virtual machine has its process


@dataclass(frozen=True)
class Step:
    """key finds the step again in a later plan; title is what the operator reads."""

    key: str
    title: str
    commands: tuple[Shell, ...]


class Migration:
    """Plans the steps. root is D before the rename and O after it; names in steps are those of their time."""

    def __init__(self, facts: Facts, wanted: Wanted, root: Dataset) -> None:
        self.facts, self.wanted, self.root = facts, wanted, root
        self.renamed = root.name == wanted.old
        self.new = facts.datasets.get(wanted.dataset) if self.renamed else None
        self.sources = tree(facts.datasets, root.name)
        self.snapshot = local(root, SNAPSHOT) or wanted.snapshot
        recorded = local(root, VMS)
        self.recorded = () if recorded in (None, "-") else tuple(str(recorded).split(","))
        origin, _, self.mountpoint = (local(root, MOUNTPOINT) or self._mountpoint_now()).partition(":")
        self.own_mountpoint = origin == "local"

    def _mountpoint_now(self) -> str:
        origin = "local" if is_local(self.root, "mountpoint") else "inherited"
        return f"{origin}:{value(self.root, 'mountpoint')}"

    def _target(self, source: Dataset) -> str:
        return self.wanted.dataset + source.name.removeprefix(self.root.name)

    def _old_name(self, source: Dataset) -> str:
        return self.wanted.old + source.name.removeprefix(self.root.name)

    def _guid(self, dataset: str) -> str | None:
        return next((s.guid for s in self.facts.snapshots if s.name == f"{dataset}@{self.snapshot}"), None)

    # -- D is plain

    def before_rename(self) -> Iterator[Step]:
        new, wanted, vms = self.root, self.wanted, self.facts.vm.vms or ()
        self._check_start()
        running = sorted(self.facts.vm.devices | {vm.name for vm in vms if not vm.stopped})
        names = self._machines()
        if local(new, MIGRATION) is None or set(names) != set(self.recorded):
            values = {
                MIGRATION: "started",
                SNAPSHOT: self.snapshot,
                VMS: ",".join(names) or "-",
                MOUNTPOINT: local(new, MOUNTPOINT) or self._mountpoint_now(),
            }
            title = f"record on {new.name} what runs: {', '.join(names) or 'no virtual machine'}"
            below = self._guard_below() if local(new, MIGRATION) is None else ()
            yield Step("record", title, (*below, set_properties(values, new.name)))
        if running:
            listed = words(running)
            wait = script(wanted.wait_script, "bhyve-wait", "stopped", wanted.stop_timeout, self.mountpoint, listed)
            title = f"shut down {', '.join(running)} (ACPI, at most {wanted.stop_timeout} s)"
            # one by one: vm ends after a machine with a saved state (lib/vm-core, core::discard). It asks before it
            # ends a boot loader: end of file is a yes (lib/vm-util, util::confirm), an open input waits for ever
            stops = (command("/usr/local/sbin/vm stop {} </dev/null", name) for name in running)
            yield Step("stop", title, (*stops, wait))
        mounted = [d.name for d in reversed(self.sources) if d.mounted]
        retired = ((d.name, values) for d in self.sources if (values := self._retired(d)))
        commands = [set_properties(values, name) for name, values in retired]
        commands += [command("zfs unmount {}", name) for name in mounted]
        if commands:
            yield Step("retire", f"make {new.name} and all below it read-only and unmount it", tuple(commands))
        rename = command("zfs rename {} {}", new.name, wanted.old)
        title = f"rename {new.name} to {wanted.old}, out of the way at {self.mountpoint}_old"
        yield Step("rename", title, (rename, self._move_away()))

    def _guard_below(self) -> tuple[Shell, ...]:
        """As `guard`, while D is mounted: plain files below it must not be found when the machines are off."""
        if not self.root.mounted:
            return guard(self.facts, self.mountpoint)
        if (holder := self.facts.mounts(self.mountpoint).above(self.mountpoint)) is None:
            return ()
        below = self.mountpoint.removeprefix(holder.directory).strip("/")
        return (script(self.wanted.guard_script, "guard-below", holder.directory, below),)

    def _machines(self) -> tuple[str, ...]:
        """Those to start in the end, in the order of vm_list: recorded ones, and those that run by now."""
        vms = {vm.name: vm for vm in self.facts.vm.vms or ()}
        names = {*self.recorded, *self.facts.vm.devices, *(vm.name for vm in vms.values() if not vm.stopped)}
        last = len(vms) + 1
        order = {vm.name: vm.order or last for vm in vms.values()}
        return tuple(sorted(names, key=lambda name: (order.get(name, last), name)))

    def _check_start(self) -> None:
        new, vm, wanted = self.root, self.facts.vm, self.wanted
        mark = local(new, MIGRATION)
        if mark not in (None, "started"):
            raise Refusal(f"{new.name} is not encrypted, but marked {MIGRATION}={mark}")
        if not vm.installed:
            raise Refusal(f"the migration of {new.name} has begun, but vm-bhyve is not installed any more")
        if not new.parent:
            raise Refusal(f"{new.name} is the root of a pool, which cannot be renamed")
        if self.facts.vm_dir != f"zfs:{new.name}":
            raise Refusal(f"vm_dir in rc.conf is {self.facts.vm_dir or 'not set'}, not zfs:{new.name}")
        if not self.mountpoint.startswith("/"):
            raise Refusal(f"{new.name} has the mount point {self.mountpoint}; vm-bhyve needs a directory")
        self._check_key()
        self._check_feature()
        for wrong, why in (
            ([d.name for d in self.sources if d.encrypted], "encrypted already, move it away by hand"),
            ([d.name for d in self.sources if value(d, "receive_resume_token")], "partly received, of unknown origin"),
            (
                [d.name for d in self.sources if self._guid(d.name)],
                f"has a snapshot {self.snapshot} that is not ours, choose another bhyve_snapshot",
            ),
        ):
            if wrong:
                raise Refusal(f"{', '.join(wrong)}: {why}")
        if vm.vms is not None:
            if strangers := sorted(vm.devices - {known.name for known in vm.vms}):
                raise Refusal(f"running, but not known to vm-bhyve: {', '.join(strangers)}; stop them by hand")
            locked = [f"{known.name} by {known.detail}" for known in vm.vms if known.state == "Locked"]
            if locked and mark is None:
                raise Refusal(f"locked: {', '.join(locked)}; where one runs nowhere, remove its run.lock")
        elif mark is None or new.mounted or vm.devices:
            raise Refusal(f"unknown which virtual machines run: {vm.problem}")
        self._check_space()
        if wanted.old.rpartition("/")[0] != new.parent:
            raise Refusal(f"{wanted.old} must stand beside {new.name}")

    def _check_key(self) -> None:
        if self.facts.key_present is False:
            raise Refusal(f"there is no key file {self.wanted.key_file}: is the stick mounted?")

    def _check_feature(self) -> None:
        if self.facts.encryption_feature not in ("enabled", "active"):
            pool = self.root.name.partition("/")[0]
            raise Refusal(
                f"the pool {pool} has feature@encryption {self.facts.encryption_feature}: nothing in it can be"
                f" encrypted. `zpool set feature@encryption=enabled {pool}`, on a pool to boot from after its boot code"
                " was updated"
            )

    def _check_space(self) -> None:
        datasets = self.facts.datasets
        pairs = [(d, datasets.get(self._target(d)) if self.renamed else None) for d in self.sources]
        need = bytes_needed(pairs)
        parent = datasets[self.root.parent or ""]
        available = int(parent.properties["available"].value)
        if need > available:
            raise Refusal(
                f"too little space: the encrypted copy of {self.root.name} needs {need} bytes more,"
                f" {parent.name} has {available}"
            )

    def _retired(self, dataset: Dataset) -> dict[str, str]:
        """Properties that keep a dataset from being mounted by a reboot or written, with notes of the old values."""
        values: dict[str, str] = {}
        if value(dataset, "canmount") == "on":
            before = "on" if is_local(dataset, "canmount") else "default"
            values |= {CANMOUNT: before, "canmount": "noauto"}
        own = is_local(dataset, "readonly")
        if value(dataset, "readonly") == "off" and (own or dataset is self.root):
            values |= {READONLY: "off" if own else "default", "readonly": "on"}
        return values

    # -- D was renamed to O

    def after_rename(self) -> Iterator[Step]:
        wanted, new = self.wanted, self.new
        if self.renamed:
            self._check_targets()
            if new is None:
                self._check_feature()
            if (new is None or not new.key_loaded) and not self._verified():
                self._check_key()
        yield from self._old_tree()
        if new is None:
            yield self._parent()
        else:
            yield from self._key(new)
        work = 0
        for source in self.sources[1:]:
            for step in self._copy(source):
                if self.renamed and not work:
                    self._check_space()
                work += 1
                yield step
        if new is None or local(new, METADATA) != self._guid(self.root.name):
            work += 1
            yield self._metadata()
        elif self.root.mounted:
            yield Step("unmount", f"unmount {self.root.name}", (command("zfs unmount {}", self.root.name),))
        if not self._verified():
            if new is not None and not work:
                self.prove(new)
            title = f"verify that all below {wanted.dataset} is encrypted and the same as {wanted.old}@{self.snapshot}"
            yield Step("verify", title, (set_properties({MIGRATION: "verified"}, wanted.dataset),))
        mounts = [text for source in self.sources[1:] for text in self._activate(source)]
        if mounts:
            yield Step("activate", f"mount all below {wanted.dataset} as it was", tuple(mounts))
        yield self._start()

    def _verified(self) -> bool:
        return local(self.new, MIGRATION) == "verified"

    def _check_targets(self) -> None:
        """Everything at D is ours, and nothing else is mounted where D will be."""
        new = self.new
        for dataset in self.facts.datasets.values():
            if dataset.mounted and value(dataset, "mountpoint") == self.mountpoint and dataset is not new:
                raise Refusal(f"{dataset.name} is mounted at {self.mountpoint}, the place of {self.wanted.dataset}")
        if new is None:
            return
        if local(new, MIGRATION) not in ("copying", "verified"):
            raise Refusal(f"{new.name} was not made by this migration, which is under way from {self.root.name}")
        check_roots(self.facts.datasets, new.name, new.name)
        if not self._verified():
            known = {self._target(source) for source in self.sources}
            strangers = [d.name for d in tree(self.facts.datasets, new.name) if d.name not in known]
            if strangers:
                raise Refusal(f"without a counterpart below {self.root.name}: {', '.join(strangers)}")

    def _old_tree(self) -> Iterator[Step]:
        """O out of the way and snapshotted. The snapshot is atomic over all datasets: on some only, it is not ours."""
        if self.renamed and value(self.root, "mountpoint") != f"{self.mountpoint}_old":
            yield Step("move away", f"move {self.wanted.old} to {self.mountpoint}_old", (self._move_away(),))
        if self.renamed and (mounted := [d.name for d in reversed(self.sources[1:]) if d.mounted]):
            commands = tuple(command("zfs unmount {}", name) for name in mounted)
            yield Step("unmount", f"unmount {', '.join(mounted)}", commands)
        taken = [d.name for d in self.sources if self._guid(d.name)]
        if not taken:
            yield self._snapshot()
        elif len(taken) < len(self.sources):
            lacking = ", ".join(d.name for d in self.sources if d.name not in taken)
            raise Refusal(f"without the snapshot {self.snapshot} that {', '.join(taken)} have: {lacking}")
        elif not self._verified() and any(d.written for d in self.sources):
            yield from self._again()

    def _snapshot(self) -> Step:
        snapshot = f"{self.wanted.old}@{self.snapshot}"
        return Step("snapshot", f"snapshot {snapshot} and below", (command("zfs snapshot -r {}", snapshot),))

    def _again(self) -> Iterator[Step]:
        """Another snapshot in place of the one that the old tree has changed since; what is copied stays of use.

        After a power cut a dataset shows `written` although it has not changed: the import marks its intent log (zil.c,
        zil_claim; observed). To copy that, too, is nothing but an empty stream.
        """
        written = ", ".join(d.name for d in self.sources if d.written)
        taken = {s.short_name for s in self.facts.snapshots}
        names = (f"{self.wanted.snapshot}_{number}" for number in itertools.count(2))
        self.snapshot = next(name for name in names if name not in taken)
        title = f"copy up to {self.snapshot}, because these show writes since the last snapshot: {written}"
        yield Step("again", title, (set_properties({SNAPSHOT: self.snapshot}, self.wanted.old),))
        yield self._snapshot()

    def _move_away(self) -> Shell:
        return set_properties({"mountpoint": f"{self.mountpoint}_old"}, self.wanted.old)

    def _parent(self) -> Step:
        settings = settings_of(self.root)
        settings.pop("mountpoint", None)
        if self.own_mountpoint:
            settings["mountpoint"] = self.mountpoint
        values = {
            "encryption": self.wanted.encryption,
            "keyformat": "raw",
            "keylocation": f"file://{self.wanted.key_file}",
            MIGRATION: "copying",
            **settings,
        }
        guards = guard(self.facts, self.mountpoint) if self.renamed else ()
        create = command("zfs create {} {}", options(values), self.wanted.dataset)
        title = f"create the encrypted {self.wanted.dataset}, with no plain text below its mount point"
        return Step("parent", title, (*guards, create))

    def _key(self, new: Dataset) -> Iterator[Step]:
        commands = [] if new.key_loaded else [command("zfs load-key {}", new.name)]
        if not new.mounted:
            commands.append(command("zfs mount {}", new.name))
        if commands:
            yield Step("key", f"load the key of {new.name} and mount it", tuple(commands))

    def _copy(self, source: Dataset) -> Iterator[Step]:
        """The streams and settings that the counterpart still lacks."""
        name, old = self._target(source), self._old_name(source)
        target = self.facts.datasets.get(name) if self.renamed else None
        if target and self._verified():
            return
        past = history(self.facts.snapshots, source.name, self.snapshot)
        names = [s.short_name for s in past]
        if self.snapshot not in names:
            names.append(self.snapshot)
        received = 0
        if target:
            received = count_received(past, history(self.facts.snapshots, name, self.snapshot), target)
        if commands := copy_commands(source, old, names, target, name, received):
            title = f"copy {old}@{self.snapshot} to {name}, encrypted"
            if target and value(target, "receive_resume_token"):
                title += f" (the rest of it; where that cannot be had, zfs receive -A {name}, and run again)"
            elif target and target.written:
                last = f"{name}@{names[received - 1]}"
                title += f" (where that was modified since {last}, zfs rollback {last}, and run again)"
            yield Step(f"copy {name}", title, commands)

    def _metadata(self) -> Step:
        old, new = self.wanted.old, self.wanted.dataset
        text = self.wanted.metadata_script
        mounted = self.renamed and self.root.mounted
        commands = [] if mounted else [command("zfs mount {}", old)]
        commands += [
            script(text, "bhyve-metadata", "copy", old, new),
            script(text, "bhyve-metadata", "compare", old, new),
            command("zfs unmount {}", old),
            set_properties({METADATA: self._guid(self.root.name) or "-"}, new),
        ]
        return Step("metadata", f"copy the files of {old} to {new} and compare them", tuple(commands))

    def prove(self, new: Dataset) -> None:
        """The proofs of a complete copy: encryption roots, counterparts, GUIDs, nothing written since. Or Refusal."""
        check_roots(self.facts.datasets, new.name, new.name)
        for source in self.sources:
            guid, target = self._guid(source.name), self.facts.datasets.get(self._target(source))
            if target is None:
                raise Refusal(f"{source.name} has no counterpart {self._target(source)}")
            if guid is None:
                raise Refusal(f"{source.name} has lost its snapshot {self.snapshot}")
            if source is not self.root and self._guid(target.name) != guid:
                raise Refusal(f"{target.name}@{self.snapshot} has not the GUID of its source, {guid}")
        if written := [source for source in self.sources if source.written]:
            listed = ", ".join(f"{source.name} ({source.written} bytes)" for source in written)
            undo = "; ".join(f"zfs rollback {source.name}@{self.snapshot}" for source in written)
            raise Refusal(
                f"written to since the snapshot {self.snapshot}, which is not copied: {listed}. A power cut leaves"
                " 1024 bytes on a dataset that has not changed, too. Where nobody made them writable, take that away:"
                f" `{undo}`, and run again"
            )
        if local(new, METADATA) != self._guid(self.root.name):
            raise Refusal(f"the files of {self.root.name} are not proven to be in {new.name}")

    def _activate(self, source: Dataset) -> Iterator[Shell]:
        """Mounts a copy as its source was, which then gets its own canmount again."""
        if source.is_volume:
            return
        name, canmount = self._target(source), settings_of(source).get("canmount", "on")
        target = self.facts.datasets.get(name) if self.renamed else None
        if (value(target, "canmount") if target else "noauto") != canmount:
            # canmount cannot be inherited (zfsprops(7)), so `zfs inherit` does not bring the default back
            yield set_properties({"canmount": canmount}, name)
        place = value(target or source, "mountpoint") or ""
        if canmount == "on" and place.startswith("/") and not (target and target.mounted):
            yield command("zfs mount {}", name)

    def _start(self) -> Step:
        names = self.recorded if self.renamed else self._machines()
        up: set[str] = set()
        if self._verified():
            if not self.facts.vm.installed:
                raise Refusal("the virtual machines cannot be started: vm-bhyve is not installed any more")
            up = {vm.name for vm in self.facts.vm.vms or () if vm.running}
        missing = [name for name in names if name not in up]
        # on a machine without virtualization vm does nothing at all, and nothing ran
        if missing and not self.facts.vm.able and self._verified():
            raise Refusal(f"{', '.join(missing)} cannot be started: {self.facts.vm.problem}")
        commands = start_commands(self.facts.vm, self.wanted, self.mountpoint, missing)
        title = f"start {', '.join(names) or 'no virtual machine'} from {self.wanted.dataset}"
        return Step("start", title, (*commands, set_properties({MIGRATION: "done"}, self.wanted.old)))


def start_commands(vm: VmHost, wanted: Wanted, folder: str, names: Sequence[str]) -> tuple[Shell, ...]:
    """vm-bhyve made ready, then these virtual machines started and waited for; nothing where vm cannot work at all."""
    if not (vm.installed and vm.able):
        return ()
    if not names:
        return (command("/usr/local/sbin/vm init"),)
    wait = script(wanted.wait_script, "bhyve-wait", "running", _START_TIMEOUT, folder, words(names))
    return command("/usr/local/sbin/vm init"), command("/usr/local/sbin/vm start {}", words(names)), wait
