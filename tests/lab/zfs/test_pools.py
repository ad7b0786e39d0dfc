"""Pools on disks: labels, import and export, and what `zpool create` refuses and what it does not."""

from __future__ import annotations

import pytest

from lab import zfs
from lab.core import CommandError, NotSimulatedError
from lab.zfs import labels, pool_properties, pools
from lab.zfs.model import Node, Vdev
from lab.zfs.pool_status import importable, status
from tests.lab.zfs.conftest import GIB, Lab, files, make, make_root, write


def create(node: Node, name: str, device: str) -> None:
    pools.create(node, name, device, {}, {}, mountpoint=None)


def test_the_label_is_on_the_disk_and_can_be_wiped(lab: Lab) -> None:
    vdev = Vdev("ada1", "f0-ada1", GIB, 0)
    image = lab.store.disk_file("f0-ada1")
    label = labels.read(lab.store, vdev)
    assert label
    assert label.pool == "zdata"
    with open(image, "rb") as file:
        assert file.read(512 << 10).strip(b"\0")
        file.seek(-(512 << 10), 2)
        assert file.read().strip(b"\0")
    pools.export(lab.f0, "zdata")
    with open(image, "r+b") as file:
        file.write(bytes(1 << 20))
        file.seek(-(1 << 20), 2)
        file.write(bytes(1 << 20))
    assert pools.importable(lab.f0) == []


@pytest.mark.parametrize("kind", ["active", "exported"])
def test_a_member_of_a_pool_is_never_overwritten(lab: Lab, kind: str) -> None:
    if kind == "exported":
        pools.export(lab.f0, "zdata")
    with pytest.raises(CommandError) as failure:
        create(lab.f0, "other", "/dev/ada1")
    assert failure.value.message == (
        "invalid vdev specification\nuse '-f' to override the following errors:\n"
        f"/dev/ada1 is part of {kind} pool 'zdata'"
    )


def test_any_other_contents_are_overwritten_without_a_question(lab: Lab) -> None:
    with open(lab.store.disk_file("f0-ada2"), "r+b") as file:
        file.seek(65536)
        file.write(b"a file system")
    create(lab.f0, "other", "ada2")
    assert lab.f0.find("other")


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("zdata", "/dev/ada2", "cannot create 'zdata': pool already exists"),
        ("other", "/dev/nope9", "cannot resolve path '/dev/nope9'"),
    ],
)
def test_refused_pools(lab: Lab, name: str, device: str, message: str) -> None:
    with pytest.raises(CommandError) as failure:
        create(lab.f0, name, device)
    assert failure.value.message == message


def test_a_mount_point_with_files_in_it_is_refused(lab: Lab) -> None:
    lab.f0.file("/other").mkdir()
    lab.f0.file("/other/file").touch()
    with pytest.raises(CommandError, match="mountpoint '/other' exists and is not empty"):
        create(lab.f0, "other", "ada2")


def test_export_and_import_lose_keys_but_no_data(lab: Lab) -> None:
    root = make_root(lab.f0, "zdata/enc")
    write(lab.f0, root, "file", "text")
    make(lab.f0, "zdata/plain")
    pools.export(lab.f0, "zdata")
    assert [m.fstype for m in lab.f0.host.mounts] == ["ufs"]
    (pool,) = pools.importable(lab.f0)
    assert importable(lab.f0, pool).endswith(" config:\n\n\tzdata       ONLINE\n\t  ada1      ONLINE\n")
    pools.import_(lab.f0, pool, mount=True)
    assert [m.device for m in lab.f0.host.mounts if m.fstype == "zfs"] == ["zdata", "zdata/plain"]
    assert not lab.f0.key_loaded(root)
    assert files(lab.f0, root) == ["file"]


def test_a_pool_of_a_crashed_host_is_not_imported_elsewhere(lab: Lab) -> None:
    zfs.power_off(lab.cluster, lab.f0.host)
    lab.f1.host.slots["ada3"] = lab.f0.host.slots.pop("ada1")
    pools.export(lab.f1, "zdata")
    (foreign,) = [p for p in pools.importable(lab.f1) if not p.exported]
    with pytest.raises(CommandError, match="pool was previously in use from another system"):
        pools.import_(lab.f1, foreign, mount=True)


def test_a_pulled_disk_suspends_its_pool_until_the_next_boot(lab: Lab) -> None:
    disk = lab.f0.host.slots.pop("ada1")
    zfs.disk_gone(lab.cluster, lab.f0.host, disk)
    (pool,) = lab.f0.imported()
    assert pool_properties.get(lab.f0, pool, "health", False) == ("SUSPENDED", "-")
    assert "UNAVAIL" in status(lab.f0, pool, paths=False)
    lab.f0.host.slots["ada1"] = disk
    zfs.disk_back(lab.cluster, lab.f0.host, disk)
    assert pool.health == "SUSPENDED"
    zfs.power_off(lab.cluster, lab.f0.host)
    pools.attach(lab.f0, pool)
    assert pool.health == "ONLINE"


def test_pool_properties(lab: Lab) -> None:
    (pool,) = lab.f0.imported()
    assert pool_properties.get(lab.f0, pool, "size", True) == ("1006632960", "-")
    assert pool_properties.get(lab.f0, pool, "failmode", False) == ("wait", "default")
    pool_properties.put(pool, "failmode", "panic", "cannot set property for 'zdata'")
    assert pool_properties.get(lab.f0, pool, "failmode", False) == ("panic", "local")
    with pytest.raises(CommandError) as failure:
        pool_properties.put(pool, "failmode", "never", "cannot set property for 'zdata'")
    assert failure.value.message == (
        "cannot set property for 'zdata': 'failmode' must be one of 'wait | continue | panic'"
    )
    with pytest.raises(NotSimulatedError):
        pool_properties.put(pool, "size", "1", "cannot set property for 'zdata'")
