"""What the operations of this project share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

import gevent
from pyinfra import logger
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, OperationError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state, host, inventory, state
from typing_extensions import override

from f3s.parsing import NoAnswer
from f3s.quoting import Shell
from facts.base import DEVICE_SECONDS, HostFact
from facts.together import Together

T = TypeVar("T")
AT_ONCE = 50
"""Questions in one command. All of them are one argument of a shell, and Linux takes 128 KiB (MAX_ARG_STRLEN)."""
Commands = Generator[Shell, None, None]
"""What an operation yields."""


FACT_SECONDS = 600
"""For any fact. Not only a question to a disk may hang (facts.base.DeviceFact): one to a suspended pool does, too."""
LOOK_SECONDS = DEVICE_SECONDS + 30
"""For a look at many hosts: a question that never ends must not hide the other answers. More than a disk has."""


def current_host() -> Host:
    """The host itself, which can be a key of a mapping; `host` stands for it."""
    return cast(Host, ctx_host.get())  # type: ignore[no-untyped-call]


def current_run() -> State:
    """The run itself; `state` stands for it."""
    return cast(State, ctx_state.get())  # type: ignore[no-untyped-call]


def known(fact: type[HostFact[T]], **arguments: object) -> T:
    """A fact of the current host; raises OperationError if it is unknown, because then nothing may be concluded."""
    value: T | NoAnswer | None = answers().of(current_host(), fact, arguments)
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


class NotAsked(Exception):
    """A question without an answer yet, which is asked together with others."""


@dataclass(frozen=True)
class Question:
    member: Host
    fact: type[FactBase[Any]]
    arguments: Mapping[str, object]


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
        self._gathered: dict[Host, list[Question]] | None = None

    def of(self, member: Host, fact: type[FactBase[Any]], arguments: Mapping[str, object]) -> Any:
        """The last answer, or a new one. Raises NotAsked while questions are gathered."""
        question = Question(member, fact, arguments)
        number, then, value = self._said.get(_key(question), (-1, None, None))
        taken = self.taken.get(current_host(), Taken(0))
        old = number < taken.begin
        if then != self._changes() or (old and taken.only_own):
            if self._gathered is not None and member.connected and issubclass(fact, HostFact):
                self._gathered.setdefault(member, []).append(question)
                raise NotAsked
            value = self._ask(question)
        elif old:
            taken.old = True
        return value

    def gathered(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Does what asks questions, again and again until each is answered: one command for each host and round."""
        while tasks:
            self._gathered = {}
            tasks = [each for each in tasks if not self._done(each)]
            asked, self._gathered = self._gathered, None
            rounds = [gevent.spawn(self._together, member, questions) for member, questions in asked.items()]
            gevent.joinall(rounds, raise_error=True)

    @staticmethod
    def _done(task: Callable[[], None]) -> bool:
        try:
            task()
        except NotAsked:
            return False
        return True

    def _together(self, member: Host, questions: Sequence[Question]) -> None:
        with ctx_host.use(member):
            each_once = list({_key(each): each for each in questions}.values())
            for few in (each_once[start : start + AT_ONCE] for start in range(0, len(each_once), AT_ONCE)):
                asked = [(cast(type[HostFact[Any]], each.fact), each.arguments) for each in few]
                number, before = self._next(), self._changes()
                said = member.get_fact(Together, asked, _ignore_errors=True, _timeout=FACT_SECONDS)
                for each, value in zip(few, said or [None] * len(few), strict=True):
                    if value is not None:
                        self._keep(each, number, before, value)
                    else:
                        self._ask(each)

    def _ask(self, question: Question) -> Any:
        number, before = self._next(), self._changes()
        value = None
        # one that failed has been reported; pyinfra only drops a host before the next operation
        if executing() or question.member not in self._run.failed_hosts:
            value = question.member.get_fact(question.fact, **question.arguments, _timeout=FACT_SECONDS)
        self._keep(question, number, before, value)
        return value

    def _keep(self, question: Question, number: int, before: tuple[int, bool], value: Any) -> None:
        self._said[_key(question)] = (number, before, value)

    def _next(self) -> int:
        """The number of an answer, from when it is asked for: who begins meanwhile takes it for an earlier one."""
        self.number += 1
        return self.number - 1

    def _changes(self) -> tuple[int, bool]:
        """How many operations have changed something. A person may take any time to agree to a plan."""
        if not executing():
            return 0, False
        changed = sum(each.operation_meta.executed for of_host in self._run.ops.values() for each in of_host.values())
        return changed, self._run.check_for_changes


