"""The migrated tree stays open: what a boot without the stick could not do is made up for.

D is an encryption root with the mark of this deploy; one that somebody else made is left alone.

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

from collections.abc import Iterator

from f3s.bhyve_copy import guard, set_properties
from f3s.bhyve_steps import Step, start_commands
from f3s.bhyve_tree import Facts, Refusal, Wanted, local, to_mount, tree, value
from f3s.keycheck import KeyCheck
from f3s.quoting import Shell, command
from f3s.zfs import MIGRATION, Dataset


def keep_open(facts: Facts, wanted: Wanted, new: Dataset) -> Iterator[Step]:
    """The steps that are left; none where D is open, and will be after the next boot.

    Raises Refusal where the key file does not open D, and where something is in the way of its mount point.
    """
    mark = local(new, MIGRATION)
    if mark not in ("verified", "opening"):
        return
    location = f"file://{wanted.key_file}"
    if facts.key_check not in (KeyCheck.FITS, None):
        now = (
            "its key is loaded now, but after the next reboot the virtual machines could not be opened"
            if new.key_loaded
            else "the virtual machines cannot be opened"
        )
        raise Refusal(
            f"{wanted.key_file} does not open {new.name}: {facts.key_check.value}; {now}. Put the stick in, or the"
            f" right key on it, or check bhyve_key; the keylocation is {value(new, 'keylocation')}"
        )
    if value(new, "keylocation") != location:
        change = command("zfs set keylocation={} {}", location, new.name)
        yield Step("key file", f"name {wanted.key_file} as the key of {new.name}", (change,))
    closed = not new.key_loaded or to_mount(new)
    if closed:
        yield Step("open", f"load the key of {new.name} and mount it", tuple(_open(facts, new)))
    if not closed and mark == "verified":
        return
    # one under another key is its owner's to open
    inside = [each for each in tree(facts.datasets, new.name)[1:] if each.encryption_root == new.name]
    below = [dataset.name for dataset in inside if to_mount(dataset)]
    if below:
        mounts = tuple(command("zfs mount {}", name) for name in below)
        yield Step("mount", f"mount all below {new.name}", mounts)
    yield _machines(facts, wanted, new, closed)


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
