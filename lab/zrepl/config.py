"""zrepl.yml into jobs, refusing what `zrepl configcheck` refuses (0.7.0, internal/config and internal/daemon/job)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lab.core import NotSimulatedError
from lab.zrepl import yamltree as y
from lab.zrepl.keep import Rule, grid
from lab.zrepl.yamltree import ConfigError, Field, Node

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Push:
    """A push job.

    :param filesystems: pattern (`DATASET` or `DATASET<`) -> whether what it matches is sent
    :param interval: seconds between two snapshots; None: it takes none
    """

    name: str
    address: str
    filesystems: dict[str, bool]
    encrypted: bool
    prefix: str
    interval: int | None
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
    inherit: tuple[str, ...]
    override: dict[str, str]
    placeholder: str


@dataclass(frozen=True)
class Config:
    pushes: tuple[Push, ...]
    sinks: tuple[Sink, ...]
    metrics: tuple[str, ...]


def read(text: str, folders: Sequence[str] = ()) -> Config:
    """A configuration file.

    :param folders: where PyYAML is, see `yamltree.parse`
    :raises ConfigError: zrepl refuses it
    :raises NotSimulatedError: zrepl takes it, the lab does not
    """
    node = y.parse(text, folders)
    empty: dict[str, Any] = {"jobs": [], "global": {"monitoring": []}}
    values: dict[str, Any] = y.struct(TOP)(node) if node is not None else empty
    seen: set[str] = set()
    for job in values["jobs"]:
        if job["name"].startswith("_"):
            raise ConfigError(f'job name "{job["name"]}" is reserved for internal use (starts with _)')
        if job["name"] in seen:
            raise ConfigError(f'duplicate job name "{job["name"]}"')
        seen.add(job["name"])
    jobs = [_build(job) for job in values["jobs"]]
    return Config(
        tuple(job for job in jobs if isinstance(job, Push)),
        tuple(job for job in jobs if isinstance(job, Sink)),
        tuple(each["listen"] for each in values["global"]["monitoring"]),
    )


def _build(job: dict[str, Any]) -> Push | Sink:
    try:
        component(job["name"], "invalid job name: must be usable as a dataset path component")
        return _push(job) if job["type"] == "push" else _sink(job)
    except ConfigError as error:
        raise ConfigError(f'cannot build jobs from config: cannot build job "{job["name"]}": {error}') from None


def _push(job: dict[str, Any]) -> Push:
    for pattern in job["filesystems"]:
        if "<" in pattern[:-1] and pattern.count("<") == 1:
            raise ConfigError("pattern invalid: only one '<' at end of string allowed")
        dataset_path(pattern.rstrip("<"), "pattern is not a dataset path")
    snapshotting = job["snapshotting"]
    return Push(
        job["name"],
        job["connect"]["address"],
        job["filesystems"],
        job["send"]["encrypted"],
        snapshotting.get("prefix", ""),
        snapshotting.get("interval"),
        tuple(job["pruning"]["keep_sender"]),
        tuple(job["pruning"]["keep_receiver"]),
    )


def _sink(job: dict[str, Any]) -> Sink:
    dataset_path(job["root_fs"], "root_fs is not a valid zfs filesystem path")
    properties = job["recv"]["properties"]
    for name in (*properties["inherit"], *properties["override"]):
        if not re.fullmatch(r"[0-9a-zA-Z_.:][0-9a-zA-Z_.:-]*", name):
            raise ConfigError(f'cannot build receiver config: property "{name}"')
    for address, identity in job["serve"]["clients"].items():
        _client(address, identity)
    return Sink(
        job["name"],
        job["root_fs"],
        job["serve"]["listen"],
        job["serve"]["clients"],
        tuple(properties["inherit"]),
        properties["override"],
        job["recv"]["placeholder"]["encryption"],
    )


def _client(address: str, identity: str) -> None:
    problem = f'cannot build listener factory: cannot parse client IP map: cannot not parse "{address}":"{identity}"'
    if "/" in address or "%" in address:
        raise NotSimulatedError(f"zrepl client {address}")
    if "*" in identity:
        raise ConfigError(f"{problem}: non-CIDR matches must not contain '*' placeholder")
    component(identity, f"{problem}: invalid client identity")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ConfigError(f'{problem}: invalid client address "{address}"') from None


def component(name: str, problem: str) -> None:
    """One component of a dataset's name (zfs/namecheck.go)."""
    if not re.fullmatch(r"[0-9a-zA-Z_.: -]{1,255}", name) or name in (".", ".."):
        raise ConfigError(f'{problem}: must only contain alphanumeric chars and any in "-_.: "')


