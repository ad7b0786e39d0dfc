from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Callable

import pytest

from f3s.bhyve.copying import bytes_needed
from f3s.bhyve.model import Plan
from f3s.bhyve.plan import plan
from f3s.bhyve.tree import METADATA, Refusal, settings_of
from f3s.bhyve.vms import Vm
from f3s.keycheck import KeyCheck
from f3s.mounts import Directory
from f3s.zfs import MIGRATION, Dataset, Property
from tests.f3s.bhyve.world import (
    DESTROY,
    KEY,
    NEW,
    OLD,
    SNAP,
    WANTED,
    Failed,
    Killed,
    Node,
    World,
    clone,
    done_world,
    migrate,
    next_plan,
)


def assert_migrated(world: World, before: World) -> None:
    """Nothing lost, nothing plain, everything as it was, the old tree untouched and out of the way."""
    facts, original = world.facts(), before.facts()
    for name, node in before.nodes.items():
        copy = world.nodes[name]
        assert copy.data == node.data
        if not f"{name}/".startswith(f"{NEW}/"):
            continue
        assert copy.root == NEW
        assert copy.mounted == node.mounted
        assert copy.token is None
        assert {"canmount": "on", **settings_of(facts.datasets[name])} == {
            "canmount": "on",
            **settings_of(original.datasets[name]),
            **({"refreservation": "auto"} if name.endswith("disk0") else {}),
        }
        old = world.nodes[OLD + name.removeprefix(NEW)]
        assert old.data == node.data
        known = len(node.snapshots)
        assert old.snapshots[:known] == node.snapshots
        assert all(taken.startswith(SNAP) for taken, _, _ in old.snapshots[known:])
        assert len(old.snapshots) > known
        assert copy.snapshots == ([] if name == NEW else old.snapshots)
        assert not old.mounted
        assert facts.datasets[OLD + name.removeprefix(NEW)].get("readonly") == "on"
        assert old.volume or facts.datasets[OLD + name.removeprefix(NEW)].get("canmount") == "noauto"
    assert world.vms == before.vms
    assert next_plan(world).steps == ()


def assert_ends(world: World) -> None:
    """A run leads to the usual end."""
    migrate(world)
    assert_migrated(world, World())


@functools.cache
def every_state() -> list[tuple[str, World]]:
    """The world before each single command of a whole migration, with that command; only to be cloned."""
    world, found = World(), []
    while steps := next_plan(world).steps:
        for text in steps[0].commands:
            found.append((text, clone(world)))
            world.execute(text)
    found.append(("", world))
    return found


def states() -> list[tuple[str, World]]:
    return [(text, clone(world)) for text, world in every_state()]


def test_the_plan_of_an_untouched_host_is_what_is_done() -> None:
    world = World()
    planned = next_plan(world).steps
    done = migrate(clone(world))
    guid = "1013"
    foreseen = [text.replace(f"{METADATA}=-", f"{METADATA}={guid}") for step in planned for text in step.commands]
    assert [text for text in done if METADATA not in text] == [text for text in foreseen if METADATA not in text]
    assert len(done) == len(foreseen)
    titles = "\n".join(step.title for step in planned)
    for name in World().nodes:
        assert name == "zroot" or name in titles


def test_killed_before_and_in_every_single_command() -> None:
    """The crash test: from every state, and from the middle of every command, the same end.

    The run after a kill does what its plan foresees: an operation refuses another step (operations.bhyve.step).
    """
    every = states()
    assert len(every) > 35
    for text, world in every:
        again = clone(world)
        assert_ends(again)
        if not text:
            continue
        with pytest.raises(Killed):
            world.execute(text, killed=True)
        for planned in next_plan(world).steps:
            steps = next_plan(world).steps
            if planned.key in [step.key for step in steps]:
                assert steps[0].key == planned.key, f"killed in {text}"
                for command in steps[0].commands:
                    world.execute(command)
        assert_migrated(world, World())


