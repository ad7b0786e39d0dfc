"""The jobs of a zrepl.yml.

Only what the deploy writes is known; any other key or value is not simulated, and says so. Whether zrepl takes a
configuration is for the real `zrepl configcheck` to say (tests/f3s/test_zrepl.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from lab.core import NotSimulatedError
from lab.zrepl.keep import UNITS, Rule, grid

LOGGING = [
    {"type": "stdout", "level": "error", "format": "human"},
    {"type": "syslog", "level": "info", "format": "human"},
]
JOB_TYPES = ("local", "pull", "push", "sink", "snap", "source")
NAME = r"[A-Za-z][A-Za-z0-9_-]*"
DATASET = r"[A-Za-z][A-Za-z0-9_.:/-]*[A-Za-z0-9_.:-]"
ADDRESS = r"[0-9.]+:[0-9]+"


class ConfigError(Exception):
    """What `zrepl configcheck` says of a file that it refuses."""


@dataclass(frozen=True)
class Push:
    """A push job.

    :param filesystems: datasets of which everything is sent, with all below them
    :param interval: seconds between two snapshots
    """

    name: str
    address: str
    filesystems: tuple[str, ...]
    prefix: str
    interval: int
    keep_sender: tuple[Rule, ...]
    keep_receiver: tuple[Rule, ...]


@dataclass(frozen=True)
class Sink:
    """A sink job.

    :param clients: address -> identity
    :param override: properties of `zfs recv -o`
    """

    name: str
    root_fs: str
    listen: str
    clients: dict[str, str]
    override: dict[str, str]


@dataclass(frozen=True)
class Config:
    """:param metrics: address of the metrics listener"""

    pushes: tuple[Push, ...]
    sinks: tuple[Sink, ...]
    metrics: str


def read(text: str) -> Config:
    """A configuration file.

    :raises ConfigError: zrepl refuses it
    """
    try:
        found = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"yaml: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("jobs"), list):
        raise _unknown("a file without a list of jobs", found)
    pushes: list[Push] = []
    sinks: list[Sink] = []
    for job in found["jobs"]:
        match job:
            case {"type": "push"}:
                pushes.append(_push(job))
            case {"type": "sink"}:
                sinks.append(_sink(job))
            case {"type": str(kind)} if kind not in JOB_TYPES:
                raise ConfigError(f'yaml: unmarshal errors: invalid type name "{kind}"')
            case _:
                raise _unknown("job", job)
    names = [push.name for push in pushes] + [sink.name for sink in sinks]
    if len(set(names)) != len(names):
        raise ConfigError(f"duplicate job name among {', '.join(names)}")
    settings = _section(_section(found, "the file", "global", "jobs")["global"], "global", "logging", "monitoring")
    if settings["logging"] != LOGGING or len(settings["monitoring"]) != 1:
        raise _unknown("global", settings)
    monitoring = _typed(settings["monitoring"][0], "monitoring", "prometheus", "listen")
    return Config(tuple(pushes), tuple(sinks), _text(monitoring["listen"], "monitoring", ADDRESS))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, as zrepl does; PyYAML by itself takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is given twice: {keys}")
        return super().construct_mapping(node, deep)


def _unknown(where: str, found: object) -> NotSimulatedError:
    return NotSimulatedError(f"zrepl configuration: {where}: {found!r}")


def _section(found: Any, where: str, *names: str) -> dict[str, Any]:
    """A mapping with exactly these keys."""
    if not isinstance(found, dict) or found.keys() != set(names):
        raise _unknown(where, found)
    return found


def _typed(found: Any, where: str, kind: str, *names: str) -> dict[str, Any]:
    """A mapping of that type with exactly these keys besides."""
    section = _section(found, where, "type", *names)
    if section["type"] != kind:
        raise _unknown(where, found)
    return section


def _text(found: Any, where: str, pattern: str) -> str:
    if not isinstance(found, str) or not re.fullmatch(pattern, found):
        raise _unknown(where, found)
    return found


def _push(found: Any) -> Push:
    job = _typed(found, "push", "push", "name", "connect", "filesystems", "send", "snapshotting", "pruning")
    name = _text(job["name"], "name", NAME)
    connect = _typed(job["connect"], f"{name}, connect", "tcp", "address")
    snapshots = _typed(job["snapshotting"], f"{name}, snapshotting", "periodic", "prefix", "interval")
    pruning = _section(job["pruning"], f"{name}, pruning", "keep_sender", "keep_receiver")
    if job["send"] != {"encrypted": True}:
        raise _unknown(f"{name}, send", job["send"])
    if not isinstance(job["filesystems"], dict) or set(job["filesystems"].values()) != {True}:
        raise _unknown(f"{name}, filesystems", job["filesystems"])
    return Push(
        name,
        _text(connect["address"], f"{name}, connect", ADDRESS),
        tuple(_text(each, f"{name}, filesystems", f"{DATASET}<").rstrip("<") for each in job["filesystems"]),
        _text(snapshots["prefix"], f"{name}, prefix", NAME),
        _seconds(snapshots["interval"], f"{name}, interval"),
        _rules(pruning["keep_sender"], f"{name}, keep_sender"),
        _rules(pruning["keep_receiver"], f"{name}, keep_receiver"),
    )


def _seconds(found: Any, where: str) -> int:
    text = _text(found, where, f"[1-9][0-9]*[{''.join(UNITS)}]")
    return int(text[:-1]) * UNITS[text[-1]]


def _rules(found: Any, where: str) -> tuple[Rule, ...]:
    if not isinstance(found, list) or not found:
        raise _unknown(where, found)
    return tuple(_rule(each, where) for each in found)


def _rule(found: Any, where: str) -> Rule:
    match found:
        case {"type": "not_replicated", **rest} if not rest:
            return Rule("not_replicated")
        case {"type": "last_n", "count": int(count), "regex": regex, **rest} if not rest and count > 0:
            return Rule("last_n", _regex(regex, where), count=count)
        case {"type": "grid", "grid": str(intervals), "regex": regex, **rest} if not rest:
            try:
                return Rule("grid", _regex(regex, where), grid=grid(intervals))
            except ValueError as error:
                raise ConfigError(str(error)) from None
        case {"type": "regex", "negate": True, "regex": regex, **rest} if not rest:
            return Rule("regex", _regex(regex, where), negate=True)
    raise _unknown(where, found)


def _regex(found: Any, where: str) -> str:
    """A regular expression that means the same in Go and in Python."""
    text = _text(found, where, r"\^.+\$")
    if "(?" in text or "\\" in text.replace("\\-", "").replace("\\.", ""):
        raise _unknown(where, found)
    try:
        re.compile(text)
    except re.error:
        raise _unknown(where, found) from None
    return text


def _sink(found: Any) -> Sink:
    job = _typed(found, "sink", "sink", "name", "root_fs", "serve", "recv")
    name = _text(job["name"], "name", NAME)
    serve = _typed(job["serve"], f"{name}, serve", "tcp", "listen", "listen_freebind", "clients")
    recv = _section(job["recv"], f"{name}, recv", "properties", "placeholder")
    override = _section(recv["properties"], f"{name}, properties", "override")["override"]
    if serve["listen_freebind"] is not True or recv["placeholder"] != {"encryption": "off"}:
        raise _unknown(name, found)
    if override != {"readonly": "on"} or not isinstance(serve["clients"], dict) or not serve["clients"]:
        raise _unknown(name, found)
    return Sink(
        name,
        _text(job["root_fs"], f"{name}, root_fs", DATASET),
        _text(serve["listen"], f"{name}, listen", ADDRESS),
        {_text(of, name, "[0-9.]+"): _text(identity, name, NAME) for of, identity in serve["clients"].items()},
        override,
    )
