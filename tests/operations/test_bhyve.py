from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, ctx_state

from f3s.bhyve.model import Facts, Plan
from f3s.keycheck import KeyCheck
from f3s.secretfile import ABSENT, SecretState
from f3s.zfs import MIGRATION
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from facts.mounts import Mounts
from facts.rcconf import Variables
from facts.secrets import SecretFiles
from facts.zfs import KeyChecks, Snapshots
from operations import bhyve
from tests.f3s.bhyve.world import NEW, OLD, PLACE, WANTED, World, done_world, next_plan
from tests.operations.harness import FakeHost, FakeState, Result, run

KEY = SecretState("400", "root", "wheel", "0" * 64)
NOTHING_LEFT = Plan((), "", key_at_boot=True)


def facts_of(facts: Facts, key: SecretState = KEY) -> dict[type, Any]:
    def secret(paths: tuple[str, ...]) -> tuple[SecretState, ...]:
        assert paths == (WANTED.key_file,)
        return (key,)

    def mounts(directories: tuple[str, ...]) -> Any:
        assert directories == (PLACE,)
        return facts.mounts

    return {
        AllProperties: facts.datasets, EncryptionFeature: facts.encryption_feature, Snapshots: facts.snapshots,
        Vms: facts.vm, Variables: {"vm_dir": facts.vm_dir}, SecretFiles: secret, KeyChecks: {NEW: facts.key_check},
        Mounts: mounts,
    }  # fmt: skip


def raw(commands: list[Any]) -> list[str]:
    return [command.get_raw_value() for command in commands]


def left(facts: dict[type, Any], executing: bool = False) -> Plan:
    state = FakeState(executing)
    with ctx_host.use(FakeHost(facts)), ctx_state.use(state):  # type: ignore[arg-type]
        return bhyve.left(WANTED)


def test_a_step_is_planned_again_when_its_turn_comes() -> None:
    world = World()
    plan = left(facts_of(world.facts()))
    assert plan == next_plan(world)
    planned = {step.key: step for step in plan.steps}
    for step in plan.steps:
        # in the plan every step is foreseen, without a look at the host
        assert raw(run(bhyve.step, {}, step, WANTED, executing=False).commands) == list(step.commands)
    while (steps := next_plan(world).steps)[0].key != "metadata":
        result = run(bhyve.step, facts_of(world.facts()), planned[steps[0].key], WANTED)
        assert raw(result.commands) == list(steps[0].commands)
        for command in steps[0].commands:
            world.execute(command)
    assert "metadata=-" in planned["metadata"].commands[-1]
    commands = raw(run(bhyve.step, facts_of(world.facts()), planned["metadata"], WANTED).commands)
    guid = next(s.guid for s in world.facts().snapshots if s.name == f"{OLD}@{WANTED.snapshot}")
    assert commands[-1] == f"zfs set f3s:migration_metadata={guid} {NEW}"


def test_a_step_that_is_done_says_so() -> None:
    world = World()
    first = next_plan(world).steps[0]
    for command in first.commands:
        world.execute(command)
    result = run(bhyve.step, facts_of(world.facts()), first, WANTED)
    assert (result.commands, result.noops) == ([], [f"not needed any more: {first.title}"])


def test_a_step_whose_turn_has_not_come_is_refused() -> None:
    world = World()
    rename = next(step for step in next_plan(world).steps if step.key == "rename")
    with pytest.raises(OperationError, match="the next step is now 'record on zroot/bhyve what runs"):
        run(bhyve.step, facts_of(world.facts()), rename, WANTED)


def test_the_end_is_reached_only_when_nothing_is_left() -> None:
    facts = facts_of(World().facts())
    with pytest.raises(OperationError, match="left to do: record"):
        run(bhyve.finished, facts, NOTHING_LEFT, WANTED)
    planned = run(bhyve.finished, {}, left(facts), WANTED, executing=False)
    assert "steps of the migration come before" in planned.noops[0]


def test_a_host_that_is_done_is_asked_for_its_datasets_and_key_only() -> None:
    facts: dict[type, Any] = {AllProperties: done_world().facts().datasets, KeyChecks: {NEW: KeyCheck.FITS}}
    found = left(facts)
    assert (found.steps, found.key_at_boot) == ((), True)
    assert f"{NEW} is migrated; {OLD} is kept" in found.found
    for executing in (False, True):
        assert run(bhyve.finished, facts, found, WANTED, executing=executing) == Result([], [found.found])


def test_a_key_that_is_not_there_yet_is_fine_in_the_plan_only() -> None:
    facts = facts_of(World().facts(), ABSENT)
    first, *_ = left(facts).steps
    with pytest.raises(OperationError, match="there is no key file"):
        run(bhyve.step, facts, first, WANTED)
    world = done_world()
    world.reboot(keys=False)
    facts = facts_of(world.facts(), ABSENT) | {KeyChecks: {NEW: KeyCheck.NO_FILE}}
    first, *_ = left(facts).steps
    assert first.key == "open"
    with pytest.raises(OperationError, match="does not open zroot/bhyve: there is no such key file"):
        run(bhyve.step, facts, first, WANTED)


@pytest.mark.parametrize("executing", [False, True])
def test_a_refusal_stops_the_plan_already(executing: bool) -> None:
    world = World()
    world.available = 1
    with pytest.raises(OperationError, match=r"f0.lan.buetow.org: too little space"):
        left(facts_of(world.facts()), executing)


def test_a_host_without_the_dataset_or_vm_bhyve_is_asked_for_nothing_else() -> None:
    assert left({AllProperties: {}}) == Plan((), f"there is no dataset {NEW}", key_at_boot=False)
    facts = World().facts()
    asked = {AllProperties: facts.datasets, Vms: dataclasses.replace(facts.vm, installed=False)}
    assert left(asked).found == f"vm-bhyve is not installed, {NEW} is left alone"


def test_output_of_the_steps_is_shown() -> None:
    class Host:
        def run_shell_command(self, command: Any, **arguments: Any) -> Any:
            return command.get_raw_value(), arguments

    state = SimpleNamespace(print_input=False, print_output=False)
    done = bhyve.Shown("zfs list").execute(state, Host(), {"_doas": True})
    assert done == ("zfs list", {"print_output": True, "print_input": False, "_doas": True})


def test_the_key_is_wanted_at_boot_where_a_key_file_opens_the_dataset() -> None:
    world = World()
    assert left(facts_of(world.facts())).key_at_boot
    world.installed = False
    assert not left(facts_of(world.facts())).key_at_boot, "nothing will be encrypted"
    world = done_world()
    del world.nodes[NEW].local[MIGRATION], world.nodes[OLD].local[MIGRATION]
    assert left({AllProperties: world.facts().datasets}).key_at_boot
    world.nodes[NEW].keylocation = "prompt"
    assert not left({AllProperties: world.facts().datasets}).key_at_boot
