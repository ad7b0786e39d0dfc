"""What the operations of this project share."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from pyinfra import logger
from pyinfra.api.exceptions import ConnectError, OperationError
from pyinfra.context import host, inventory, state

from f3s.parsing import NoAnswer
from f3s.quoting import Shell
from facts.base import HostFact

T = TypeVar("T")
Commands = Generator[Shell, None, None]
"""What an operation yields."""


FACT_SECONDS = 600
"""For any fact. Not only a question to a disk may hang (facts.base.DeviceFact): one to a suspended pool does, too."""


def known(fact: type[HostFact[T]], **arguments: object) -> T:
    """A fact of the current host; raises OperationError if it is unknown, because then nothing may be concluded."""
    value: T | None = host.get_fact(fact, **arguments, _timeout=FACT_SECONDS)
    if isinstance(value, NoAnswer):
        raise OperationError(f"{host.name}: {value}. Nothing was changed")
    if value is None:
        raise OperationError(f"{host.name}: {fact.__name__} could not be read; nothing was changed")
    return value


def known_of(name: str, fact: type[HostFact[T]], **arguments: object) -> T | None:
    """A fact of another host, whatever --limit selects; None if the host is off, or the fact fails."""
    try:
        value: T | None = inventory.get_host(name).get_fact(fact, **arguments, _timeout=FACT_SECONDS)
    except ConnectError:
        return None
    if isinstance(value, NoAnswer):
        host.log(f"{name}: {value}", logger.warning)
        return None
    return value


def executing() -> bool:
    """False while pyinfra makes its plan. Then what an earlier operation will make is not there yet."""
    return bool(state.is_executing)
