"""What the operations of this project share."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, OperationError
from pyinfra.api.host import Host
from pyinfra.context import ctx_host, host, inventory, state
from typing_extensions import override

from f3s.parsing import NoAnswer
from f3s.quoting import Shell
from facts.base import DEVICE_SECONDS, HostFact

T = TypeVar("T")
_planned: WeakKeyDictionary[Host, dict[tuple[type, str], Any]] = WeakKeyDictionary()
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
    value = _asked_once(current_host(), fact, arguments)
    if isinstance(value, NoAnswer):
        raise OperationError(f"{host.name}: {value}. Nothing was changed")
    if value is None:
        of = f" of {arguments['path']}" if "path" in arguments else ""
        raise OperationError(f"{host.name}: {fact.__name__}{of} could not be read; nothing was changed")
    return value


def _asked_once(member: Host, fact: type[HostFact[T]], arguments: Mapping[str, object]) -> T | NoAnswer | None:
    """A fact. Nothing changes while pyinfra makes its plan, so each question is asked once then."""
    question = (fact, repr(arguments))
    said = _planned.setdefault(member, {})
    if executing() or question not in said:
        said[question] = member.get_fact(fact, **arguments, _timeout=FACT_SECONDS)
    return cast(T | NoAnswer | None, said[question])


def known_of(name: str, fact: type[HostFact[T]], **arguments: object) -> T | None:
    """A fact of another host, whatever --limit selects; None if the host is off, or the fact fails."""
    try:
        value = _asked_once(inventory.get_host(name), fact, arguments)
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