def test_killed_twice() -> None:
    """The second run is killed, too, at every one of its first commands."""
    for text, world in states()[::5]:
        if not text:
            continue
        with pytest.raises(Killed):
            world.execute(text, killed=True)
        for count in range(6):
            again = clone(world)
            commands = itertools.chain.from_iterable(step.commands for step in next_plan(again).steps[:1])
            for number, command in enumerate(commands):
                if number == count:
                    with pytest.raises(Killed):
                        again.execute(command, killed=True)
                    break
                again.execute(command)
            assert_ends(again)


@pytest.mark.parametrize("keys", [False, True], ids=["without the key", "with the key"])
@pytest.mark.parametrize("power_cut", [False, True], ids=["reboot", "power cut"])
def test_down_at_every_point(keys: bool, power_cut: bool) -> None:
    """A host that goes down between two commands mounts nothing twice and reaches the same end.

    A power cut leaves the locks of machines that ran, which stop no migration that had begun.
    """
    for text, world in states()[:-1]:
        recorded = "GUARD" not in text and f"{MIGRATION}=started" not in text
        if power_cut and not recorded:
            continue
        world.reboot(keys, power_cut=power_cut)
        migrate(world)
        before = World()
        if not recorded:
            # what does not start by itself is off, as after any reboot
            before.vms = {name: name in before.vm_list for name in before.vms}
        assert not world.locked, text
        assert_migrated(world, before)


@pytest.mark.parametrize("seed", range(80))
def test_killed_and_rebooted_again_and_again(seed: int) -> None:
    """Accidents at random, some after every few commands, until none is left; then the same end."""
    chance = random.Random(seed)
    world, accidents = World(), 12
    while (steps := next_plan(world).steps) and accidents:
        for text in steps[0].commands:
            match chance.randrange(4):
                case 0:
                    accidents -= 1
                    with pytest.raises(Killed):
                        world.execute(text, killed=True)
                    break
                case 1 if steps[0].key != "record":
                    accidents -= 1
                    world.reboot(keys=chance.random() < 0.5, power_cut=chance.random() < 0.5)
                    break
                case _:
                    world.execute(text)
    assert_ends(world)


def test_the_old_tree_is_destroyed_on_the_switch_only() -> None:
    world = done_world()
    assert next_plan(world).found == f"{NEW} is migrated; {OLD} is kept, bhyve_destroy_old destroys it"
    assert next_plan(world, DESTROY).steps[0].commands == (
        f"zfs set f3s:migration=destroying {OLD}",
        f"zfs destroy -r {OLD}",
    )
    for command in next_plan(world, DESTROY).steps[0].commands:
        again = clone(world)
        with pytest.raises(Killed):
            again.execute(command, killed=True)
        world.execute(command)
        assert next_plan(again).steps == ()
        migrate(again, DESTROY)
        assert OLD not in again.nodes
    assert OLD not in world.nodes
    assert "encrypted" in next_plan(world, DESTROY).found


def test_the_switch_does_not_cut_a_migration_short() -> None:
    world = World()
    migrate(world, DESTROY)
    assert [name for name in world.nodes if name.startswith(OLD)] == []
    assert world.nodes[f"{NEW}/rocky/disk0"].data == World().nodes[f"{NEW}/rocky/disk0"].data
    assert world.vms == World().vms


def lose_guid(world: World) -> None:
    world.nodes[f"{NEW}/rocky"].snapshots[-1] = (SNAP, "1", "x")


def clone_outside(world: World) -> None:
    world.nodes["zroot/test"] = Node(origin=f"{OLD}/rocky@{SNAP}")


def not_mounted(world: World) -> None:
    """As of a root that somebody else made: nothing here opens it."""
    world.vms = dict.fromkeys(world.vms, False)
    world.nodes[NEW].mounted = False
    del world.nodes[NEW].local[MIGRATION]


def other_place(world: World) -> None:
    world.nodes[NEW].keylocation = "prompt"
    del world.nodes[NEW].local[MIGRATION]


