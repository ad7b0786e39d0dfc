"""What a single value may be: one rule for each kind of value, with the words for its refusal.

A rule is put into a type annotation; pydantic calls it before its own (strict) check of the type, so that
each refusal carries this project's text.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

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


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text (a quoted string)")
    if not value:
        raise ValueError("is empty")
    return value


def _pattern(allowed: str, pattern: str, longest: int = 255) -> Rule:
    """Text that a regular expression matches whole, of at most ``longest`` characters."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        text = _text(value)
        if len(text) > longest:
            raise ValueError(f"has {len(text)} characters, {longest} at most fit")
        if not compiled.fullmatch(text):
            raise ValueError("has not the right form")
        return text

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


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


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


def _address(value: Any) -> str:
    text = _text(value)
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("is not an IPv4 address") from None


def _network(value: Any) -> str:
    text = _text(value)
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError:
        raise ValueError("is not an IPv4 network") from None


def _path(value: Any) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise ValueError("is not an absolute path")
    if text.startswith("//") or posixpath.normpath(text) != text:
        raise ValueError("is not normalised")
    if not re.fullmatch(r"[A-Za-z0-9._:@+/-]+", text):
        raise ValueError("has characters that fstab, rc.conf or a shell would take apart")
    return text


SYSTEM_DIRECTORIES = frozenset(
    "/ /bin /boot /dev /etc /home /lib /libexec /mnt /proc /rescue /root /sbin /tmp /usr /usr/local /var".split()
)


def _mountpoint(value: Any) -> str:
    path = _path(value)
    if path in SYSTEM_DIRECTORIES:
        raise ValueError("is a directory of the operating system")
    return path


_RESERVED_POOLS = ("mirror", "raidz", "draid", "spare")
_COMPONENT = re.compile(r"[A-Za-z0-9_.:-]+")


def _pool_name(value: Any) -> str:
    """zpool-create(8) for the reserved names; the characters of OpenZFS' zfs_namecheck.c, less the blank."""
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.:-]*", text):
        raise ValueError("has not the right form")
    if text == "log" or text.startswith(_RESERVED_POOLS):
        raise ValueError("is a name that ZFS reserves")
    return text


def _dataset(value: Any) -> str:
    """A file system or volume below a pool: dataset_namecheck in zfs_namecheck.c, less blank and ``%``."""
    text = _text(value)
    if len(text) > 255:
        raise ValueError(f"has {len(text)} characters, 255 at most fit")
    pool, *rest = text.split("/")
    _pool_name(pool or " ")
    if not rest:
        raise ValueError("is a whole pool, not a dataset below one")
    for component in rest:
        if not _COMPONENT.fullmatch(component) or component in (".", ".."):
            raise ValueError(f"has a part that ZFS does not allow, {component!r}")
    return text


def _host_name(value: Any) -> str:
    text = _text(value)
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if len(text) > 253 or not re.fullmatch(rf"{label}(\.{label})*", text):
        raise ValueError("is not a host name")
    return text


ZREPL_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([1-9][0-9]*)([smhdw])")
_LONGEST_SECONDS = (2**63 - 1) // 10**9
"""zrepl keeps nanoseconds in a signed 64 bit number (Go's time.Duration) and does not look for an overflow."""


def duration_seconds(text: str) -> int:
    """The seconds of a zrepl duration such as ``10m``.

    The grammar is the canonical half of zrepl's (internal/config/config_duration.go at v0.7.0, which also
    takes blanks, a plus sign and leading zeros). Raises ValueError for anything else, for 0, and for what
    overflows there.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("is not a duration that zrepl can parse")
    seconds = int(match[1]) * ZREPL_UNITS[match[2]]
    if seconds > _LONGEST_SECONDS:
        raise ValueError("is a longer duration than zrepl can hold")
    return seconds


def _duration(value: Any) -> str:
    text = _text(value)
    duration_seconds(text)
    return text


_GRID_PART = re.compile(r"([1-9][0-9]*)x([^(\s]+)(\(keep=(all|[1-9][0-9]*)\))?")


def _grid(value: Any) -> str:
    """A retention grid: zrepl's internal/config/retentiongrid.go and internal/pruning/retentiongrid."""
    text = _text(value)
    last = 0
    for part in text.split("|"):
        match = _GRID_PART.fullmatch(part.strip())
        if not match:
            raise ValueError(f"has a part that zrepl cannot parse, {part.strip()!r}")
        length = duration_seconds(match[2])
        if length < last:
            raise ValueError("has intervals that get shorter")
        last = length
    return text


