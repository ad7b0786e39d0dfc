from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, ctx_state

from f3s.bhyve import plan
from f3s.keycheck import KeyCheck
from f3s.secretfile import ABSENT, SecretState
from f3s.zfs import MIGRATION
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from facts.mounts import Mounts
from facts.rcconf import Variables
from facts.secrets import SecretFile
from facts.zfs import KeyChecks, Snapshots
from operations import bhyve
from tests.f3s.bhyve_world import NEW, OLD, WANTED, KnownFacts, World
from tests.operations.harness import FakeHost, run

KEY = SecretState("400", "root", "wheel", "0" * 64)


def facts_of(facts: KnownFacts, key: SecretState | None = KEY) -> dict[type, Any]:
    def at(path: str) -> SecretState | None:
        assert path == WANTED.key_file
        return key

    return {
        AllProperties: dict(facts.datasets),
        EncryptionFeature: facts.encryption_feature,
        Snapshots: facts.snapshots,
        Vms: facts.vm,
        Variables: {"vm_dir": facts.vm_dir},
        SecretFile: at,
        KeyChecks: {NEW: facts.key_check},
        Mounts: facts.table,
    }


def raw(commands: list[Any]) -> list[str]:
    return [command.get_raw_value() for command in commands]


def survey(facts: dict[type, Any], executing: bool = False) -> bhyve.Survey:
    state = SimpleNamespace(is_executing=executing)
    with ctx_host.use(FakeHost(facts)), ctx_state.use(state):  # type: ignore[arg-type]
        return bhyve.survey(WANTED)


def done_world() -> World:
    world = World()
    while steps := plan(world.facts(), WANTED).steps:
        for command in steps[0].commands:
            world.execute(command)
    return world


def test_a_step_yields_the_commands_of_the_plan() -> None:
    world = World()
    steps = plan(world.facts(), WANTED).steps
    facts = facts_of(world.facts())
    assert survey(facts) == bhyve.Survey(steps, True)
    for step in steps:
        # in the plan every step is foreseen, without a look at the host
        assert raw(run(bhyve.step, {}, step, WANTED, executing=False).commands) == list(step.commands)
    assert raw(run(bhyve.step, facts, steps[0], WANTED).commands) == list(steps[0].commands)


def test_a_step_is_planned_again_when_its_turn_comes() -> None:
    world = World()
    planned = {step.key: step for step in plan(world.facts(), WANTED).steps}
    while (steps := plan(world.facts(), WANTED).steps)[0].key != "metadata":
        for command in steps[0].commands:
            world.execute(command)
    assert "metadata=-" in planned["metadata"].commands[-1]
    commands = raw(run(bhyve.step, facts_of(world.facts()), planned["metadata"], WANTED).commands)
    guid = next(s.guid for s in world.facts().snapshots if s.name == f"{OLD}@{WANTED.snapshot}")
    assert commands[-1] == f"zfs set f3s:migration_metadata={guid} {NEW}"


def test_a_step_that_is_done_says_so() -> None:
    world = World()
    first = plan(world.facts(), WANTED).steps[0]
    for command in first.commands:
        world.execute(command)
    result = run(bhyve.step, facts_of(world.facts()), first, WANTED)
    assert result.commands == []
    assert result.noops == [f"not needed any more: {first.title}"]


def test_a_step_whose_turn_has_not_come_is_refused() -> None:
    world = World()
    rename = next(step for step in plan(world.facts(), WANTED).steps if step.key == "rename")
    with pytest.raises(OperationError, match="the next step is now 'record on zroot/bhyve what runs"):
        run(bhyve.step, facts_of(world.facts()), rename, WANTED)


def test_the_end_is_reached_only_when_nothing_is_left() -> None:
    world = World()
    with pytest.raises(OperationError, match="left to do: record"):
        run(bhyve.finished, facts_of(world.facts()), WANTED)
    assert (
        "steps of the migration come before"
        in run(bhyve.finished, facts_of(world.facts()), WANTED, executing=False).noops[0]
    )
    while steps := plan(world.facts(), WANTED).steps:
        for command in steps[0].commands:
            world.execute(command)
    result = run(bhyve.finished, facts_of(world.facts()), WANTED)
    assert (result.commands, len(result.noops)) == ([], 1)
    assert f"{NEW} is migrated; {OLD} is kept" in result.noops[0]
    assert survey(facts_of(world.facts())) == bhyve.Survey((), True)


