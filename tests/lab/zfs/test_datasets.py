"""File systems, volumes, snapshots, mounts and properties of the model of ZFS."""

from __future__ import annotations

import pytest

from lab.core import CommandError, NotSimulatedError
from lab.zfs import datasets, mounting, pools, settings, show, snapshots, space, values
from lab.zfs.model import Dataset, Node
from tests.lab.zfs.conftest import Lab, files, make, write


def value(node: Node, dataset: Dataset, name: str) -> tuple[str, str] | None:
    return values.get(space.Space(node), dataset, dataset, name)


def targets(node: Node) -> dict[str, str]:
    return {m.device: m.target for m in node.host.mounts if m.fstype == "zfs"}


def test_inheritance_and_sources(lab: Lab) -> None:
    child = make(lab.f0, "zdata/a")
    settings.change(lab.f0, lab.f0.dataset("zdata"), {"compression": "lz4", "org.f3s:site": "home"})
    assert value(lab.f0, child, "compression") == ("lz4", "inherited from zdata")
    assert value(lab.f0, child, "org.f3s:site") == ("home", "inherited from zdata")
    settings.change(lab.f0, child, {"compression": "off"})
    assert value(lab.f0, child, "compression") == ("off", "local")
    settings.change(lab.f0, child, {"org.f3s:site": "away"})
    settings.inherit(lab.f0, child, "org.f3s:site")
    assert value(lab.f0, child, "org.f3s:site") == ("home", "inherited from zdata")
    settings.change(lab.f0, lab.f0.dataset("zdata"), {"canmount": "noauto"})
    assert value(lab.f0, child, "canmount") == ("on", "default")


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({"nonsense": "1"}, "invalid property 'nonsense'"),
        ({"encryption": "on"}, "'encryption' is readonly"),
        ({"used": "1"}, "'used' is readonly"),
        ({"atime": "maybe"}, "'atime' must be one of 'on | off'"),
        ({"mountpoint": "data"}, "'mountpoint' must be an absolute path, 'none', or 'legacy'"),
        ({"volsize": "1G"}, "'volsize' does not apply to datasets of this type"),
        ({"keylocation": "file:///k"}, "keylocation must be 'none' for unencrypted datasets"),
        ({"recordsize": "big"}, "bad numeric value 'big'"),
    ],
)
def test_refused_properties_change_nothing(lab: Lab, props: dict[str, str], message: str) -> None:
    dataset = make(lab.f0, "zdata/a")
    with pytest.raises(CommandError) as failure:
        settings.change(lab.f0, dataset, {"org.f3s:x": "1", **props})
    assert failure.value.message == f"cannot set property for 'zdata/a': {message}"
    assert dataset.props == {}


def test_a_property_with_an_effect_that_is_not_modelled_is_refused_loudly(lab: Lab) -> None:
    with pytest.raises(NotSimulatedError, match="quota=1G"):
        settings.change(lab.f0, lab.f0.dataset("zdata"), {"quota": "1G"})


def test_mount_points_follow_the_property(lab: Lab) -> None:
    top = make(lab.f0, "zdata/a")
    make(lab.f0, "zdata/a/b")
    own = make(lab.f0, "zdata/a/own", mountpoint="/own")
    settings.change(lab.f0, top, {"mountpoint": "/moved"})
    assert targets(lab.f0) == {"zdata": "/data", "zdata/a": "/moved", "zdata/a/b": "/moved/b", "zdata/a/own": "/own"}
    settings.change(lab.f0, own, {"mountpoint": "none"})
    assert lab.f0.mount(own) is None
    settings.change(lab.f0, own, {"mountpoint": "/back"})
    assert targets(lab.f0)["zdata/a/own"] == "/back"
    mounting.unmount_all(lab.f0, [own])
    settings.change(lab.f0, own, {"mountpoint": "/elsewhere"})
    assert lab.f0.mount(own) is None