DESTROY_REFUSALS: dict[str, tuple[Callable[[World], object], str]] = {
    "vm down": (lambda w: w.vms.update(rocky=False), "not running from zroot/bhyve: rocky"),
    "guid": (lose_guid, "has not the GUID of its source"),
    "counterpart": (lambda w: w.nodes.pop(f"{NEW}/rocky/disk1"), "has no counterpart zroot/bhyve/rocky/disk1"),
    "plain": (lambda w: w.nodes.update({f"{NEW}/x": Node()}), "not under the encryption root"),
    "old data": (lambda w: setattr(w.nodes[f"{OLD}/rocky"], "data", "new"),
         r"written to since the snapshot f3s_migrate, .*rocky \(3 bytes\)"),
    "snapshot lost": (lambda w: w.nodes[f"{OLD}/rocky"].snapshots.clear(), "has lost its snapshot"),
    "metadata": (lambda w: w.nodes[NEW].local.pop(METADATA), "are not proven"),
    "clone": (clone_outside, "zroot/test are clones"),
    "not mounted": (not_mounted, "not mounted with its key loaded"),
    "gone": (lambda w: w.nodes.pop(NEW), "may be the only copy"),
    "no stick": (lambda w: setattr(w, "stick", None), "stick ufs/F3S_KEYS is not mounted on /keys, but nothing"),
    "other stick": (lambda w: setattr(w, "stick", "ufs/X"), "stick ufs/F3S_KEYS is not mounted on /keys, but ufs/X"),
    "no key": (lambda w: setattr(w, "key_check", KeyCheck.NO_FILE),
         f"{OLD} is not destroyed: {KEY} does not open {NEW}: there is no such"),
    "wrong key": (lambda w: setattr(w, "key_check", KeyCheck.WRONG), "is not the one the dataset is encrypted with"),
    "key unknown": (lambda w: setattr(w, "key_check", None), "is not proven to open"),
    "other place": (other_place, "opens zroot/bhyve with prompt, not"),
}  # fmt: skip


@pytest.mark.parametrize("case", DESTROY_REFUSALS)
def test_nothing_is_destroyed_without_all_proofs(case: str) -> None:
    world = done_world()
    spoil, text = DESTROY_REFUSALS[case]
    if case == "gone":
        world.vms = dict.fromkeys(world.vms, False)
        remove(world, f"{NEW}/")
    spoil(world)
    with pytest.raises(Refusal, match=text):
        next_plan(world, DESTROY)


def test_a_power_cut_after_the_migration_leaves_a_way_to_destroy_the_old_tree() -> None:
    world = done_world()
    world.reboot(keys=True, power_cut=True)
    world.vms = World().vms
    with pytest.raises(Refusal, match="power cut") as refused:
        migrate(world, DESTROY)
    world.execute(str(refused.value).split("`")[3])
    migrate(world, DESTROY)
    assert OLD not in world.nodes


def test_a_machine_that_was_restored_from_its_replica_has_a_root_of_its_own() -> None:
    """As `zfs send -w` from the standby leaves it: encrypted, and nobody else's reason to stop."""
    world = done_world()
    world.nodes[f"{NEW}/back"] = Node(root=f"{NEW}/back", keylocation=f"file://{KEY}")
    plan = next_plan(world)
    assert plan.steps == ()
    assert "under another key, which the boot does not load: zroot/bhyve/back (zfs change-key -i)" in plan.found
    with pytest.raises(Refusal, match="is not destroyed: not under the encryption root"):
        next_plan(world, DESTROY)
    world.reboot(keys=False)
    world.vms = dict.fromkeys(world.vms, False)
    migrate(world)
    assert not world.nodes[f"{NEW}/back"].mounted


def test_plain_data_below_the_encrypted_parent_are_told() -> None:
    world = done_world()
    world.nodes[f"{NEW}/x"] = Node()
    with pytest.raises(Refusal, match="NOT ENCRYPTED, although below zroot/bhyve: zroot/bhyve/x"):
        next_plan(world)


def test_new_virtual_machines_do_not_matter_afterwards() -> None:
    world = done_world()
    world.nodes[f"{NEW}/new"] = Node(root=NEW, mounted=True)
    world.vms["new"] = True
    assert next_plan(world).steps == ()
    assert len(next_plan(world, DESTROY).steps) == 1


def test_unknown_virtual_machines_stop_it() -> None:
    world = World()
    world.nodes[NEW].mounted = False
    world.vms = dict.fromkeys(world.vms, False)
    with pytest.raises(Refusal, match="unknown which virtual machines run: unable to locate mountpoint"):
        next_plan(world)


