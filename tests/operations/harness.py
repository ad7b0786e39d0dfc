"""Runs an operation against facts instead of a host: arguments and facts in, commands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, ctx_inventory, ctx_state

from f3s.secretfile import SecretState
from f3s.textfile import TextFile, digest
from operations import reasons


def text_file(text: str, mode: str = "644", group: str = "wheel") -> TextFile:
    """A file with this text, of root's."""
    return TextFile(SecretState(mode, "root", group, digest(text)), text)


@dataclass(eq=False)
class FakeState:
    """A run, as far as operations look at it."""

    is_executing: bool
    inventory: Any = None
    config: Any = field(default_factory=lambda: SimpleNamespace(DIFF=False))
    current_deploy_filename: str = "tasks/here.py"
    failed_hosts: Sequence[Any] = ()
    results: Mapping[Any, Any] = field(default_factory=dict)
    ops: Mapping[Any, Any] = field(default_factory=dict)
    check_for_changes: bool = False


@dataclass(eq=False)
class FakeHost:
    """A host that knows only the facts that a test declares: fact class -> value (or a function of arguments)."""

    facts: Mapping[type, Any]
    name: str = "f0.lan.buetow.org"
    noops: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    current_deploy_name: str | None = None

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        if fact not in self.facts:
            raise AssertionError(f"the operation reads an undeclared fact: {fact.__name__}")
        value = self.facts[fact]
        arguments = {name: each for name, each in arguments.items() if not name.startswith("_")}  # pyinfra's own
        return value(**arguments) if callable(value) else value

    def noop(self, description: str) -> None:
        self.noops.append(description)

    def log(self, message: str, log_func: Any = None) -> None:
        self.logs.append(message)


@dataclass(frozen=True)
class Result:
    commands: list[Any]
    noops: list[str]
    logs: list[str] = field(default_factory=list)


def run(
    operation: Any,
    facts: Mapping[type, Any],
    *args: Any,
    executing: bool = True,
    active: Sequence[str] = (),
    failed: Sequence[str] = (),
    peers: Mapping[str, Any] | None = None,
    diff: bool = False,
    **kwargs: Any,
) -> Result:
    """The commands that an operation yields, without any host. `executing` False is pyinfra's plan phase; `active` are
    the hosts that take part in the run, by name; `failed` are those in which an operation has failed; `peers` are other
    hosts of the inventory that are asked; `diff` is --diff.

    Raises OperationError where it refuses, in both phases."""
    host = FakeHost(facts)
    inventory = SimpleNamespace(get_host=peers.__getitem__ if peers else str, get_active_hosts=lambda: list(active))
    gone = {FakeHost({}, name): SimpleNamespace(error_ops=1) for name in failed}
    state = FakeState(executing, inventory, SimpleNamespace(DIFF=diff), failed_hosts=list(gone), results=gone)
    known = ctx_inventory.use(inventory) if peers else nullcontext()  # type: ignore[arg-type]
    with ctx_host.use(host), ctx_state.use(state), known:  # type: ignore[arg-type]
        commands = list(operation._inner(*args, **kwargs))
        if found := reasons.found(state):  # type: ignore[arg-type]
            raise OperationError(next(iter(found)))
    return Result(commands, host.noops, host.logs)
