"""The rules for every kind of value, and the types that bring them into the settings."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from typing import Annotated, Any, Literal

from f3s.settings.rules import Rule, nothing_or, one_of, pattern, text, whole


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _address(value: Any) -> str:
    given = text(value)
    try:
        return str(ipaddress.IPv4Address(given))
    except ValueError:
        raise ValueError("is not an IPv4 address") from None


def _network(value: Any) -> str:
    given = text(value)
    try:
        return str(ipaddress.IPv4Network(given))
    except ValueError:
        raise ValueError("is not an IPv4 network") from None


def _path(value: Any) -> str:
    given = text(value)
    if not given.startswith("/"):
        raise ValueError("is not an absolute path")
    if given.startswith("//") or posixpath.normpath(given) != given:
        raise ValueError("is not normalised")
    if not re.fullmatch(r"[A-Za-z0-9._:@+/-]+", given):
        raise ValueError("has characters that fstab, rc.conf or a shell would take apart")
    return given


SYSTEM_DIRECTORIES = frozenset(
    "/ /bin /boot /dev /etc /home /lib /libexec /mnt /proc /rescue /root /sbin /tmp /usr /usr/local /var".split()
)


def _mountpoint(value: Any) -> str:
    path = _path(value)
    if path in SYSTEM_DIRECTORIES:
        raise ValueError("is a directory of the operating system")
    return path


def _boot_mountpoint(value: Any) -> str:
    """For f3skeys, which runs before any file system but / is mounted."""
    path = _mountpoint(value)
    if path.count("/") > 1:
        raise ValueError("lies in a directory that may be on a file system which the boot mounts later")
    return path


_RESERVED_POOLS = ("mirror", "raidz", "draid", "spare")
_COMPONENT = re.compile(r"[A-Za-z0-9_.:-]+")


def _pool_name(value: Any) -> str:
    """zpool-create(8) for the reserved names; the characters of OpenZFS' zfs_namecheck.c, without the blank."""
    given = text(value)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.:-]*", given):
        raise ValueError("has not the right form")
    if given == "log" or given.startswith(_RESERVED_POOLS):
        raise ValueError("is a name that ZFS reserves")
    return given


def _dataset(value: Any) -> str:
    """A file system or volume below a pool: dataset_namecheck in zfs_namecheck.c, without blank and ``%``."""
    given = text(value)
    if len(given) > 255:
        raise ValueError(f"has {len(given)} characters, 255 at most fit")
    pool, *rest = given.split("/")
    _pool_name(pool or " ")
    if not rest:
        raise ValueError("is a whole pool, not a dataset below one")
    for component in rest:
        if not _COMPONENT.fullmatch(component) or component in (".", ".."):
            raise ValueError(f"has a part that ZFS does not allow, {component!r}")
    return given


def _host_name(value: Any) -> str:
    given = text(value)
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if len(given) > 253 or not re.fullmatch(rf"{label}(\.{label})*", given):
        raise ValueError("is not a host name")
    return given


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
    given = text(value)
    duration_seconds(given)
    return given


_GRID_PART = re.compile(r"([1-9][0-9]*)x([^(\s]+)(\(keep=(all|[1-9][0-9]*)\))?")


def _grid(value: Any) -> str:
    """A retention grid: zrepl's internal/config/retentiongrid.go and internal/pruning/retentiongrid."""
    given = text(value)
    last = 0
    for part in given.split("|"):
        match = _GRID_PART.fullmatch(part.strip())
        if not match:
            raise ValueError(f"has a part that zrepl cannot parse, {part.strip()!r}")
        length = duration_seconds(match[2])
        if length < last:
            raise ValueError("has intervals that get shorter")
        last = length
    return given


CARP_PASSWORD_LONGEST = 19
"""CARP_KEY_LEN is 20 (sys/netinet/ip_carp.h) and ifconfig copies with strlcpy (sbin/ifconfig/ifcarp.c), which
keeps 19 characters and silently cuts off the rest."""
_CARP_PASSWORD_SHORTEST = 8
_PLACEHOLDERS = frozenset(
    "carppass carppassword changeit changeme changethis default example password passwort placeholder secret "
    "secretpass testpass testpassword todo yourpassword".split()
)


def _carp_password(value: Any) -> str | None:
    if value is None:
        return None
    given = text(value)
    if re.sub(r"[^a-z]", "", given.lower()) in _PLACEHOLDERS:
        raise ValueError("is a placeholder")
    if len(given) > CARP_PASSWORD_LONGEST:
        raise ValueError(f"has {len(given)} characters, ifconfig cuts it after {CARP_PASSWORD_LONGEST}")
    if len(given) < _CARP_PASSWORD_SHORTEST:
        raise ValueError(f"has only {len(given)} characters")
    # to network.subr a dash behind 0-9 or a-f is a range of addresses (ifalias_af_common_handler): it would call itself
    # with the same words until sh dies, and the host would boot without a network
    if not re.fullmatch(r"[A-Za-z0-9._+]+", given):
        raise ValueError("has characters that rc.conf would take apart")
    return given


