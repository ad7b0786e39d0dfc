"""What a task would do on a host, planned by pyinfra itself from declared facts: no host, no connection.

The inventory and the group data are the site's own. Every fact that a task reads must be declared, or the test fails.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from pyinfra.api import Config, Inventory, State
from pyinfra.api.host import Host
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from bridge.settings import REPOSITORY


@dataclass(frozen=True)
class Planned:
    """An operation of the plan: its title, and its commands as text (uploads as `put PATH`)."""

    title: str
    commands: tuple[str, ...]


def _public(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in variables.items() if not key.startswith("_") or key in ("_sudo", "_doas")}


def site_inventory(data: Mapping[str, Any]) -> Inventory:
    """The inventory of inventory.py and group_data/, as pyinfra's command line builds it; data: as with --data."""
    with patch("bridge.settings.check_inventory"):
        variables = runpy.run_path(str(REPOSITORY / "inventory.py"))
    groups = {}
    for group, members in variables.items():
        if isinstance(members, list) and not group.startswith("_"):
            file = REPOSITORY / "group_data" / f"{group}.py"
            groups[group] = (members, _public(runpy.run_path(str(file))) if file.exists() else {})
    everybody = list(dict.fromkeys(member[0] for members, _ in groups.values() for member in members))
    everywhere = _public(runpy.run_path(str(REPOSITORY / "group_data" / "all.py")))
    return Inventory((everybody, everywhere), override_data=dict(data), **groups)


def plan(task: str, host_name: str, facts: Mapping[type, Any], **data: Any) -> list[Planned]:
    """Run a task file for one host in pyinfra's first phase.

    facts: fact class -> value, or a function of the fact's arguments; data: variables that differ from the site's.
    """
    inventory = site_inventory(data)
    state = State(inventory, Config())
    state.set_stage(StateStage.Prepare)
    host = inventory.get_host(host_name)
    assert host is not None
    state.activate_host(host)

    def get_fact(self: Host, fact: type, *args: Any, **kwargs: Any) -> Any:
        if fact not in facts:
            raise AssertionError(f"the task reads an undeclared fact: {fact.__name__} {args} {kwargs}")
        value = facts[fact]
        return value(*args, **kwargs) if callable(value) else value

    with (
        ctx_state.use(state),
        ctx_inventory.use(inventory),
        ctx_config.use(state.config.copy()),
        ctx_host.use(host),
        patch.object(Host, "get_fact", get_fact),
    ):
        runpy.run_path(str(REPOSITORY / "tasks" / f"{task}.py"))
        planned = []
        for op_hash in state.get_op_order():
            meta = state.get_op_meta(op_hash)
            commands = tuple(_text(each) for each in state.get_op_data_for_host(host, op_hash).command_generator())
            planned.append(Planned(next(iter(meta.names)), commands))
        return planned


def _text(command: Any) -> str:
    return f"put {command.dest}" if hasattr(command, "dest") else str(command)