def test_renaming_keeps_a_local_mount_point_and_moves_an_inherited_one(lab: Lab) -> None:
    make(lab.f0, "zdata/a", mountpoint="/fixed")
    make(lab.f0, "zdata/b")
    datasets.rename(lab.f0, "zdata/a", "zdata/a_old")
    datasets.rename(lab.f0, "zdata/b", "zdata/b_old")
    assert targets(lab.f0) == {"zdata": "/data", "zdata/a_old": "/fixed", "zdata/b_old": "/data/b_old"}


def test_busy_file_systems_stay_mounted(lab: Lab) -> None:
    top = make(lab.f0, "zdata/a")
    make(lab.f0, "zdata/a/b", mountpoint="/data/a/own")
    with pytest.raises(CommandError, match="cannot unmount '/data/a': pool or dataset is busy"):
        mounting.unmount_all(lab.f0, mounting.affected(lab.f0, top))
    assert set(targets(lab.f0)) == {"zdata", "zdata/a", "zdata/a/b"}
    lab.f0.state.busy["zdata/a/b"] = "vm"
    with pytest.raises(CommandError, match="pool or dataset is busy"):
        datasets.destroy(lab.f0, datasets.plan_destroy(lab.f0, top, recursive=True))
    assert lab.f0.find("zdata/a/b")


def test_readonly_takes_effect_at_once(lab: Lab) -> None:
    top = make(lab.f0, "zdata/a")
    child = make(lab.f0, "zdata/a/b")
    settings.change(lab.f0, top, {"readonly": "on"})
    assert [m.read_only for d in (top, child) if (m := lab.f0.mount(d))] == [True, True]
    settings.change(lab.f0, child, {"readonly": "off"})
    assert [m.read_only for d in (top, child) if (m := lab.f0.mount(d))] == [True, False]


def test_an_immutable_directory_takes_a_mount_but_no_new_directory(lab: Lab) -> None:
    dataset = make(lab.f0, "zdata/a", mountpoint="none")
    (lab.f0.file("/data/there")).mkdir()
    lab.f0.host.immutable.append((lab.f0.dataset("zdata").tree, "there"))
    settings.change(lab.f0, dataset, {"mountpoint": "/data/there"})
    assert targets(lab.f0)["zdata/a"] == "/data/there"
    mounting.unmount_all(lab.f0, [dataset])
    settings.change(lab.f0, dataset, {"mountpoint": "/data/there/below"})
    with pytest.raises(CommandError, match="failed to create mountpoint: Operation not permitted"):
        mounting.mount(lab.f0, dataset)


def test_destroy_names_what_is_in_the_way(lab: Lab) -> None:
    top = make(lab.f0, "zdata/a")
    make(lab.f0, "zdata/a/b")
    snapshots.take(lab.f0, ["zdata/a@s"], recursive=True)
    with pytest.raises(CommandError) as failure:
        datasets.plan_destroy(lab.f0, top, recursive=False)
    assert failure.value.message == (
        "cannot destroy 'zdata/a': filesystem has children\nuse '-r' to destroy the following datasets:\n"
        "zdata/a/b@s\nzdata/a/b\nzdata/a@s"
    )
    snapshots.hold(lab.f0, "keep", "zdata/a/b@s")
    plan = datasets.plan_destroy(lab.f0, top, recursive=True)
    with pytest.raises(CommandError, match="cannot destroy snapshot zdata/a/b@s: it's being held"):
        datasets.destroy(lab.f0, plan)
    snapshots.hold(lab.f0, "keep", "zdata/a/b@s", release=True)
    datasets.destroy(lab.f0, plan)
    assert [d.name for d in lab.f0.all()] == ["zdata"]
    assert lab.f0.host.mounts[-1].device == "zdata"


def test_rollback_needs_r_and_brings_back_the_contents(lab: Lab) -> None:
    dataset = make(lab.f0, "zdata/a")
    write(lab.f0, dataset, "one", "1")
    snapshots.take(lab.f0, ["zdata/a@one"])
    write(lab.f0, dataset, "two", "2")
    snapshots.take(lab.f0, ["zdata/a@two"])
    snapshots.bookmark(lab.f0, "zdata/a@two", "zdata/a#mark")
    with pytest.raises(CommandError) as failure:
        snapshots.rollback(lab.f0, "zdata/a@one")
    assert failure.value.message.endswith("and bookmarks:\nzdata/a@two\nzdata/a#mark")
    snapshots.rollback(lab.f0, "zdata/a@one", recent=True)
    assert files(lab.f0, dataset) == ["one"]
    assert lab.f0.mount(dataset)
    assert space.Space(lab.f0).written(dataset) == 0


