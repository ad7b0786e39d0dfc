"""The jobs of a zrepl.yml.

Only what the deploy and a well-known how-to write is known; any other key or value is not simulated, and says so.
Whether zrepl takes a configuration is for the real `zrepl configcheck` to say (tests/f3s/test_zrepl.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from f3s.parsing import UnknownOutput
from f3s.pruning import Rules, destroyed
from f3s.settings.values import duration_seconds
from lab.core import NotSimulatedError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
ADDRESS = re.compile(r"[0-9.]+:[0-9]+")
# what means the same in Go and in Python
REGEX = re.compile(r"\^([^(\\]|\((?!\?)|\\[-.])+\$")
EVERYTHING = {"type": "regex", "regex": ".*"}
RULES = [
    (
        {"type": "not_replicated"},
        EVERYTHING,
        {"type": "last_n", "count": range(1, 1 << 31)},
        {"type": "last_n", "count": range(1, 1 << 31), "regex": REGEX},
        {"type": "grid", "grid": re.compile(".+"), "regex": REGEX},
        {"type": "regex", "negate": True, "regex": REGEX},
    )
]
PUSH = {
    "type": "push",
    "name": NAME,
    "connect": {"type": "tcp", "address": ADDRESS},
    "filesystems": {re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*[A-Za-z0-9_.:-]<?"): True},
    "send": {"encrypted": True},
    "snapshotting": {"type": "periodic", "prefix": NAME, "interval": re.compile("[1-9][0-9]*[smhdw]")},
    "pruning": {"keep_sender": RULES, "keep_receiver": RULES},
}
SERVE = {"type": "tcp", "listen": ADDRESS, "clients": {re.compile("[0-9.]+"): NAME}}
ROOT = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*[A-Za-z0-9_.:-]")
BY_HAND: dict[str, Any] = {"type": "sink", "name": NAME, "root_fs": ROOT, "serve": SERVE}
SINK = {
    **BY_HAND,
    "serve": {**SERVE, "listen_freebind": True},
    "recv": {"properties": {"override": {"readonly": "on"}}, "placeholder": {"encryption": "off"}},
}
WITHIN = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*<?")
WAITS = {"name": NAME, "snapshotting": {"type": "manual"}}
IDLE = (
    {**WAITS, "type": "snap", "filesystems": {WITHIN: (True, False)}, "pruning": {"keep": [EVERYTHING]}},
    {**WAITS, "type": "push", "filesystems": {WITHIN: True}, "send": {"encrypted": True}}
    | {"connect": {"type": "local", "listener_name": NAME, "client_identity": NAME}}
    | {"pruning": {"keep_sender": [EVERYTHING], "keep_receiver": [EVERYTHING]}},
    {**BY_HAND, "serve": {"type": "local", "listener_name": NAME}},
    {"type": "pull", "name": NAME, "root_fs": ROOT, "interval": "manual"}
    | {"connect": PUSH["connect"], "pruning": {"keep_sender": [EVERYTHING], "keep_receiver": [EVERYTHING]}},
)
"""Jobs that do nothing until somebody wakes them, and sinks for them."""
HUMAN = {"level": "info", "format": "human"}
LOGGING = (
    [{**HUMAN, "type": "stdout", "level": "error"}, {**HUMAN, "type": "syslog"}],
    [{**HUMAN, "type": "stdout"}],
)
MONITORING = [{"type": "prometheus", "listen": ADDRESS}]
INHERITS = {"placeholder": {"encryption": "inherit"}}
JOBS = [(PUSH, SINK, BY_HAND, {**BY_HAND, "recv": INHERITS}, *IDLE)]
FILE = (
    {"global": {"logging": LOGGING, "monitoring": MONITORING}, "jobs": JOBS},
    {"global": {"logging": LOGGING[1]}, "jobs": JOBS},
)
"""What is known. A list has one or more items of its one form, a tuple has the forms to choose from, and a mapping with
an expression for its key has one or more of such keys."""


class ConfigError(Exception):
    """What `zrepl configcheck` says of a file that it refuses."""


@dataclass(frozen=True)
class Push:
    """A push job.

    :param filesystems: datasets that are sent, with all below them where a `<` is at the end
    :param interval: seconds between two snapshots
    """

    name: str
    address: str
    filesystems: tuple[str, ...]
    prefix: str
    interval: int
    keep_sender: Rules
    keep_receiver: Rules


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
    """
    :param metrics: address of the metrics listener; empty where there is none
    :param idle: the jobs of IDLE, name -> type
    """

    pushes: tuple[Push, ...]
    sinks: tuple[Sink, ...]
    metrics: str
    idle: dict[str, str]


def read(text: str) -> Config:
    """A configuration file.

    :raises ConfigError: zrepl refuses it
    :raises NotSimulatedError: the lab does not know what is in it
    """
    try:
        found = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"yaml: {error}") from None
    if not _fits(found, FILE) or len(found["global"].get("monitoring", MONITORING)) != 1:
        raise NotSimulatedError(f"zrepl configuration: {found!r}")
    if len({job["name"] for job in found["jobs"]}) != len(found["jobs"]):
        raise NotSimulatedError("zrepl with two jobs of one name")
    idle = {job["name"]: job["type"] for job in found["jobs"] if any(_fits(job, form) for form in IDLE)}
    busy = [job for job in found["jobs"] if job["name"] not in idle]
    return Config(
        tuple(_push(job) for job in busy if job["type"] == "push"),
        tuple(_sink(job) for job in busy if job["type"] == "sink"),
        found["global"]["monitoring"][0]["listen"] if "monitoring" in found["global"] else "",
        idle,
    )


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, as zrepl does; PyYAML by itself takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is given twice: {keys}")
        return super().construct_mapping(node, deep)


def _fits(found: Any, form: Any) -> bool:
    if isinstance(form, re.Pattern):
        return isinstance(found, str) and form.fullmatch(found) is not None
    if isinstance(form, tuple):
        return any(_fits(found, each) for each in form)
    if isinstance(form, range):
        return type(found) is int and found in form
    if type(found) is not type(form):
        return False
    if isinstance(form, list) and len(form) == 1:
        return bool(found) and all(_fits(each, form[0]) for each in found)
    if isinstance(form, dict):
        (key, *_) = form
        if isinstance(key, re.Pattern):
            return bool(found) and all(_fits(name, key) and _fits(value, form[key]) for name, value in found.items())
        return found.keys() == form.keys() and all(_fits(found[name], form[name]) for name in form)
    return bool(found == form)


def _push(job: Any) -> Push:
    for rules in job["pruning"].values():
        try:
            destroyed(rules, ())
        except UnknownOutput as error:
            raise ConfigError(str(error)) from None
    return Push(
        job["name"],
        job["connect"]["address"],
        tuple(job["filesystems"]),
        job["snapshotting"]["prefix"],
        duration_seconds(job["snapshotting"]["interval"]),
        **job["pruning"],
    )


def _sink(job: Any) -> Sink:
    serve = job["serve"]
    override = job.get("recv", {}).get("properties", {}).get("override", {})
    return Sink(job["name"], job["root_fs"], serve["listen"], serve["clients"], override)
