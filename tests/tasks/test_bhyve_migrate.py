"""The plan of tasks/bhyve_migrate.py: a host to migrate, one that is done, and hosts without virtual machines."""

from __future__ import annotations

from typing import Any

from f3s.keycheck import KeyCheck
from f3s.secretfile import ABSENT
from f3s.zfs import parse_datasets
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from facts.mounts import Mounts
from facts.rcconf import Variables
from facts.secrets import SecretFiles
from facts.zfs import Datasets, KeyChecks, Snapshots
from tests.f3s.bhyve.world import NEW, OLD, World, done_world
from tests.facts.recorded import ENC, zfs_get
from tests.tasks.plan import plan

F0 = "f0.lan.buetow.org"


def facts(world: World) -> dict[type, Any]:
    found = world.facts()
    values = {"vm_dir": f"zfs:{NEW}", "zfskeys_datasets": "zdata/enc", "zfskeys_enable": "YES", "zfs_enable": "YES"}
    return {
        AllProperties: found.datasets,
        EncryptionFeature: found.encryption_feature,
        Snapshots: found.snapshots,
        Vms: found.vm,
        Mounts: found.mounts,
        KeyChecks: {NEW: KeyCheck.FITS},
        Datasets: parse_datasets(zfs_get("zdata/enc", ENC)),
        Variables: lambda names, **_: {name: values[name] for name in names},
        # usb_keys brings it in the same run
        SecretFiles: (ABSENT,),
    }


def test_the_plan_names_every_step_and_dataset() -> None:
    planned = plan("bhyve_migrate", F0, facts(World()))
    titles = [operation.title for operation in planned]
    assert titles[:2] == [
        "VMs: record on zroot/bhyve what runs: rocky, fedora",
        "VMs: shut down fedora, rocky (ACPI, at most 180 s)",
    ]
    assert f"VMs: copy {OLD}/rocky/disk0@f3s_migrate to {NEW}/rocky/disk0, encrypted" in titles
    assert titles[-4:] == [
        f"VMs: start rocky, fedora from {NEW}",
        "VMs: key that the boot loads",
        "VMs: pools are imported and keys loaded at boot",
        f"VMs: {NEW} and all below it is encrypted",
    ]
    commands = [command for operation in planned for command in operation.commands]
    assert "sysrc zfskeys_datasets='zdata/enc zroot/bhyve'" in commands
    assert f"zfs rename {NEW} {OLD}" in commands
    assert not [command for command in commands if "zfs destroy" in command]


def test_a_migrated_host_has_nothing_to_do() -> None:
    planned = plan("bhyve_migrate", F0, facts(done_world()))
    commands = [command for operation in planned for command in operation.commands]
    assert commands == ["sysrc zfskeys_datasets='zdata/enc zroot/bhyve'"]


def test_where_nothing_is_to_be_moved() -> None:
    assert [operation.commands for operation in plan("bhyve_migrate", F0, {AllProperties: {}})] == [()]
    assert plan("bhyve_migrate", "r0.lan.buetow.org", {}) == []
