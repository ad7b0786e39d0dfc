"""The shipped inventory and group data as the settings get them, to be changed by a test."""

from __future__ import annotations

import copy
import functools
import runpy
from pathlib import Path
from typing import Any

import pytest

from f3s.settings import HostData, SettingsError, build_site

ROOT = Path(__file__).resolve().parents[2]
F0, F1, F2, R0, R1, R2 = (f"{name}.lan.buetow.org" for name in ("f0", "f1", "f2", "r0", "r1", "r2"))
FREEBSD = (F0, F1, F2)
STORAGE = (F0, F1)
CLIENTS = (R0, R1, R2)
EVERY = FREEBSD + CLIENTS

GROUPS = {
    F0: ("freebsd", "storage_primary", "storage"),
    F1: ("freebsd", "storage_standby", "storage"),
    F2: ("freebsd",),
} | dict.fromkeys(CLIENTS, ("clients",))
PER_HOST: dict[str, dict[str, Any]] = {
    F0: {"lan_address": "192.168.1.130", "wireguard_address": "192.168.2.130"},
    F1: {"lan_address": "192.168.1.131", "wireguard_address": "192.168.2.131"},
    F2: {"lan_address": "192.168.1.132", "wireguard_address": "192.168.2.132"},
    R0: {"lan_address": "192.168.1.120"},
    R1: {"lan_address": "192.168.1.121"},
    R2: {"lan_address": "192.168.1.122"},
}

Inventory = dict[str, tuple[set[str], dict[str, Any]]]


@functools.cache
def group_data(group: str) -> dict[str, Any]:
    """What is shipped for a group; not to be changed."""
    file = ROOT / "group_data" / f"{group}.py"
    values = runpy.run_path(str(file)) if file.exists() else {}
    return {name: value for name, value in values.items() if not name.startswith("_")}


def good() -> Inventory:
    """Host name -> groups and data, as pyinfra would merge them."""
    inventory: Inventory = {}
    for host, groups in GROUPS.items():
        data: dict[str, Any] = {}
        for group in ("all", *groups):
            data |= group_data(group)
        inventory[host] = set(groups), copy.deepcopy(data | PER_HOST[host])
    return inventory


def change(inventory: Inventory, hosts: tuple[str, ...], **variables: Any) -> Inventory:
    for host in hosts:
        inventory[host][1].update(variables)
    return inventory


def with_backup(inventory: Inventory, *, first: bool) -> Inventory:
    """What is served is sent to f2, too, by a job before or after all others."""
    change(inventory, (F2,), pool_disk="ada1")
    backup = {"name": "f0_to_f2_nfsdata", "source": F0, "target": F2, "dataset": "zdata/enc/nfsdata", "interval": "1h"}
    for host in FREEBSD:
        jobs = inventory[host][1]["zrepl_jobs"]
        jobs.insert(0 if first else len(jobs), dict(backup))
    return inventory


TANK = {"pool_name": "tank", "enc_dataset": "tank/enc", "zrepl_sink_root": "tank/sink"}
"""A pool of another name on one host."""


def refusals(inventory: Inventory) -> list[str]:
    """The lines with which the inventory is refused."""
    with pytest.raises(SettingsError) as caught:
        build(inventory)
    return [str(problem) for problem in caught.value.problems]


def build(inventory: Inventory) -> Any:
    return build_site({host: HostData(frozenset(groups), data) for host, (groups, data) in inventory.items()})