def dataset_path(name: str, problem: str) -> None:
    """A dataset's name as zrepl checks it (zfs/zfs.go, NewDatasetPath)."""
    if any(c in "@#|\t<>*" for c in name):
        raise ConfigError(f"{problem}: contains forbidden characters (any of '@#|\t<>*')")
    if name.endswith("/"):
        raise ConfigError(f"{problem}: must not end with a '/'")


# -- what the keys are --


def _duration(node: Node) -> int:
    value = y.text(node)
    match = re.fullmatch(r"\s*([+-]?\d+)\s*(|s|m|h|d|w)\s*", value)
    if not match:
        raise y.refuse(node, f'cannot parse value "{value}": must match ^\\s*([\\+-]?\\d+)\\s*(|s|m|h|d|w)\\s*$')
    number, unit = int(match[1]), match[2]
    if not unit and number:
        raise y.refuse(node, f'cannot parse value "{value}": missing time unit')
    if number <= 0:
        raise y.refuse(node, f"duration must be positive, got {value}")
    return number * UNITS[unit]


def _go_duration(node: Node) -> str:
    value = y.text(node)
    if not re.fullmatch(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+|\d+", value):
        raise y.refuse(node, f"cannot unmarshal !!str `{value}` into time.Duration")
    return value


def _choice(*values: str) -> y.Read:
    def inner(node: Node) -> str:
        if (value := y.text(node)) not in values:
            raise y.refuse(node, f'invalid value "{value}", must be one of {", ".join(values)}')
        return value

    return inner


def regex(text: str) -> str:
    """A regular expression that Go takes, in a form in which Python means the same.

    :raises ConfigError: Go does not take it
    """
    if re.search(r"\(\?(=|!|<=|<!)|\\[1-9]", text):
        raise ConfigError(f"error parsing regexp: invalid or unsupported Perl syntax: `{text}`")
    try:
        re.compile(text)
    except re.error as error:
        raise ConfigError(f"error parsing regexp: {error}: `{text}`") from None
    return text


def _missing(node: Node, what: str) -> NoReturn:
    raise NotSimulatedError(f"zrepl configuration: {what}, line {node.line}")


def _unplayed(what: str) -> y.Read:
    return lambda node: _missing(node, what)


def _optional(read: y.Read, value: Any) -> Field:
    return Field(read, lambda: value)


def _rule(kind: str, fields: dict[str, Field]) -> y.Read:
    shape = y.struct({"type": Field(y.text), **fields})

    def inner(node: Node) -> dict[str, Any]:
        values = shape(node)
        if kind == "last_n" and values["count"] <= 0:
            raise ConfigError(f"cannot build rule: must specify positive number, got {values['count']}")
        return {"rule": Rule(**{"kind": kind, **{k: v for k, v in values.items() if k != "type"}})}

    return inner


def _regex(node: Node) -> str:
    return regex(y.text(node))


def _grid(node: Node) -> Any:
    try:
        return grid(y.text(node))
    except ValueError as error:
        raise y.refuse(node, str(error)) from None


_RULE = y.one_of(
    {
        "not_replicated": _rule("not_replicated", {"keep_snapshot_at_cursor": _optional(y.boolean, True)}),
        "last_n": _rule("last_n", {"count": Field(y.integer), "regex": _optional(_regex, "")}),
        "grid": _rule("grid", {"grid": Field(_grid), "regex": Field(_regex)}),
        "regex": _rule("regex", {"regex": Field(_regex), "negate": _optional(y.boolean, False)}),
    }
)


def _rules(node: Node) -> list[Rule]:
    return [each["rule"] for each in y.items(_RULE)(node)]


_TYPE = {"type": Field(y.text)}
_KEEP = Field(_rules)
_UNLIMITED = _optional(_unplayed("bandwidth_limit"), None)
_GUARANTEE = _optional(
    _choice("guarantee_resumability", "guarantee_incremental", "guarantee_nothing"), "guarantee_resumability"
)
_SEND = {
    "encrypted": _optional(y.boolean, False),
    **{
        name: _optional(y.boolean, False)
        for name in (
            "raw",
            "send_properties",
            "backup_properties",
            "large_blocks",
            "compressed",
            "embedded_data",
            "saved",
        )
    },
    "bandwidth_limit": _UNLIMITED,
}
_PERIODIC = {
    **_TYPE,
    "prefix": Field(y.text),
    "interval": Field(_duration),
    "hooks": _optional(_unplayed("hooks"), None),
    "timestamp_format": _optional(_unplayed("timestamp_format"), None),
    "timestamp_location": _optional(_unplayed("timestamp_location"), None),
}
_PUSH = {
    **_TYPE,
    "name": Field(y.text),
    "connect": Field(
        y.one_of(
            {
                "tcp": y.struct(
                    {**_TYPE, "address": Field(y.hostport), "dial_timeout": _optional(_go_duration, "10s")}
                ),
                "tls": _unplayed("tls"),
                "ssh+stdinserver": _unplayed("ssh+stdinserver"),
                "local": _unplayed("local"),
            }
        )
    ),
    "filesystems": Field(y.pairs(y.boolean)),
    "send": y.defaults(_SEND),
    "snapshotting": Field(
        y.one_of({"periodic": y.struct(_PERIODIC), "manual": y.struct(_TYPE), "cron": _unplayed("cron")})
    ),
    "pruning": Field(y.struct({"keep_sender": _KEEP, "keep_receiver": _KEEP})),
    "replication": y.defaults(
        {
            "protection": y.defaults({"initial": _GUARANTEE, "incremental": _GUARANTEE}),
            "concurrency": _optional(_unplayed("concurrency"), None),
        }
    ),
    "conflict_resolution": y.defaults(
        {"initial_replication": _optional(_choice("most_recent", "all", "fail"), "most_recent")}
    ),
}
_SINK = {
    **_TYPE,
    "name": Field(y.text),
    "root_fs": Field(y.text),
    "serve": Field(
        y.one_of(
            {
                "tcp": y.struct(
                    {
                        **_TYPE,
                        "listen": Field(y.hostport),
                        "listen_freebind": _optional(y.boolean, False),
                        "clients": Field(y.pairs(y.text)),
                    }
                ),
                "tls": _unplayed("tls"),
                "stdinserver": _unplayed("stdinserver"),
                "local": _unplayed("local"),
            }
        )
    ),
    "recv": y.defaults(
        {
            "properties": y.defaults(
                {
                    "inherit": Field(y.items(y.text), list),
                    "override": Field(y.pairs(y.text), dict),
                }
            ),
            "placeholder": y.defaults(
                {"encryption": _optional(_choice("unspecified", "off", "inherit"), "unspecified")}
            ),
            "bandwidth_limit": _UNLIMITED,
        }
    ),
}
_LEVEL = Field(_choice("debug", "info", "warn", "error"))
_FORMAT = Field(_choice("human", "logfmt", "json"))
_FACILITIES = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()
_OUTLET = y.one_of(
    {
        "stdout": y.struct(
            {
                **_TYPE,
                "level": _LEVEL,
                "format": _FORMAT,
                "time": _optional(y.boolean, True),
                "color": _optional(y.boolean, True),
            }
        ),
        "syslog": y.struct(
            {
                **_TYPE,
                "level": _LEVEL,
                "format": _FORMAT,
                "facility": _optional(_choice(*_FACILITIES), "local0"),
                "retry_interval": _optional(_go_duration, "10s"),
            }
        ),
        "tcp": _unplayed("tcp outlet"),
    }
)


def _outlets(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = y.items(_OUTLET)(node)
    kinds = [outlet["type"] for outlet in found]
    for kind in ("syslog", "stdout"):
        if kinds.count(kind) > 1:
            raise ConfigError(f"cannot build logging from config: can only define one '{kind}' outlet")
    return found


_MONITORING = y.one_of(
    {"prometheus": y.struct({**_TYPE, "listen": Field(y.hostport), "listen_freebind": _optional(y.boolean, False)})}
)
TOP = {
    "jobs": Field(
        y.items(
            y.one_of(
                {
                    "push": y.struct(_PUSH),
                    "sink": y.struct(_SINK),
                    "pull": _unplayed("pull job"),
                    "source": _unplayed("source job"),
                    "snap": _unplayed("snap job"),
                }
            )
        ),
        list,
    ),
    "global": y.defaults(
        {
            "logging": Field(_outlets, list),
            "monitoring": Field(y.items(_MONITORING), list),
            "control": _optional(_unplayed("control"), None),
            "serve": _optional(_unplayed("global serve"), None),
        }
    ),
    "include": _optional(_unplayed("include"), None),
}
