"""YAML as zrepl's strict decoder takes it (zrepl/yaml-config, decode.go): nodes into plain values, by type.

PyYAML only builds the tree of nodes. It is no part of the standard library, which is all that a played command can
import: where the lab is made, its folder is noted in the cluster's state.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """A part of a document.

    :param tag: ``str``, ``int``, ``bool``, ``null``, ``map``, ``seq`` ...
    :param value: text of a scalar, else the nodes in it (pairs of them for a mapping)
    :param plain: a scalar without quotes
    """

    tag: str
    value: Any
    line: int
    plain: bool = True

    @property
    def scalar(self) -> bool:
        return isinstance(self.value, str)

    @property
    def null(self) -> bool:
        return self.tag == "null"


Read = Callable[[Node], Any]


class ConfigError(Exception):
    """What `zrepl configcheck` says of a file that it refuses."""


@dataclass(frozen=True)
class Field:
    """A key of a mapping.

    :param missing: makes the value of one that is not given; None where it has to be given, and not be empty
    """

    read: Read
    missing: Callable[[], Any] | None = None


def refuse(node: Node, text: str) -> ConfigError:
    return ConfigError(f"yaml: unmarshal errors:\n  line {node.line}: {text}")


def parse(text: str, folders: Sequence[str] = ()) -> Node | None:
    """The tree of a document; None for an empty one.

    :param folders: where PyYAML and what it needs are, unless they can be imported anyway
    :raises ConfigError: it is no YAML
    """
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    import yaml

    try:
        found = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"yaml: {error}") from None

    def own(node: Any) -> Node:
        value = node.value
        if isinstance(node, yaml.MappingNode):
            value = [(own(key), own(item)) for key, item in value]
        elif isinstance(node, yaml.SequenceNode):
            value = [own(item) for item in value]
        plain = not getattr(node, "style", None)
        return Node(node.tag.rpartition(":")[2], value, node.start_mark.line + 1, plain)

    return own(found) if found is not None else None


def text(node: Node) -> str:
    """A string; any scalar is taken as it is written, null is empty."""
    if not node.scalar:
        raise refuse(node, f"cannot unmarshal !!{node.tag} into string")
    return "" if node.null else str(node.value)


def boolean(node: Node) -> bool:
    if node.scalar and (node.tag == "bool" or (node.plain and node.value in ("y", "Y", "n", "N"))):
        return node.value.lower() in ("y", "yes", "on", "true")
    if node.null:
        return False
    raise refuse(node, f"cannot unmarshal !!{node.tag} `{node.value}` into bool")


def integer(node: Node) -> int:
    if node.null:
        return 0
    if not node.scalar or node.tag != "int":
        raise refuse(node, f"cannot unmarshal !!{node.tag} into int")
    return int(node.value.replace("_", ""), 0)


def items(read: Read) -> Read:
    """A list."""

    def inner(node: Node) -> list[Any]:
        if node.null:
            return []
        if node.tag != "seq":
            raise refuse(node, f"cannot unmarshal !!{node.tag} into a list")
        return [read(item) for item in node.value]

    return inner


def pairs(read: Read) -> Read:
    """A mapping of names that are up to the writer."""

    def inner(node: Node) -> dict[str, Any]:
        return {key: read(value) for key, value in _entries(node)}

    return inner


def _entries(node: Node) -> list[tuple[str, Node]]:
    if node.null:
        return []
    if node.tag != "map":
        raise refuse(node, f"cannot unmarshal !!{node.tag} into a mapping")
    found: list[tuple[str, Node]] = []
    for key, value in node.value:
        if text(key) in [name for name, _ in found]:
            raise refuse(key, f"key {key.value!r} already set")
        found.append((text(key), value))
    return found


def struct(fields: Mapping[str, Field]) -> Read:
    """A mapping with these keys and no others."""

    def inner(node: Node) -> dict[str, Any]:
        given = dict(_entries(node))
        for name in given:
            if name not in fields:
                raise refuse(node, f"field {name} not found")
        values = {}
        for name, field in fields.items():
            if name not in given:
                if field.missing is None:
                    raise refuse(node, f"field {name} is required but not given")
                values[name] = field.missing()
                continue
            values[name] = field.read(given[name])
            if field.missing is None and not values[name] and not isinstance(values[name], bool):
                raise refuse(node, f"field {name} is required but has zero value")
        return values

    return inner


def defaults(fields: Mapping[str, Field]) -> Field:
    """A mapping that may be missing, or null, and then has its keys' own defaults."""
    read = struct(fields)

    def made() -> dict[str, Any]:
        return {name: field.missing() for name, field in fields.items() if field.missing is not None}

    return Field(lambda node: made() if node.null else read(node), made)


def one_of(kinds: Mapping[str, Read]) -> Read:
    """A mapping whose `type` says which keys it has."""

    def inner(node: Node) -> dict[str, Any]:
        named = [value for key, value in _entries(node) if key == "type"]
        kind = text(named[0]) if named else ""
        if not kind:
            raise refuse(node, "must specify type")
        if kind not in kinds:
            raise refuse(node, f'invalid type name "{kind}"')
        found = kinds[kind](node)
        if not isinstance(found, dict):
            raise AssertionError(kind)
        return found

    return inner


def hostport(node: Node) -> str:
    """An address as net.SplitHostPort splits it."""
    value = text(node)
    if not re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:\[\]]*", value):
        problem = "missing port in address" if ":" not in value else "too many colons in address"
        raise refuse(node, f"address {value}: {problem}")
    return value
