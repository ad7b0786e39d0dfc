"""What a boot without the stick could not do, made up for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from f3s.bhyve.plan import plan
from f3s.bhyve.tree import Refusal
from f3s.keycheck import KeyCheck
from f3s.mounts import Directory
from f3s.zfs import MIGRATION
from tests.f3s.bhyve.world import (
    DESTROY,
    KEY,
    NEW,
    OLD,
    PLACE,
    WANTED,
    Killed,
    World,
    clone,
    done_world,
    migrate,
    next_plan,
)


def closed() -> World:
    """A migrated host that was booted without the stick, which is in again."""
    world = done_world()
    world.reboot(keys=False)
    assert not world.nodes[NEW].mounted
    return world


def test_it_is_opened_as_the_boot_would_have_done() -> None:
    world = closed()
    assert next_plan(world).steps[0].title == f"load the key of {NEW} and mount it"
    assert migrate(world) == [
        f"zfs set f3s:migration=opening {NEW}",
        f"zfs load-key {NEW}",
        f"zfs mount {NEW}",
        f"zfs mount {NEW}/fedora",
        f"zfs mount {NEW}/rocky",
        "/usr/local/sbin/vm init",
        "/usr/local/sbin/vm start rocky",
        "sh -c WAIT bhyve-wait running 60 /zroot/bhyve rocky",
        f"zfs set f3s:migration=verified {NEW}",
    ]
    assert world.vms == {"rocky": True, "fedora": False, "spare": False}
    assert not world.nodes[f"{NEW}/spare"].mounted
    assert next_plan(world).steps == ()


def test_killed_before_and_in_every_single_command() -> None:
    world = closed()
    while steps := next_plan(world).steps:
        for text in steps[0].commands:
            for killed in (False, True):
                again = clone(world)
                if killed:
                    with pytest.raises(Killed):
                        again.execute(text, killed=True)
                migrate(again)
                assert again.vms["rocky"]
                assert again.nodes[f"{NEW}/fedora"].mounted
                assert again.nodes[NEW].local[MIGRATION] == "verified"
            world.execute(text)


def test_without_the_old_tree_too() -> None:
    world = done_world()
    migrate(world, DESTROY)
    assert OLD not in world.nodes
    world.reboot(keys=False)
    migrate(world)
    assert world.vms["rocky"]


def test_it_is_opened_before_the_old_tree_is_destroyed() -> None:
    world = closed()
    assert [step.key for step in next_plan(world, DESTROY).steps] == ["open", "mount", "machines"]
    migrate(world)
    world.vms["fedora"] = True
    assert [step.key for step in next_plan(world, DESTROY).steps] == ["destroy"]


def test_what_somebody_stopped_or_unmounted_stays_so() -> None:
    world = done_world()
    world.vms = dict.fromkeys(world.vms, False)
    world.nodes[f"{NEW}/fedora"].mounted = False
    assert next_plan(world).steps == ()


def test_a_host_migrated_before_gets_its_guard_when_it_is_opened() -> None:
    world = closed()
    world.place = Directory(PLACE, "Directory", frozenset(), ())
    assert next_plan(world).steps[0].commands[1] == f"mkdir -p {PLACE} && chflags schg {PLACE}"


@pytest.mark.parametrize("key_loaded", [False, True])
@pytest.mark.parametrize("check", [KeyCheck.WRONG, KeyCheck.NO_FILE, KeyCheck.NOT_A_KEY])
def test_a_key_that_does_not_open_it_is_told_before_the_next_boot(check: KeyCheck, key_loaded: bool) -> None:
    world = closed()
    world.key_check = check
    if key_loaded:
        world.reboot(keys=True)
    now = "after the next reboot .* could not be opened" if key_loaded else "cannot be opened"
    with pytest.raises(Refusal, match=f"{KEY} does not open {NEW}: {check.value}; .*{now}"):
        next_plan(world)


def test_a_key_that_comes_in_the_same_run_is_foreseen() -> None:
    """And so are the machines, which vm cannot list yet."""
    world = closed()
    world.key_check = None
    steps = next_plan(world).steps
    assert [step.key for step in steps] == ["open", "mount", "machines"]
    assert steps[-1].commands == ("/usr/local/sbin/vm init", f"zfs set f3s:migration=verified {NEW}")


def test_another_key_file_is_named() -> None:
    """usb_mountpoint or bhyve_key was changed; the file is proven to fit before."""
    world = done_world()
    elsewhere = dataclasses.replace(WANTED, key_file="/stick/f0.lan.buetow.org:bhyve.key")
    assert migrate(world, elsewhere) == [f"zfs set keylocation=file:///stick/f0.lan.buetow.org:bhyve.key {NEW}"]
    world.key_check = KeyCheck.WRONG
    with pytest.raises(Refusal, match="the keylocation is file:///stick/"):
        next_plan(world)


REFUSALS: dict[str, tuple[Callable[[World], object], str]] = {
    "plain files": (lambda w: setattr(w, "place", Directory(PLACE, "Directory", frozenset({"schg"}), ("plain",))),
         f"nothing is mounted at {PLACE}, but it holds plain: this is NOT ENCRYPTED"),
    "a file": (lambda w: setattr(w, "place", Directory(PLACE, "Regular File", frozenset(), ())),
         f"nothing is mounted at {PLACE}, but it is a Regular File"),
    "another": (lambda w: w.nodes["zroot"].local.update(mountpoint=PLACE), f"zroot is mounted at {PLACE}: unmount it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_in_its_place_is_told(case: str) -> None:
    world = closed()
    spoil, text = REFUSALS[case]
    spoil(world)
    with pytest.raises(Refusal, match=text):
        next_plan(world)


def test_a_root_that_somebody_else_made_is_left_alone() -> None:
    world = closed()
    del world.nodes[NEW].local[MIGRATION]
    world.key_check = KeyCheck.WRONG
    assert next_plan(world).steps == ()


@pytest.mark.parametrize("old_tree", [True, False])
def test_a_tree_that_is_no_root_of_its_own_any_more_is_told(old_tree: bool) -> None:
    world = done_world()
    if not old_tree:
        migrate(world, DESTROY)
    for name in [name for name in world.nodes if f"{name}/".startswith(f"{NEW}/")]:
        world.nodes[name].root = "zroot"
    with pytest.raises(Refusal, match="is not an encryption root of its own any more, but under zroot"):
        next_plan(world)


@pytest.mark.parametrize("gone", ["installed", "able"])
def test_a_host_that_runs_no_machines_any_more_is_opened_only(gone: str) -> None:
    world = closed()
    setattr(world, gone, False)
    assert migrate(world)[-1] == f"zfs set f3s:migration=verified {NEW}"
    assert not any(world.vms.values())
    assert world.nodes[f"{NEW}/rocky"].mounted


def test_unknown_machines_are_told_once_it_is_open() -> None:
    world = closed()
    for text in next_plan(world).steps[0].commands:
        world.execute(text)
    facts = world.facts()
    facts = dataclasses.replace(facts, vm=dataclasses.replace(facts.vm, vms=None, problem="$vm_enable is not enabled"))
    with pytest.raises(Refusal, match=r"open again, but unknown which .*: \$vm_enable is not enabled"):
        plan(facts, WANTED)


def test_the_cipher_is_that_of_the_settings() -> None:
    steps = next_plan(World(), dataclasses.replace(WANTED, encryption="aes-128-ccm")).steps
    parent = next(step for step in steps if step.key == "parent")
    assert "zfs create -o encryption=aes-128-ccm -o keyformat=raw" in parent.commands[-1]