CARP_PASSWORD_LONGEST = 19
"""CARP_KEY_LEN is 20 (sys/netinet/ip_carp.h) and ifconfig copies with strlcpy (sbin/ifconfig/ifcarp.c), which
keeps 19 characters and cuts the rest off without a word."""
_CARP_PASSWORD_SHORTEST = 8
_PLACEHOLDERS = frozenset(
    "carppass carppassword changeit changeme changethis default example password passwort placeholder secret "
    "secretpass testpass testpassword todo yourpassword".split()
)


def _carp_password(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if re.sub(r"[^a-z]", "", text.lower()) in _PLACEHOLDERS:
        raise ValueError("is a placeholder")
    if len(text) > CARP_PASSWORD_LONGEST:
        raise ValueError(f"has {len(text)} characters, ifconfig cuts it after {CARP_PASSWORD_LONGEST}")
    if len(text) < _CARP_PASSWORD_SHORTEST:
        raise ValueError(f"has only {len(text)} characters")
    if not re.fullmatch(r"[A-Za-z0-9._+][A-Za-z0-9._+-]*", text):
        raise ValueError("has characters that rc.conf would take apart, or a leading dash")
    return text


_MOUNT_OPTION = re.compile(r"[a-z][a-z0-9_.-]*(=[A-Za-z0-9_.:/-]+)?")
_FIXED_OPTIONS = frozenset({"port", "_netdev", "nofail"})
"""The deploy sets these itself: the port is stunnel's, and a missing server must not stop a boot."""


def _mount_presets(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise ValueError("is not a dictionary with one preset or more")
    for name, options in value.items():
        if not isinstance(name, str) or not isinstance(options, str):
            raise ValueError("holds something that is not text")
        words = options.split(",")
        keys = {word.split("=", 1)[0] for word in words}
        for word in words:
            if word not in _FIXED_OPTIONS and not _MOUNT_OPTION.fullmatch(word):
                raise ValueError(f"has a word in {name!r} that is no mount option, {word!r}")
        if fixed := sorted(keys & _FIXED_OPTIONS):
            raise ValueError(f"sets {fixed[0]} in {name!r}, which the deploy does itself")
        if {"hard", "soft"} <= keys:
            raise ValueError(f"sets both hard and soft in {name!r}")
    return dict(value)


def _nothing_or(rule: Rule) -> Rule:
    return Rule(f"{rule.allowed}, or None", lambda value: None if value is None else rule.check(value))


_DEVICE_RULE = _pattern("a whole device by its name below /dev, such as da0", r"[a-z]+[0-9]+", 32)
_MOUNTPOINT_RULE = Rule("an absolute, normalised path outside the operating system's directories", _mountpoint)
_PATH_RULE = Rule("an absolute, normalised path of letters, digits and ._:@+-", _path)
_KEY_RULE = _pattern("PURPOSE for the host's own key, or HOST:PURPOSE", r"([a-z0-9.-]+:)?[a-z][a-z0-9_]*")

Flag = Annotated[bool, Rule("True or False", _flag)]
Address = Annotated[str, Rule("an IPv4 address such as 192.168.1.130", _address)]
Network = Annotated[str, Rule("an IPv4 network such as 192.168.1.0/24, host bits zero", _network)]
Port = Annotated[int, whole(1, 65535)]
Seconds = Annotated[int, whole(1, 86400, "seconds")]
Days = Annotated[int, whole(1, 36500, "days")]
AbsolutePath = Annotated[str, _PATH_RULE]
OptionalPath = Annotated[str | None, _nothing_or(_PATH_RULE)]
Mountpoint = Annotated[str, _MOUNTPOINT_RULE]
OptionalMountpoint = Annotated[str | None, _nothing_or(_MOUNTPOINT_RULE)]
Device = Annotated[str, _DEVICE_RULE]
OptionalDevice = Annotated[str | None, _nothing_or(_DEVICE_RULE)]
HOST_NAME_RULE = Rule("a host name in lower case, such as f0.lan.example.org", _host_name)
HostName = Annotated[str, HOST_NAME_RULE]
Dataset = Annotated[str, Rule("POOL/NAME[/NAME...] of letters, digits and _.:-, 255 characters at most", _dataset)]
PoolName = Annotated[
    str,
    Rule(
        "a letter, then letters, digits and _.:-; not log, mirror..., raidz..., draid... or spare...",
        _pool_name,
    ),
]
# newfs(8) refuses a label of MAXVOLLEN (32) characters or more, and any other character (sbin/newfs/newfs.c)
UfsLabel = Annotated[str, _pattern("1 to 31 letters, digits, _ and -, no leading -", r"[A-Za-z0-9_][A-Za-z0-9_-]*", 31)]
Purpose = Annotated[str, _pattern("a lower-case word of letters, digits and _", r"[a-z][a-z0-9_]*", 32)]
Key = Annotated[str, _KEY_RULE]
SnapshotName = Annotated[
    str, _pattern("letters, digits and _.:-, beginning with a letter", r"[A-Za-z][A-Za-z0-9_.:-]*", 64)
]
Duration = Annotated[str, Rule("a positive whole number and one of s, m, h, d, w, such as 10m", _duration)]
Grid = Annotated[str, Rule("NxDURATION[(keep=all|N)] | ..., durations not decreasing, such as 24x1h | 14x1d", _grid)]
# zrepl takes names that begin with _ for its own jobs (internal/config/config.go, IsInternalJobName)
JobName = Annotated[str, _pattern("letters, digits, _ and -, beginning with a letter", r"[A-Za-z][A-Za-z0-9_-]*", 64)]
# IFNAMSIZ is 16 with the closing NUL (sys/net/if.h)
Interface = Annotated[
    str, _pattern("an interface name such as re0, 15 characters at most", r"[a-z][a-z0-9_.]*[0-9]", 15)
]
CarpPassword = Annotated[
    str | None,
    Rule(
        f"{_CARP_PASSWORD_SHORTEST} to {CARP_PASSWORD_LONGEST} letters, digits and ._+-, "
        "or None for one that f3s.pki makes",
        _carp_password,
    ),
]
FileName = Annotated[
    str,
    _pattern("one file name of letters, digits and ._-, no leading dash or dot", r"[A-Za-z0-9_][A-Za-z0-9._-]*"),
]
Mode = Annotated[str, _pattern("four octal digits in quotes, such as '0755'", r"[0-7]{4}")]
Directory = Annotated[
    str,
    _pattern(
        "a folder, relative to the project or absolute, of letters, digits and ._/-",
        r"[A-Za-z0-9_./][\w./-]*",
    ),
]
Label = Annotated[str, _pattern("letters, digits, _ and -", r"[A-Za-z0-9_][A-Za-z0-9_-]*", 64)]
Serial = Annotated[str | None, _nothing_or(_pattern("the text that diskinfo shows", r"[ -~]+", 255))]
Encryption = Annotated[
    Literal["aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"],
    one_of("aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"),
]
MountPresets = Annotated[
    dict[str, str],
    Rule("a dictionary NAME: 'option,option=value,...', without port, _netdev and nofail", _mount_presets),
]
