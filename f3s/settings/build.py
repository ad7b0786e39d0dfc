"""From the data of an inventory to a checked Site. All problems are found at once."""

from __future__ import annotations

import difflib
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from f3s.settings.checks import check_site
from f3s.settings.lookup import REFUSED
from f3s.settings.model import Part
from f3s.settings.problems import HIDDEN, Problem, SettingsError
from f3s.settings.rules import Refused, Rule
from f3s.settings.site import HostSettings, Site, host_parts

NOT_SET = "(not set)"
_SECRET_VARIABLES = frozenset({"carp_password"})
_FOREIGN_PREFIXES = ("_", "ssh_", "winrm_", "docker_", "verify_", "survey_", "promote", "return_", "escrow_", "rotate_")
"""Data of pyinfra, its connectors and the command lines of tasks: not looked at here."""


@dataclass(frozen=True)
class HostData:
    """What an inventory says about one host: its groups, and all variables with overrides applied."""

    groups: frozenset[str]
    data: Mapping[str, object]


def build_site(inventory: Mapping[str, HostData], found: Iterable[Problem] = ()) -> Site:
    """Check the data of all hosts and make the settings from it.

    + inventory: host name -> data, for every host of the inventory whether or not it takes part in this run
    + found: what the caller found wrong, to be reported with the rest

    Raises SettingsError with every problem of every host.
    """
    problems = list(found)
    hosts = []
    for name, given in inventory.items():
        problems.extend(_unknown_variables(name, given.data))
        parts: dict[str, object] = {}
        for prefix, declared in host_parts().items():
            if declared.group == "all" or declared.group in given.groups:
                parts[prefix] = _part(declared.model, name, prefix, given.data, problems)
        hosts.append(HostSettings(name, given.groups, types.MappingProxyType(parts)))
    site = Site(tuple(hosts))
    problems.extend(check_site(site))
    if problems:
        raise SettingsError(problems)
    return site


def _part(model: type[Part], host: str, prefix: str, data: Mapping[str, object], problems: list[Problem]) -> object:
    """The part, made from the variables that begin with ``prefix``.

    If a variable is refused, it is an object with the other fields and the names of the refused ones. The checks that
    look at several values can still use it; a site with such a part is never handed out.
    """
    values: dict[str, object] = {}
    refused: set[str] = set()
    for field, info in model.model_fields.items():
        variable, before = f"{prefix}_{field}", len(problems)
        if variable in data:
            accepted = _field(model, field, data[variable], host, variable, problems)
            if accepted is not _REFUSED:
                values[field] = accepted
        elif info.is_required():
            problems.append(Problem(host, variable, NOT_SET, "is missing", _allowed(info)))
        else:
            values[field] = info.default
        if len(problems) > before:
            refused.add(field)
    return types.SimpleNamespace(**values, **{REFUSED: refused}) if refused else model.model_validate(values)


_REFUSED = object()


def _field(model: type[Part], field: str, value: object, host: str, variable: str, problems: list[Problem]) -> object:
    """The accepted value, without the refused items if it is a list, or _REFUSED."""
    adapter = _adapter(model, field)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        bad_items: set[int] = set()
        for detail in error.errors():
            problems.append(_problem(model, host, variable, detail))
            if detail["loc"] and isinstance(detail["loc"][0], int):
                bad_items.add(detail["loc"][0])
        if not bad_items or not isinstance(value, (list, tuple)):
            return _REFUSED
        good = [item for index, item in enumerate(value) if index not in bad_items]
        try:
            return adapter.validate_python(good)
        except ValidationError:  # such as a list that is now too short: the cause is already reported
            return _REFUSED


@functools.cache
def _adapter(model: type[Part], field: str) -> TypeAdapter[Any]:
    info = model.model_fields[field]
    annotation: Any = info.annotation
    for rule in info.metadata:
        annotation = Annotated[annotation, rule]
    return TypeAdapter(annotation)


def _problem(model: type[Part], host: str, variable: str, detail: Any) -> Problem:
    """One line from one pydantic error. ``loc`` leads into lists and their dictionaries."""
    path = variable + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in detail["loc"])
    value = HIDDEN if variable in _SECRET_VARIABLES else repr(detail["input"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Refused):
        return Problem(host, path, value, cause.wrong, cause.allowed)
    inner = _inner_model(model.model_fields[variable.split("_", 1)[1]].annotation)
    if inner is not None and detail["type"] == "missing":
        return Problem(host, path, NOT_SET, "is missing", _allowed(inner.model_fields[detail["loc"][-1]]))
    if inner is not None and detail["type"] == "extra_forbidden":
        names = list(inner.model_fields)
        return Problem(host, path, value, _unknown(_nearest(detail["loc"][-1], names)), ", ".join(names))
    allowed = f"a dictionary with {', '.join(inner.model_fields)}" if inner is not None else "another type"
    return Problem(host, path, value, "is not a dictionary" if inner is not None else "is refused", allowed)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model of a list's items, if they are dictionaries."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Annotated, Union):
        return next(filter(None, map(_inner_model, get_args(annotation))), None)
    return None


def _allowed(info: FieldInfo) -> str:
    return next(rule.allowed for rule in info.metadata if isinstance(rule, Rule))


@functools.cache
def _known_variables() -> frozenset[str]:
    return frozenset(f"{prefix}_{field}" for prefix, part in host_parts().items() for field in part.model.model_fields)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def unknown_name(host: str, variable: str, value: str, name: str, known: Iterable[str]) -> Problem:
    """A problem of a variable: it names something unknown."""
    nearest = _nearest(name, known)
    return Problem(host, variable, value, _unknown(nearest), nearest or ", ".join(sorted(known)))


def _unknown(nearest: str | None) -> str:
    return f"is unknown; did you mean {nearest}?" if nearest else "is unknown"


def _unknown_variables(host: str, data: Mapping[str, object]) -> Iterator[Problem]:
    """Variables that no part has: misspelt ones, and ones that nothing would ever read."""
    known = _known_variables()
    parts = host_parts()
    for variable, value in data.items():
        if variable in known or variable.startswith(_FOREIGN_PREFIXES):
            continue
        prefix, _, field = variable.partition("_")
        if field and prefix in parts:
            fields = parts[prefix].model.model_fields
            near = _nearest(field, fields)
            nearest = f"{prefix}_{near}" if near else None
            allowed = ", ".join(f"{prefix}_{field}" for field in sorted(fields))
        else:
            nearest = _nearest(variable, known)
            allowed = nearest or f"variables that begin with {', '.join(f'{prefix}_' for prefix in sorted(parts))}"
        secret = nearest in _SECRET_VARIABLES or "pass" in variable
        yield Problem(host, variable, HIDDEN if secret else repr(value), _unknown(nearest), allowed)