def test_a_host_without_the_dataset_is_asked_for_nothing_else() -> None:
    result = run(bhyve.finished, {AllProperties: {}}, WANTED)
    assert result.noops == [f"there is no dataset {NEW}"]


def test_a_key_that_is_not_there_yet_is_fine_in_the_plan_only() -> None:
    world = World()
    facts = facts_of(world.facts(), ABSENT)
    steps = survey(facts).steps
    assert steps
    with pytest.raises(OperationError, match="there is no key file"):
        run(bhyve.step, facts, steps[0], WANTED)


@pytest.mark.parametrize("executing", [False, True])
def test_a_refusal_stops_the_plan_already(executing: bool) -> None:
    world = World()
    world.available = 1
    facts = facts_of(world.facts())
    assert survey(facts, executing) == bhyve.Survey((), False)
    with pytest.raises(OperationError, match=r"f0.lan.buetow.org: too little space"):
        run(bhyve.finished, facts, WANTED, executing=executing)


@pytest.mark.parametrize("missing", [AllProperties, Snapshots, Vms, Variables, SecretFile])
def test_unknown_facts_stop_it(missing: type) -> None:
    unknown: Callable[..., None] = lambda **_: None  # noqa: E731
    facts = facts_of(World().facts()) | {missing: unknown}
    with pytest.raises(OperationError, match=r"could not be (read|found out)|found out whether"):
        run(bhyve.finished, facts, WANTED)


def test_output_of_the_steps_is_shown() -> None:
    class Host:
        def run_shell_command(self, command: Any, **arguments: Any) -> Any:
            return command.get_raw_value(), arguments

    state = SimpleNamespace(print_input=False, print_output=False)
    done = bhyve.Shown("zfs list").execute(state, Host(), {"_doas": True})
    assert done == ("zfs list", {"print_output": True, "print_input": False, "_doas": True})


def test_the_programs_of_the_host_go_along() -> None:
    wanted = bhyve.wanted("zroot/bhyve", "zroot/bhyve_old", "s", "/keys/k", "aes-256-gcm", "ufs/F3S_KEYS", 60, False)
    scripts = {"wait_script": "", "metadata_script": "", "guard_script": ""}
    assert dataclasses.replace(wanted, **scripts) == dataclasses.replace(
        WANTED, snapshot="s", key_file="/keys/k", **scripts
    )
    assert wanted.wait_script.startswith("#!/bin/sh\n# Waits")
    assert wanted.metadata_script.startswith("#!/bin/sh\n# Copies")
    assert wanted.guard_script.startswith("#!/bin/sh\n# Takes writes")


def test_a_host_that_is_done_is_asked_for_its_datasets_and_key_only() -> None:
    facts = {AllProperties: dict(done_world().facts().datasets), KeyChecks: {NEW: KeyCheck.FITS}}
    assert survey(facts) == bhyve.Survey((), True)
    assert len(run(bhyve.finished, facts, WANTED).noops) == 1


def test_the_key_is_not_wanted_at_boot_where_nothing_is_or_will_be_encrypted() -> None:
    world = World()
    world.installed = False
    assert survey(facts_of(world.facts())) == bhyve.Survey((), False)


def test_the_key_is_not_wanted_at_boot_where_a_root_of_somebody_else_has_no_key_file() -> None:
    world = done_world()
    del world.nodes[NEW].local[MIGRATION]
    assert survey(facts_of(world.facts())) == bhyve.Survey((), True)
    world.nodes[NEW].keylocation = "prompt"
    assert survey(facts_of(world.facts())) == bhyve.Survey((), False)


def test_a_key_file_that_usb_keys_brings_in_the_same_run_is_wanted_when_it_is_used() -> None:
    world = done_world()
    world.reboot(keys=False)
    facts = facts_of(world.facts()) | {KeyChecks: {NEW: KeyCheck.NO_FILE}}
    first, *_ = survey(facts).steps
    assert first.key == "open"
    with pytest.raises(OperationError, match="does not open zroot/bhyve: there is no such key file"):
        run(bhyve.step, facts, first, WANTED)
