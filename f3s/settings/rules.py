"""What a rule for a single value is, and the simple ones.

A rule is put into a type annotation. pydantic calls it before its own (strict) check of the type, so that each refusal
has this project's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Refused(ValueError):
    """A value that a rule does not accept: ``wrong`` and ``allowed`` are the two halves of the message."""

    def __init__(self, wrong: str, allowed: str) -> None:
        self.wrong = wrong
        self.allowed = allowed
        super().__init__(wrong)


@dataclass(frozen=True)
class Rule:
    """A check in a type annotation.

    + allowed: what is accepted, as the end of "allowed: ..."
    + check: returns the value (perhaps in another form), or raises ValueError with what is wrong
    """

    allowed: str
    check: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        try:
            return self.check(value)
        except ValueError as error:
            raise Refused(str(error), self.allowed) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self, handler(source))


def text(value: Any) -> str:
    """Text that is not empty; raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("is not text (a quoted string)")
    if not value:
        raise ValueError("is empty")
    return value


def pattern(allowed: str, pattern: str, longest: int = 255) -> Rule:
    """Text that a regular expression matches whole, of at most ``longest`` characters."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        given = text(value)
        if len(given) > longest:
            raise ValueError(f"has {len(given)} characters, {longest} at most fit")
        if not compiled.fullmatch(given):
            raise ValueError("has not the right form")
        return given

    return Rule(allowed, check)


def whole(low: int, high: int, unit: str = "") -> Rule:
    """A whole number from ``low`` to ``high``; ``unit`` is for the message only."""

    def check(value: Any) -> int:
        # bool is an int in Python, but True is not a port
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("is not a whole number")
        if not low <= value <= high:
            raise ValueError("is out of range")
        return value

    return Rule(f"a whole number{f' of {unit}' if unit else ''} from {low} to {high}", check)


def one_of(*choices: str) -> Rule:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError("is not one of the choices")
        return str(value)

    return Rule(" or ".join(choices), check)


def many(what: str, *, at_least: int = 0) -> Rule:
    """A list; a single text stands for a list of one, because ``--data`` on a command line gives text."""
    allowed = f"a list of {what}" + (f", {at_least} or more" if at_least else "")

    def check(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise ValueError("is not a list")
        if len(value) < at_least:
            raise ValueError("is too short")
        names = [str(item) for item in value]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"holds {value[index]!r} twice")
        return tuple(value)

    return Rule(allowed, check)


def nothing_or(rule: Rule) -> Rule:
    return Rule(f"{rule.allowed}, or None", lambda value: None if value is None else rule.check(value))