def test_a_machine_without_virtualization_is_migrated_without_vm() -> None:
    """As the observed hosts: vm-bhyve is installed, and all that vm says is that it cannot work."""
    world = World()
    world.able = False
    world.vms = dict.fromkeys(world.vms, False)
    before = copy.deepcopy(world)
    done = migrate(world)
    assert_migrated(world, before)
    assert not [text for text in done if text.startswith("/usr/local/sbin/vm")]


def test_what_ran_before_is_not_given_up_where_virtualization_is_gone() -> None:
    world = world_after("/usr/local/sbin/vm init")
    world.able = False
    world.vms = dict.fromkeys(world.vms, False)
    with pytest.raises(Refusal, match="rocky, fedora cannot be started: virtualization is not supported"):
        next_plan(world)


def test_no_key_file_stops_it_before_the_virtual_machines_are() -> None:
    with pytest.raises(Refusal, match="no key file /keys/f0"):
        plan(dataclasses.replace(World().facts(), key_present=False), WANTED)
    assert plan(dataclasses.replace(World().facts(), key_present=None), WANTED).steps[0].key == "record"


def test_a_lock_is_waited_for_once_the_migration_has_begun() -> None:
    """bhyve has ended, vm-bhyve has not cleaned up: not a reason to begin, nor one to give up."""
    world = World()
    facts = world.facts()
    locked = tuple(Vm("rocky", "Locked", "f0", None) if vm.name == "rocky" else vm for vm in facts.vm.vms or ())
    devices = facts.vm.devices - {"rocky"}
    facts = dataclasses.replace(facts, vm=dataclasses.replace(facts.vm, vms=locked, devices=devices))
    with pytest.raises(Refusal, match="locked: rocky by f0"):
        plan(facts, WANTED)
    for text in next_plan(world).steps[0].commands:
        world.execute(text)
    facts = dataclasses.replace(world.facts(), vm=facts.vm)
    assert plan(facts, WANTED).steps[0].commands[:2] == (
        "/usr/local/sbin/vm stop fedora </dev/null",
        "/usr/local/sbin/vm stop rocky </dev/null",
    )


def test_a_virtual_machine_that_does_not_stop() -> None:
    world = World()
    world.stubborn = frozenset({"rocky"})
    with pytest.raises(Failed, match="not stopped in time: rocky"):
        migrate(world)
    assert OLD not in world.nodes
    assert [step.key for step in next_plan(world).steps][:1] == ["stop"]
    world.stubborn = frozenset()
    assert_ends(world)


@pytest.mark.parametrize("again", [1, 3])
def test_power_cuts_in_the_middle_of_every_command(again: int) -> None:
    """Each leaves a mark on the volumes, which is no end of the migration, and is copied once (observed)."""
    for text, world in states()[2:-1]:
        copying = NEW in world.nodes and world.nodes[NEW].local.get(MIGRATION) == "copying" and "=verified" not in text
        for _ in range(again):
            if not (steps := next_plan(world).steps):
                break
            with pytest.raises(Killed):
                world.execute(steps[0].commands[0], killed=True)
            world.reboot(keys=False, power_cut=True)
        assert_ends(world)
        names = [name for name, _, _ in world.nodes[f"{OLD}/rocky/disk1"].snapshots]
        assert not copying or names[:2] == [SNAP, f"{SNAP}_2"], text
        assert len(names) <= 1 + again


def test_what_was_written_after_the_snapshot_is_copied_by_another_one() -> None:
    """Whatever it is: the old tree is read-only, but root may have changed that."""
    world = world_after("=verified")
    world.nodes[f"{OLD}/rocky"].data, world.nodes[OLD].data = "rocky.conf mended", "system.conf mended"
    foreseen = next_plan(world).steps
    assert foreseen[0].title == (
        f"copy up to {SNAP}_2, because these show writes since the last snapshot: {OLD}, {OLD}/rocky"
    )
    assert [step.key for step in foreseen[:2]] == ["again", "snapshot"]
    done = migrate(world)
    assert done[:2] == [f"zfs set f3s:migration_snapshot={SNAP}_2 {OLD}", f"zfs snapshot -r {OLD}@{SNAP}_2"]
    assert not [text for text in done if "zfs send" in text and "-i" not in text], "nothing is copied twice"
    before = World()
    before.nodes[f"{NEW}/rocky"].data, before.nodes[NEW].data = "rocky.conf mended", "system.conf mended"
    assert_migrated(world, before)
    assert world.nodes[NEW].local[METADATA] == world.nodes[OLD].snapshots[-1][1]


