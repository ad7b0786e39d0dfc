"""systemd's view of a host: unit files, what of them is in memory, what is active, and the units made from fstab."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from f3s.fstab import entries, mount_unit
from lab.core import Host, part

FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system")
TARGETS = ("multi-user.target", "timers.target", "network.target", "network-online.target", "remote-fs.target")
FSTAB = "etc/fstab"


@dataclass
class Manager:
    """What systemd keeps in memory.

    :param loaded: unit -> (time of its file's last change in ns, text), of the units that are active or referred to
    :param active: unit -> time of its start, in the machine's seconds of the epoch: a host's files have such times,
        and what compares the two (facts.units) must not see two clocks
    :param failed: units whose last start or run failed
    :param generated: mount units made from /etc/fstab -> mount point
    :param fstab: time of the last change of /etc/fstab in ns when they were made
    :param triggered: timer -> virtual time of its last run's start
    """

    loaded: dict[str, tuple[int, str]] = field(default_factory=dict)
    active: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    generated: dict[str, str] = field(default_factory=dict)
    fstab: int = 0
    triggered: dict[str, float] = field(default_factory=dict)


Sections = dict[str, dict[str, list[str]]]


def manager(host: Host) -> Manager:
    return part(host, "systemd", Manager)


def parse(text: str) -> Sections:
    """The settings of a unit file; an empty value takes back those before it (systemd.syntax(7))."""
    found: Sections = {}
    section: dict[str, list[str]] = {}
    for line in text.splitlines():
        line = line.strip()
        if match := re.fullmatch(r"\[(.+)\]", line):
            section = found.setdefault(match[1], {})
        elif line and line[0] not in "#;":
            key, _, value = line.partition("=")
            if value.strip():
                section.setdefault(key.strip(), []).append(value.strip())
            else:
                section[key.strip()] = []
    return found


def last(sections: Sections, section: str, key: str, default: str = "") -> str:
    """The last value of a setting."""
    return (sections.get(section, {}).get(key) or [default])[-1]


def full_name(name: str) -> str:
    """A unit's name with its type."""
    return name if re.search(r"\.(service|timer|mount|target|socket)$", name) else f"{name}.service"


def file_of(root: Path, unit: str) -> Path | None:
    """A unit's file on a host, None if there is none."""
    return next((root / folder / unit for folder in FOLDERS if (root / folder / unit).is_file()), None)


def definition(root: Path, host: Host, unit: str) -> Sections | None:
    """A unit as systemd has it in memory, else as its file says; None if there is no such unit."""
    known = manager(host).loaded.get(unit)
    file = file_of(root, unit)
    if known is not None:
        return parse(known[1])
    return parse(file.read_text()) if file is not None else None


def remember(root: Path, host: Host, unit: str) -> None:
    """systemd loads a unit's file, unless it has it."""
    file = file_of(root, unit)
    if file is not None and unit not in manager(host).loaded:
        manager(host).loaded[unit] = (file.stat().st_mtime_ns, file.read_text())


def forget_unused(root: Path, host: Host) -> None:
    """systemd keeps active units and those that a running timer starts, and drops the others."""
    state = manager(host)
    kept = set(state.active)
    for unit in state.active:
        if unit.endswith(".timer"):
            kept.add(last(definition(root, host, unit) or {}, "Timer", "Unit", unit.replace(".timer", ".service")))
    state.loaded = {unit: known for unit, known in state.loaded.items() if unit in kept}


def reload(root: Path, host: Host) -> None:
    """daemon-reload: the files of all units in memory are read again, mount units are made from /etc/fstab."""
    state = manager(host)
    units = list(state.loaded)
    state.loaded.clear()
    for unit in units:
        remember(root, host, unit)
    fstab = root / FSTAB
    state.fstab = fstab.stat().st_mtime_ns
    points = [each.mountpoint for each in entries(fstab.read_text())]
    state.generated = {mount_unit(point): point for point in points if point.startswith("/")}


def is_stale(root: Path, host: Host, unit: str) -> bool:
    """NeedDaemonReload: the file that a unit in memory was made from has changed or gone."""
    state = manager(host)
    if unit in state.generated:
        return (root / FSTAB).stat().st_mtime_ns != state.fstab
    if unit not in state.loaded:
        return False
    file = file_of(root, unit)
    return file is None or file.stat().st_mtime_ns != state.loaded[unit][0]


def wants(root: Path, unit: str) -> list[Path]:
    """The links that enable a unit; where they would be, in /etc/systemd/system."""
    file = file_of(root, unit)
    install = parse(file.read_text()).get("Install", {}) if file is not None else {}
    targets = [word for value in install.get("WantedBy", []) for word in value.split()]
    return [root / FOLDERS[0] / f"{target}.wants" / unit for target in targets]


def enablement(root: Path, unit: str) -> str:
    """UnitFileState: enabled, disabled, static (no [Install]), or empty (no file)."""
    if file_of(root, unit) is None:
        return ""
    links = wants(root, unit)
    if not links:
        return "static"
    return "enabled" if any(link.is_symlink() for link in links) else "disabled"


def seconds(text: str) -> float:
    """A time span of systemd.time(7): a number of seconds, or numbers with units.

    :raises ValueError: another form
    """
    unit = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)\s*", text)
    if not parts or "".join(a + b for a, b in parts) != text.replace(" ", ""):
        raise ValueError(f"not a time span: {text!r}")
    return sum(float(number) * unit[name] for number, name in parts)
