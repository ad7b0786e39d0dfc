"""vm-bhyve as its commands report it: virtual machines and their states."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from f3s.parsing import UnknownOutput, number, sections

# vm-bhyve lib/vm-core (core::list) and lib/vm-run (vm::running_check), versions 1.0 to 1.8
_STATE = re.compile(r"(?P<state>Stopped|Suspended|Running|Bootloader|Locked)(?: \((?P<detail>[^()]+)\))?")
# How vm ends, whatever it is asked, where vmm(4) did not initialise: 1.8-devel (observed), and before (lib/vm-util)
_UNABLE = ("virtualization is not supported or is disabled", "kernel vmm not initialised")
_AUTOSTART = re.compile(r"No|Yes \[(?P<order>\d+)\]")
_GAP = re.compile(r"\s{2,}")


@dataclass(frozen=True)
class Vm:
    """A virtual machine. state: as `vm list` names it; detail: process id, or the host of a lock; order: its
    place in `vm_list`, from 1, None when it does not start by itself."""

    name: str
    state: str
    detail: str | None
    order: int | None

    @property
    def stopped(self) -> bool:
        """No process works on its disks. Locked is not stopped: bhyve has ended, its clean-up has not."""
        return self.state in ("Stopped", "Suspended")

    @property
    def running(self) -> bool:
        return self.state in ("Running", "Bootloader")


@dataclass(frozen=True)
class VmHost:
    """What is known of vm-bhyve on a host.

    vms: None where `vm list` failed, with its message in problem; devices: names in /dev/vmm, which are virtual
    machines of the kernel, whoever started them; able: the machine can run virtual machines - where it cannot, none
    does.
    """

    installed: bool
    vms: tuple[Vm, ...] | None
    problem: str
    devices: frozenset[str]
    able: bool = True


def parse_vm_list(lines: Iterable[str]) -> tuple[Vm, ...]:
    """Read `vm list` by its heading, since columns come and go between versions.

    Cells are counted from the right: column(1) leaves an empty one out (a machine without `cpu`), and only those on
    the left can be empty.
    Raises UnknownOutput on a heading without these columns and on a state that vm-bhyve is not known to have.
    """
    rows = [line.strip() for line in lines if line.strip()]
    heading = _GAP.split(rows[0]) if rows else []
    autostart = "AUTO" if "AUTO" in heading else "AUTOSTART"
    if heading[:1] != ["NAME"] or not {autostart, "STATE"} <= set(heading):
        raise UnknownOutput(f"vm list begins without its heading: {rows[:1]!r}")
    places = [heading.index(column) - len(heading) for column in (autostart, "STATE")]
    found: list[Vm] = []
    for row in rows[1:]:
        cells = _GAP.split(row)
        start, state = (cells[place] if len(cells) >= -place else "" for place in places)
        known, order = _STATE.fullmatch(state), _AUTOSTART.fullmatch(start)
        if not known or not order:
            raise UnknownOutput(f"unexpected line from vm list: {row!r}")
        place = int(order["order"]) if order["order"] else None
        found.append(Vm(row.split()[0], known["state"], known["detail"], place))
    return tuple(found)


def parse_vm_host(lines: Iterable[str]) -> VmHost:
    """Read the sections installed (yes or no), devices (one a line), list, problem (stderr of `vm list`) and rc."""
    parts = sections(lines, "installed", "devices", "list", "problem", "rc")
    if parts["installed"] not in (["yes"], ["no"]) or len(parts["rc"]) != 1:
        raise UnknownOutput("the sections installed and rc hold one word each")
    installed = parts["installed"] == ["yes"]
    devices = frozenset(line for line in parts["devices"] if line)
    if not installed:
        return VmHost(False, (), "", devices)
    if number(parts["rc"][0], "the exit status of vm list"):
        problem = " ".join(line for line in parts["problem"] if line)
        if not devices and any(wording in problem for wording in _UNABLE):
            return VmHost(True, (), problem, devices, able=False)
        return VmHost(True, None, problem or "vm list failed without a message", devices)
    return VmHost(True, parse_vm_list(parts["list"]), "", devices)