@pytest.mark.parametrize("gone", ["fedora", "rocky/disk1"])
def test_a_copy_that_somebody_destroyed_is_made_anew(gone: str) -> None:
    """As the tool itself advises where a copy is damaged; the proofs were done before."""
    world = world_after("=verified")
    del world.nodes[f"{NEW}/{gone}"]
    assert next_plan(world).steps[0].key == f"copy {NEW}/{gone}"
    assert_ends(world)


def test_the_name_of_another_snapshot_is_free() -> None:
    world = world_after("=verified")
    world._snapshot(f"{OLD}/fedora", f"{SNAP}_2")
    world.nodes[f"{OLD}/rocky/disk1"].log = 1024
    assert next_plan(world).steps[0].commands == (f"zfs set f3s:migration_snapshot={SNAP}_3 {OLD}",)
    migrate(world)
    assert [name for name, _, _ in world.nodes[f"{NEW}/fedora"].snapshots] == [
        *("before", SNAP, f"{SNAP}_2", f"{SNAP}_3")
    ]


def test_another_snapshot_needs_room_for_the_difference_alone() -> None:
    """A thick volume's snapshot takes what was written since the last one, not all of it once more."""
    world = world_after("=verified")
    world.nodes[f"{OLD}/rocky/disk0"].log = 1024
    found = world.facts().datasets
    pairs = [(d, found[NEW + name.removeprefix(OLD)]) for name, d in found.items() if f"{name}/".startswith(f"{OLD}/")]
    world.available = bytes_needed(pairs)
    assert_ends(world)


def test_a_copy_that_was_modified_is_refused_with_the_way_on() -> None:
    world = world_after("=verified")
    world.nodes[f"{OLD}/rocky/disk1"].log = 1024
    world.nodes[f"{NEW}/rocky/disk0"].data = "started too early"
    with pytest.raises(Failed, match="destination has been modified"):
        migrate(world)
    title = next(step.title for step in next_plan(world).steps if step.key == f"copy {NEW}/rocky/disk0")
    rollback = f"zfs rollback {NEW}/rocky/disk0@{SNAP}"
    assert title.endswith(f"(where that was modified since {NEW}/rocky/disk0@{SNAP}, {rollback}, and run again)")
    world.execute(rollback)
    assert_ends(world)


def test_a_copy_that_cannot_be_resumed_is_begun_again() -> None:
    world = world_after("zfs send -v zroot/bhyve_old/rocky/disk1")
    with pytest.raises(Killed):
        world.execute(next_plan(world).steps[0].commands[0], killed=True)
    abort = f"zfs receive -A {NEW}/rocky/disk1"
    assert (
        next_plan(world).steps[0].title.endswith(f"(the rest of it; where that cannot be had, {abort}, and run again)")
    )
    world.execute(abort)
    assert_ends(world)


def test_a_key_that_was_lost_in_the_middle_of_the_copy() -> None:
    world = world_after("zfs send -v zroot/bhyve_old/rocky/disk1")
    world.reboot(keys=False)
    world.key_check = KeyCheck.WRONG
    with pytest.raises(Refusal, match="not the one the dataset is encrypted with") as refused:
        next_plan(world)
    world.execute(str(refused.value).split("`")[1])
    world.key_check = KeyCheck.FITS  # it is made with the key that is there
    assert_ends(world)
    # the machines may have run from a tree that is verified
    world = world_after("vm init")
    world.reboot(keys=False)
    world.key_check = KeyCheck.WRONG
    with pytest.raises(Refusal, match=r"does not open zroot/bhyve: [^`]*$"):
        next_plan(world)