def test_snapshots_are_taken_together_or_not_at_all(lab: Lab) -> None:
    make(lab.f0, "zdata/a")
    snapshots.take(lab.f0, ["zdata/a@s"])
    with pytest.raises(CommandError, match="cannot create snapshot 'zdata/a@s': dataset already exists"):
        snapshots.take(lab.f0, ["zdata@s"], recursive=True)
    assert lab.f0.dataset("zdata").snapshots == []


def test_one_command_takes_one_snapshot_of_a_dataset(lab: Lab) -> None:
    make(lab.f0, "zdata/a")
    refusal = "^cannot create snapshots : multiple snapshots of same fs not allowed$"
    with pytest.raises(CommandError, match=refusal):
        snapshots.take(lab.f0, ["zdata/a@s", "zdata/a@t"])
    with pytest.raises(CommandError, match=refusal):
        snapshots.take(lab.f0, ["zdata/a@s", "zdata@t"], recursive=True)
    pools.create(lab.f0, "other", "ada2", {}, {}, mountpoint="/other")
    with pytest.raises(CommandError, match=refusal):  # nor of two pools
        snapshots.take(lab.f0, ["zdata@s", "other@s"])
    assert lab.f0.dataset("zdata/a").snapshots == []
    snapshots.take(lab.f0, ["zdata@s", "zdata/a@s", "zdata/a@s"])
    assert [s.name for s in lab.f0.dataset("zdata/a").snapshots] == ["s"]


def test_written_lags_until_the_next_transaction_group(lab: Lab) -> None:
    dataset = make(lab.f0, "zdata/a")
    snapshots.take(lab.f0, ["zdata/a@s"])
    write(lab.f0, dataset, "file", "text")
    assert space.Space(lab.f0).written(dataset) == 0
    lab.f0.txg(lab.f0.pool_of(dataset))
    assert space.Space(lab.f0).written(dataset) > 0


def test_volumes_take_room(lab: Lab) -> None:
    sizes = space.Space(lab.f0)
    before = sizes.free(lab.f0.imported()[0])
    make(lab.f0, "zdata/sparse", "volume", volsize="512M")
    thick = make(lab.f0, "zdata/thick", "volume", volsize="512M", refreservation=str(512 << 20))
    assert before - space.Space(lab.f0).free(lab.f0.imported()[0]) - (512 << 20) < 1 << 20
    assert lab.store.root("f0.lan").joinpath("dev/zvol/zdata/thick").is_symlink()
    with pytest.raises(CommandError, match="cannot create 'zdata/more': out of space"):
        make(lab.f0, "zdata/more", "volume", volsize="512M", refreservation=str(512 << 20))
    datasets.destroy(lab.f0, [thick])
    assert not lab.store.root("f0.lan").joinpath("dev/zvol/zdata/thick").is_symlink()


def test_list_sorts_snapshots_by_time_and_keeps_column_widths(lab: Lab) -> None:
    make(lab.f0, "zdata/a")
    for name in ("zz", "aa"):
        snapshots.take(lab.f0, [f"zdata/a@{name}"])
    entries, problems = show.select(lab.f0, ["zdata", "nope"], show.EVERYTHING, None)
    assert [each.message for each in problems] == ["cannot open 'nope': dataset does not exist"]
    names = ["name", "referenced", "mounted"]
    assert show.table(lab.f0, entries, names, scripted=False, exact=False) == (
        "NAME           REFER  MOUNTED\n"
        "zdata            24K  yes\n"
        "zdata/a          24K  yes\n"
        "zdata/a@zz       24K  -\n"
        "zdata/a@aa       24K  -\n"
    )