def _key(question: Question) -> tuple[Host, type, str]:
    return question.member, question.fact, repr(question.arguments)


_answers: WeakKeyDictionary[State, Answers] = WeakKeyDictionary()


def answers() -> Answers:
    """Those of the current run."""
    run = current_run()
    if run not in _answers:
        _answers[run] = Answers(run)
    return _answers[run]


def known_of(name: str, fact: type[HostFact[T]], **arguments: object) -> T | None:
    """A fact of another host, whatever --limit selects; None if the host is off, or the fact fails."""
    try:
        value: T | NoAnswer | None = answers().of(inventory.get_host(name), fact, arguments)
    except ConnectError:
        return None
    if isinstance(value, NoAnswer):
        host.log(f"{name}: {value}", logger.warning)
        return None
    return value


def told(fact: type[FactBase[T]], **arguments: object) -> T:
    """One of pyinfra's own facts of the current host."""
    return cast(T, answers().of(current_host(), fact, arguments))


def answer(member: Host, fact: type[HostFact[T]], **arguments: object) -> T | NoAnswer | None:
    """A fact of a host that takes part in the run; None where it fails or takes longer than LOOK_SECONDS.

    pyinfra shows the error, the host stays in the run.
    """
    return cast(T | NoAnswer | None, member.get_fact(fact, **arguments, _ignore_errors=True, _timeout=LOOK_SECONDS))


def ask(member: Host, fact: type[HostFact[T]], **arguments: object) -> T | None:
    """As `answer`, with None where a disk does not answer."""
    said = answer(member, fact, **arguments)
    if isinstance(said, NoAnswer):
        member.log(str(said), logger.error)
        return None
    return said


def run_on(member: Host, line: StringCommand, *, shown: bool, **own: object) -> Any:
    """A command on a host of the run, which may be another one than that whose turn it is.

    + shown: whether its output is; -vv shows the command then, too
    + own: pyinfra's global arguments, such as `_timeout`
    """
    arguments, _ = pop_global_arguments(current_run(), member, {})
    given = {key: value for key, value in {**arguments, **own}.items() if key in CONNECTOR_ARGUMENT_KEYS}
    return member.run_shell_command(line, print_output=shown, print_input=shown and state.print_input, **given)


class Planned(Protocol):
    """A step of something long, which is planned again from facts when its turn comes."""

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str: ...


S = TypeVar("S", bound=Planned)


def in_turn(planned: S, left: Sequence[S]) -> S | None:
    """The step as it is now, None where it is not needed any more.

    + planned: as the plan of the whole way foresaw it
    + left: all that is left to do now, in order

    Raises OperationError where another one comes first.
    """
    current = next((each for each in left if each.key == planned.key), None)
    if current is None:
        host.noop(f"not needed any more: {planned.title}")
    elif left[0] is not current:
        raise OperationError(
            f"{host.name}: the next step is now '{left[0].title}', not '{planned.title}': something changed since the "
            "plan was made. Run again"
        )
    return current


def nothing_left(left: Sequence[Planned]) -> None:
    """Raises OperationError where something is left to do at the end of a run."""
    if left:
        raise OperationError(f"{host.name}: left to do: {left[0].title}. Run again")


class Shown(StringCommand):
    """A command whose output is shown without -vvv: it takes long, or says what an operator wants to know."""

    @override
    def execute(self, state: Any, host: Any, connector_arguments: Any) -> Any:
        connector_arguments.update(self.connector_arguments)
        return host.run_shell_command(self, print_output=True, print_input=state.print_input, **connector_arguments)


def on(target: Host, line: Shown) -> Any:
    """The command on a host of the run, as if it were that host's turn."""
    with ctx_host.use(target):
        return run_on(target, line, shown=True, **line.connector_arguments)


class On(Shown):
    """A command on another host than that whose turn it is."""

    def __init__(self, name: str, line: Shell, **arguments: Any) -> None:
        super().__init__(line, **arguments)
        self.name = name

    @override
    def execute(self, state: Any, host: Any, connector_arguments: Any) -> Any:
        return on(inventory.get_host(self.name), self)


def executing() -> bool:
    """False while pyinfra makes its plan. Then what an earlier operation will make is not there yet."""
    return bool(state.is_executing)