def test_plain_files_below_the_mount_point_are_found_while_the_machines_run() -> None:
    world, before = World(), World()
    world.place = before.place = dataclasses.replace(world.place, entries=("fedora",))
    with pytest.raises(Failed, match="UNENCRYPTED"):
        migrate(world)
    assert world.nodes == before.nodes
    assert world.vms == before.vms
    # nothing is mounted there, so that they can be seen
    world.able = world.nodes[NEW].mounted = False
    world.vms = {}
    with pytest.raises(Refusal, match="it holds fedora: this is NOT ENCRYPTED"):
        next_plan(world)


def remove(world: World, prefix: str) -> None:
    for name in [name for name in world.nodes if name.startswith(prefix)]:
        del world.nodes[name]


def world_after(prefix: str) -> World:
    """The world just before the first command that begins so."""
    return clone(next(world for text, world in every_state() if prefix in text))


def other_copy(world: World) -> None:
    world.nodes[f"{NEW}/rocky"].snapshots[0] = ("before", "5", "x")


def spoil_snapshot(world: World) -> None:
    world.nodes[f"{NEW}/fedora"].snapshots.append((SNAP, "7", "fedora"))


REFUSALS: dict[str, tuple[str, Callable[[World], object], str]] = {
    # before it begins
    "space at the start": ("", lambda w: setattr(w, "available", 1000), "too little space"),
    "foreign old tree": ("", lambda w: w.nodes.update({OLD: Node()}), "unknown origin"),
    "snapshot": ("", spoil_snapshot, "has a snapshot f3s_migrate that is not ours"),
    "encrypted child": ("", lambda w: setattr(w.nodes[f"{NEW}/fedora"], "root", f"{NEW}/fedora"), "encrypted already"),
    "partial child": ("", lambda w: setattr(w.nodes[f"{NEW}/fedora"], "token", "1-x"), "partly received"),
    "mounted inside": (
        "",
        lambda w: w.nodes.update({"zroot/iso": Node(local={"mountpoint": "/zroot/bhyve/.iso"}, mounted=True)}),
        "others are mounted in it: `umount /zroot/bhyve/.iso` there",
    ),
    "vm_dir": ("", lambda w: setattr(w, "vm_dir", "/vm"), "vm_dir in rc.conf is /vm"),
    "no vm_dir": ("", lambda w: setattr(w, "vm_dir", None), "vm_dir in rc.conf is not set"),
    "strange machine": ("", lambda w: setattr(w, "strange_devices", frozenset({"x"})), "not known to vm-bhyve: x"),
    "mount point": ("", lambda w: w.nodes[NEW].local.update(mountpoint="legacy"), "mount point legacy"),
    "mark of D": ("", lambda w: w.nodes[NEW].local.update({MIGRATION: "verified"}), "marked f3s:migration=verified"),
    "feature": (
        "",
        lambda w: setattr(w, "feature", "disabled"),
        "zroot has feature@encryption disabled: nothing in it",
    ),
    "no features": ("", lambda w: setattr(w, "feature", "-"), "zpool set feature@encryption=enabled zroot"),
    # under way
    "not our parent": ("zfs send", lambda w: w.nodes[NEW].local.pop(MIGRATION), "was not made by this migration"),
    "plain parent": ("zfs create", lambda w: w.nodes.update({NEW: Node()}), "somebody made a second one"),
    "plain child": ("bhyve-metadata", lambda w: setattr(w.nodes[f"{NEW}/rocky"], "root", None), "not under the enc"),
    "own root": ("bhyve-metadata", lambda w: setattr(w.nodes[f"{NEW}/rocky"], "root", "x"), "not under the encryption"),
    "stranger": ("bhyve-metadata", lambda w: w.nodes.update({f"{NEW}/x": Node(root=NEW)}), "without a counterpart"),
    "empty child": ("zfs send", lambda w: w.nodes.update({f"{NEW}/rocky": Node(root=NEW)}), "somebody else made it"),
    "other guids": ("bhyve-metadata", other_copy, "its source lacks zroot/bhyve/rocky@before. It is not its copy, or"),
    "snapshot on the copy": (
        "zfs send -v -i @before zroot/bhyve_old/rocky/disk0@later",
        lambda w: w._snapshot(f"{NEW}/rocky/disk0", "zfs-auto-snap"),
        "its source lacks zroot/bhyve/rocky/disk0@zfs-auto-snap.*switch that off until the migration is over",
    ),
    "feature gone": ("zfs create", lambda w: setattr(w, "feature", "disabled"), "nothing in it can be encrypted"),
    "some snapshots": ("zfs create", lambda w: w.nodes[f"{OLD}/rocky"].snapshots.pop(), "without the snapshot"),
    "space": ("zfs send", lambda w: setattr(w, "available", 1000), "too little space"),
    "place": (
        "zfs create",
        lambda w: w.nodes.update({"zroot/x": Node(local={"mountpoint": "/zroot/bhyve"}, mounted=True)}),
        "is mounted at /zroot/bhyve",
    ),
    "vm gone": ("vm init", lambda w: setattr(w, "installed", False), "not installed any more"),
    "vm gone early": ("zfs unmount", lambda w: setattr(w, "installed", False), "not installed any more"),
    "mark": ("zfs create", lambda w: w.nodes[OLD].local.update({MIGRATION: "x"}), "unknown mark"),
    "plain files": (
        "zfs create",
        lambda w: setattr(w, "place", Directory("/zroot/bhyve", "Directory", frozenset(), ("fedora",))),
        "nothing is mounted at /zroot/bhyve, but it holds fedora: this is NOT ENCRYPTED",
    ),
    "source gone": ("bhyve-metadata", lambda w: remove(w, OLD), "zroot/bhyve is not complete, and no dataset has"),
    "source without its mark": ("bhyve-metadata", lambda w: w.nodes[OLD].local.pop(MIGRATION), "is not complete"),
    "lock": ("", lambda w: (w.vms.update(spare=False), w.locked.add("spare")), "locked: spare by"),
    "mark lost": ("zfs create", lambda w: w.nodes[OLD].local.pop(MIGRATION), "unknown origin"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_migration_that_must_not_begin_or_go_on(case: str) -> None:
    prefix, spoil, text = REFUSALS[case]
    world = world_after(prefix)
    spoil(world)
    with pytest.raises(Refusal, match=text):
        next_plan(world)


def type_it(world: World, advice: str) -> None:
    world.execute(advice)


def from_a_backup(world: World, advice: str) -> None:
    world.execute(advice)
    world.nodes |= World().nodes


FOLLOWED: dict[str, Callable[[World, str], object]] = {
    "feature": lambda w, _: setattr(w, "feature", "enabled"),
    "snapshot on the copy": lambda w, _: w.nodes[f"{NEW}/rocky/disk0"].snapshots.pop(),
    "plain files": lambda w, _: setattr(w, "place", Directory("/zroot/bhyve", "Directory", frozenset(), ())),
    "place": lambda w, _: w.nodes.pop("zroot/x"),
    "mounted inside": lambda w, _: w.nodes.pop("zroot/iso"),
    "foreign old tree": type_it,
    "source gone": from_a_backup,
    "strange machine": lambda w, _: setattr(w, "strange_devices", frozenset()),
    "lock": lambda w, advice: w.locked.remove(advice.removeprefix("rm /zroot/bhyve/").removesuffix("/run.lock")),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_what_a_refusal_advises_leads_on(case: str) -> None:
    prefix, spoil, _ = REFUSALS[case]
    world = world_after(prefix)
    spoil(world)
    with pytest.raises(Refusal) as said:
        next_plan(world)
    FOLLOWED[case](world, re.sub(".*?`([^`]+)`.*", r"\1", str(said.value)))
    assert next_plan(world).steps


@pytest.mark.parametrize("prefix", ["zfs snapshot", "zfs create", "zfs send", "=verified", "vm init"])
def test_another_name_in_the_middle_of_a_migration(prefix: str) -> None:
    world = world_after(prefix)
    with pytest.raises(Refusal, match=f"under way from {OLD}, but .*zroot/plain: set it back"):
        next_plan(world, dataclasses.replace(WANTED, old="zroot/plain"))
    assert_ends(world)


def test_another_name_before_and_after_a_migration() -> None:
    """Before the rename nothing has the old tree's name, and afterwards it is only kept."""
    world = world_after("vm stop")
    migrate(world, dataclasses.replace(WANTED, old="zroot/plain"))
    assert "zroot/plain" in world.nodes
    assert next_plan(world).steps == ()


def test_a_mark_that_a_backup_brought_is_none() -> None:
    facts = World().facts()
    properties = {**facts.datasets["zroot"].properties, MIGRATION: Property("started", "received")}
    backup = Dataset("zroot/backup", properties)
    facts = dataclasses.replace(facts, datasets={**facts.datasets, backup.name: backup})
    assert plan(facts, WANTED).steps[0].key == "record"


def test_hosts_with_nothing_to_migrate() -> None:
    world = World()
    world.vms = {}
    remove(world, NEW)
    assert next_plan(world) == Plan((), f"there is no dataset {NEW}", key_at_boot=False)
    world.nodes[NEW] = Node(root=NEW)
    assert next_plan(world) == Plan((), f"{NEW} and all below it are encrypted", key_at_boot=False)
    world.nodes[f"{NEW}/rocky"] = Node()
    with pytest.raises(
        Refusal, match=r"NOT ENCRYPTED, although below zroot/bhyve: zroot/bhyve/rocky\. .*recv -x encryp"
    ):
        next_plan(world)
    world = World()
    world.installed = False
    assert next_plan(world) == Plan((), f"vm-bhyve is not installed, {NEW} is left alone", key_at_boot=False)


def test_an_old_tree_of_somebody_else_is_never_destroyed() -> None:
    world = World()
    world.vms = {}
    remove(world, NEW)
    world.nodes |= {NEW: Node(root=NEW), OLD: Node()}
    assert next_plan(world).steps == ()
    with pytest.raises(Refusal, match="unknown origin"):
        next_plan(world, DESTROY)


def test_commands_of_a_host_without_running_machines() -> None:
    world = World()
    world.vms = dict.fromkeys(world.vms, False)
    for name in [name for name in world.nodes if name.startswith(f"{NEW}/rocky") or name == f"{NEW}/spare"]:
        del world.nodes[name]
    world.vms = {"fedora": False}
    del world.nodes[NEW].local["mountpoint"]
    awk = "awk '/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]/ && n++ % 60 { next } { print; fflush() }' >&2 3>&-"
    done = migrate(world)
    guid = {name: guid for name, guid, _ in world.nodes[OLD].snapshots}[SNAP]
    assert done == [
        "sh -c GUARD guard-below /zroot bhyve",
        f"zfs set f3s:migration=started f3s:migration_snapshot={SNAP} f3s:migration_vms=- "
        f"f3s:migration_mountpoint=inherited:/zroot/bhyve {NEW}",
        f"zfs set f3s:migration_canmount=default canmount=noauto f3s:migration_readonly=default readonly=on {NEW}",
        f"zfs set f3s:migration_canmount=default canmount=noauto {NEW}/fedora",
        f"zfs unmount {NEW}/fedora",
        f"zfs unmount {NEW}",
        f"zfs rename {NEW} {OLD}",
        f"zfs set mountpoint=/zroot/bhyve_old {OLD}",
        f"zfs snapshot -r {OLD}@{SNAP}",
        "zfs create -o encryption=aes-256-gcm -o keyformat=raw "
        "-o keylocation=file:///keys/f0.lan.buetow.org:bhyve.key -o f3s:migration=copying -o compression=lz4 "
        f"{NEW}",
        f"{{ zfs send -v {OLD}/fedora@before 2>&1 >&3 3>&- | {awk}; }} 3>&1 | "
        f"zfs recv -s -u -x encryption -o canmount=noauto {NEW}/fedora",
        f"{{ zfs send -v -i @before {OLD}/fedora@{SNAP} 2>&1 >&3 3>&- | {awk}; }} 3>&1 | zfs recv -s -u {NEW}/fedora",
        f"zfs mount {OLD}",
        f"sh -c METADATA bhyve-metadata copy {OLD} {NEW}",
        f"sh -c METADATA bhyve-metadata compare {OLD} {NEW}",
        f"zfs unmount {OLD}",
        f"zfs set f3s:migration_metadata={guid} {NEW}",
        f"zfs set f3s:migration=verified {NEW}",
        f"zfs set canmount=on {NEW}/fedora",
        f"zfs mount {NEW}/fedora",
        "/usr/local/sbin/vm init",
        f"zfs set f3s:migration=done {OLD}",
    ]