_MOUNT_OPTION = re.compile(r"[a-z][a-z0-9_.-]*(=[A-Za-z0-9_.:/-]+)?")
_FIXED_OPTIONS = frozenset({"port", "sec", "_netdev", "nofail"})
"""The deploy sets these itself, see f3s/mount_options.py."""
_MISLEADING_OPTIONS = {
    "ro": "makes every server look like the read-only standby",
    "x-systemd.automount": "puts autofs there, which the monitor leaves alone as a foreign mount",
}


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
        for word, why in _MISLEADING_OPTIONS.items():
            if word in keys:
                raise ValueError(f"sets {word} in {name!r}, which {why}")
        if {"hard", "soft"} <= keys:
            raise ValueError(f"sets both hard and soft in {name!r}")
    return dict(value)


_DEVICE_RULE = pattern("a whole device by its name below /dev, such as da0", r"[a-z]+[0-9]+", 32)
_MOUNTPOINT_RULE = Rule("an absolute, normalised path outside the operating system's directories", _mountpoint)
_PATH_RULE = Rule("an absolute, normalised path of letters, digits and ._:@+-", _path)
_KEY_RULE = pattern("PURPOSE for the host's own key, or HOST:PURPOSE", r"([a-z0-9.-]+:)?[a-z][a-z0-9_]*")

Flag = Annotated[bool, Rule("True or False", _flag)]
Address = Annotated[str, Rule("an IPv4 address such as 192.168.1.130", _address)]
Network = Annotated[str, Rule("an IPv4 network such as 192.168.1.0/24, host bits zero", _network)]
Port = Annotated[int, whole(1, 65535)]
Seconds = Annotated[int, whole(1, 86400, "seconds")]
Days = Annotated[int, whole(1, 36500, "days")]
Path = Annotated[str, _PATH_RULE]
OptionalPath = Annotated[str | None, nothing_or(_PATH_RULE)]
OptionalUrl = Annotated[
    str | None,
    nothing_or(
        pattern("http:// or https://, then letters, digits and ._~:/?=&%+-", r"https?://[A-Za-z0-9._~:/?=&%+-]+")
    ),
]
Mountpoint = Annotated[str, _MOUNTPOINT_RULE]
BootMountpoint = Annotated[str, Rule("a directory directly below /, such as /keys", _boot_mountpoint)]
OptionalMountpoint = Annotated[str | None, nothing_or(_MOUNTPOINT_RULE)]
Device = Annotated[str, _DEVICE_RULE]
OptionalDevice = Annotated[str | None, nothing_or(_DEVICE_RULE)]
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
UfsLabel = Annotated[str, pattern("1 to 31 letters, digits, _ and -, no leading -", r"[A-Za-z0-9_][A-Za-z0-9_-]*", 31)]
Purpose = Annotated[str, pattern("a lower-case word of letters, digits and _", r"[a-z][a-z0-9_]*", 32)]
Key = Annotated[str, _KEY_RULE]
SnapshotName = Annotated[
    str, pattern("letters, digits and _.:-, beginning with a letter", r"[A-Za-z][A-Za-z0-9_.:-]*", 64)
]
Duration = Annotated[str, Rule("a positive whole number and one of s, m, h, d, w, such as 10m", _duration)]
Grid = Annotated[str, Rule("NxDURATION[(keep=all|N)] | ..., durations not decreasing, such as 24x1h | 14x1d", _grid)]
# zrepl takes names that begin with _ for its own jobs (internal/config/config.go, IsInternalJobName)
JobName = Annotated[str, pattern("letters, digits, _ and -, beginning with a letter", r"[A-Za-z][A-Za-z0-9_-]*", 64)]
# IFNAMSIZ is 16 with the closing NUL (sys/net/if.h)
Interface = Annotated[str, pattern("an interface name such as re0, 15 characters at most", r"[a-z][a-z0-9_.-]*", 15)]
CarpPassword = Annotated[
    str | None,
    Rule(
        f"{_CARP_PASSWORD_SHORTEST} to {CARP_PASSWORD_LONGEST} letters, digits and ._+, "
        "or None for one that certificates.py makes",
        _carp_password,
    ),
]
FileName = Annotated[
    str,
    pattern("one file name of letters, digits and ._-, no leading dash or dot", r"[A-Za-z0-9_][A-Za-z0-9._-]*"),
]
Mode = Annotated[str, pattern("four octal digits in quotes, such as '0755'", r"[0-7]{4}")]
Directory = Annotated[
    str,
    pattern(
        "a folder, relative to the project or absolute, of letters, digits and ._/-",
        r"[A-Za-z0-9_./][A-Za-z0-9_./-]*",
    ),
]
Label = Annotated[str, pattern("letters, digits, _ and -", r"[A-Za-z0-9_][A-Za-z0-9_-]*", 64)]
Serial = Annotated[str | None, nothing_or(pattern("the text that diskinfo shows", r"[ -~]+", 255))]
Encryption = Annotated[
    Literal["aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"],
    one_of("aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"),
]
MountPresets = Annotated[
    dict[str, str],
    Rule(
        "a dictionary NAME: 'option,option=value,...', without port, sec, _netdev, nofail, ro and x-systemd.automount",
        _mount_presets,
    ),
]
