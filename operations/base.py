"""What the operations of this project share."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, OperationError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state, host, inventory, state
from typing_extensions import override

from f3s.parsing import NoAnswer
from f3s.quoting import Shell
from facts.base import DEVICE_SECONDS, HostFact

T = TypeVar("T")
Commands = Generator[Shell, None, None]
"""What an operation yields."""


FACT_SECONDS = 600
"""For any fact. Not only a question to a disk may hang (facts.base.DeviceFact): one to a suspended pool does, too."""
LOOK_SECONDS = DEVICE_SECONDS + 30
"""For a look at many hosts: a question that never ends must not hide the other answers. More than a disk has."""


def current_host() -> Host:
    """The host itself, which can be a key of a mapping; `host` stands for it."""
    return cast(Host, ctx_host.get())  # type: ignore[no-untyped-call]


def known(fact: type[HostFact[T]], **arguments: object) -> T:
    """A fact of the current host; raises OperationError if it is unknown, because then nothing may be concluded."""
    value = answers().of(current_host(), fact, arguments)
    if isinstance(value, NoAnswer):
        raise OperationError(f"{host.name}: {value}. Nothing was changed")
    if value is None:
        of = f" of {arguments['path']}" if "path" in arguments else ""
        raise OperationError(f"{host.name}: {fact.__name__}{of} could not be read; nothing was changed")
    return value


@dataclass
class Taken:
    """What the running operation of a host takes.

    + begin: the number of its first answer
    + old: it took an earlier one
    + only_own: it takes no earlier one
    """

    begin: int
    old: bool = False
    only_own: bool = False


class Answers:
    """What the hosts of a run have said. An answer holds until something is changed on any of them.

    That is enough to find nothing to do. A change is decided on answers of its own operation: operations.reasons.
    """

    def __init__(self, run: State) -> None:
        self._run = run
        self._said: dict[tuple[Host, type, str], tuple[int, tuple[int, bool], Any]] = {}
        self.number = 0
        """Of the next answer."""
        self.taken: dict[Host, Taken] = {}

    def of(self, member: Host, fact: type[HostFact[T]], arguments: Mapping[str, object]) -> T | NoAnswer | None:
        """The last answer, or a new one."""
        question = (member, fact, repr(arguments))
        number, then, value = self._said.get(question, (-1, None, None))
        taken, before = self.taken.get(current_host(), Taken(0)), self._changes()
        old = number < taken.begin
        if then != before or (old and taken.only_own):
            number, self.number = self.number, self.number + 1
            value = member.get_fact(fact, **arguments, _timeout=FACT_SECONDS)
            self._said[question] = (number, before, value)
        elif old:
            taken.old = True
        return cast(T | NoAnswer | None, value)

    def _changes(self) -> tuple[int, bool]:
        """How many operations have changed something. A person may take any time to agree to a plan."""
        changed = sum(each.operation_meta.executed for of_host in self._run.ops.values() for each in of_host.values())
        return changed, executing() and self._run.check_for_changes


_answers: WeakKeyDictionary[State, Answers] = WeakKeyDictionary()


def answers() -> Answers:
    """Those of the current run."""
    run = cast(State, ctx_state.get())  # type: ignore[no-untyped-call]
    if run not in _answers:
        _answers[run] = Answers(run)
    return _answers[run]


def known_of(name: str, fact: type[HostFact[T]], **arguments: object) -> T | None:
    """A fact of another host, whatever --limit selects; None if the host is off, or the fact fails."""
    try:
        value = answers().of(inventory.get_host(name), fact, arguments)
    except ConnectError:
        return None
    if isinstance(value, NoAnswer):
        host.log(f"{name}: {value}", logger.warning)
        return None
    return value


def answer(
    member: Host, fact: type[HostFact[T]], *, within: int = LOOK_SECONDS, **arguments: object
) -> T | NoAnswer | None:
    """A fact of a host that takes part in the run; None where it fails or takes longer than `within` seconds.

    pyinfra shows the error, the host stays in the run.
    """
    return cast(T | NoAnswer | None, member.get_fact(fact, **arguments, _ignore_errors=True, _timeout=within))


def ask(member: Host, fact: type[HostFact[T]], *, within: int = LOOK_SECONDS, **arguments: object) -> T | None:
    """As `answer`, with None where a disk does not answer."""
    said = answer(member, fact, within=within, **arguments)
    if isinstance(said, NoAnswer):
        member.log(str(said), logger.error)
        return None
    return said


class Shown(StringCommand):
    """A command whose output is shown without -vvv: it takes long, or says what an operator wants to know."""

    @override
    def execute(self, state: Any, host: Any, connector_arguments: Any) -> Any:
        connector_arguments.update(self.connector_arguments)
        return host.run_shell_command(self, print_output=True, print_input=state.print_input, **connector_arguments)


def executing() -> bool:
    """False while pyinfra makes its plan. Then what an earlier operation will make is not there yet."""
    return bool(state.is_executing)
