"""The plan of tasks/bhyve_migrate.py where nothing is to be moved; of a migration: tests/golden/untouched/f0.txt."""

from __future__ import annotations

from f3s.keycheck import KeyCheck
from f3s.zfs import parse_datasets
from facts.bhyve import AllProperties
from facts.rcconf import Variables
from facts.zfs import Datasets, KeyChecks
from tests.f3s.bhyve.world import NEW, done_world
from tests.facts.recorded import ENC, zfs_get
from tests.tasks.plan import plan

F0 = "f0.lan.buetow.org"


def test_a_migrated_host_has_nothing_to_do() -> None:
    facts = {
        AllProperties: done_world().facts().datasets,
        KeyChecks: {NEW: KeyCheck.FITS},
        Datasets: parse_datasets(zfs_get("zdata/enc", ENC)),
        Variables: {"zfskeys_datasets": "zdata/enc", "zfskeys_enable": "YES", "zfs_enable": "YES"},
    }
    commands = [command for operation in plan("bhyve_migrate", F0, facts) for command in operation.commands]
    assert commands == ["sysrc zfskeys_datasets='zdata/enc zroot/bhyve'"]


def test_where_nothing_is_to_be_moved() -> None:
    assert [operation.commands for operation in plan("bhyve_migrate", F0, {AllProperties: {}})] == [()]
    assert plan("bhyve_migrate", "r0.lan.buetow.org", {}) == []
