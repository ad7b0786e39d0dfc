from __future__ import annotations

import pytest

from f3s.bhyve.copying import bytes_needed
from f3s.bhyve.tree import history, local, parse_all_properties, parse_feature, tree
from f3s.parsing import UnknownOutput
from f3s.zfs import MIGRATION, Dataset, Property, Snapshot

# shape and sources as recorded on FreeBSD 13.2, `zfs get -H -o name,property,value,source`
OLD = "zroot/bhyve_old"
INHERITED = f"inherited from {OLD}"
OWN = {
    OLD: ["mountpoint\t/zroot/bhyve\tlocal", f"{MIGRATION}\tstarted\tlocal"],
    f"{OLD}/rocky": [f"mountpoint\t/zroot/bhyve/rocky\t{INHERITED}", f"{MIGRATION}\tstarted\t{INHERITED}"],
    f"{OLD}/rocky/disk0": ["volsize\t67108864\tlocal"],
}
TREE = [
    f"{name}\t{line}"
    for name in ("zroot", OLD, f"{OLD}/rocky-b", f"{OLD}/rocky", f"{OLD}/rocky/disk0")
    for line in (
        f"type\t{'volume' if 'disk0' in name else 'filesystem'}\t-",
        "written\t12288\t-",
        "available\t872415232\t-",
        "encryption\toff\tdefault",
        *OWN.get(name, ()),
    )
]


def test_only_a_local_property_is_a_mark() -> None:
    found = parse_all_properties(TREE)
    assert local(found[OLD], MIGRATION) == "started"
    assert local(found["zroot/bhyve_old/rocky"], MIGRATION) is None
    assert local(None, MIGRATION) is None


def test_whether_a_pool_can_hold_encrypted_datasets() -> None:
    for state in ("enabled", "active", "disabled", "-"):
        assert parse_feature([state]) == state
    for lines in ([], ["on"], ["enabled", "active"]):
        with pytest.raises(UnknownOutput, match="feature@encryption is"):
            parse_feature(lines)


def test_what_does_not_apply_is_left_out_by_zfs_get_all() -> None:
    volume = parse_all_properties(TREE)["zroot/bhyve_old/rocky/disk0"]
    assert not volume.mounted
    assert volume.encryption_root is None
    assert volume.get("receive_resume_token") is None


def test_a_tree_has_parents_first_and_no_neighbours() -> None:
    found = parse_all_properties(TREE)
    names = [dataset.name.removeprefix("zroot/bhyve_old/") for dataset in tree(found, OLD)]
    assert names == [OLD, "rocky", "rocky/disk0", "rocky-b"]
    assert [dataset.name for dataset in tree(found, "zroot/bhyve")] == []


def test_history_ends_with_the_snapshot_of_the_migration() -> None:
    snapshots = [Snapshot(f"a@{name}", name, txg, 0) for name, txg in (("s", 3), ("x", 1), ("later", 4), ("y", 2))]
    assert [s.short_name for s in history([*snapshots, Snapshot("b@s", "9", 0, 0)], "a", "s")] == ["x", "y", "s"]
    assert len(history(snapshots, "a", "none")) == 4


@pytest.mark.parametrize(
    "line", ["zroot\ttype\tfilesystem", "\ttype\tx\t-", "internal error", "zroot\ttype\tfilesystem\t-"]
)
def test_unknown_properties_are_refused(line: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_all_properties([line])


def test_space_counts_reservations_snapshots_and_clones() -> None:
    """A thick volume holds its data twice once a snapshot exists, on either side."""
    props = {
        "usedbydataset": "100", "usedbysnapshots": "20", "referenced": "70", "written": "70",
        "refreservation": "1000", "volsize": "1000",
    }  # fmt: skip
    thick = Dataset("p/v", {name: Property(text, "local") for name, text in props.items()})
    margin = 64 * 1024**2
    assert bytes_needed([(thick, None)]) == 1190 + 119 + margin
    taken = Dataset("p/v", {**thick.properties, "written": Property("0", "-")})
    assert bytes_needed([(taken, None)]) == 1120 + 112 + margin
    held = Dataset("p/v", {**taken.properties, "reservation": Property("5000", "local")})
    assert bytes_needed([(held, None)]) == 5000 + 500 + margin
    assert bytes_needed([(held, held)]) == 0
    clone = Dataset("p/c", {"origin": Property("p/x@s", "-"), "referenced": Property("70", "-")})
    assert bytes_needed([(clone, None)]) == 70 + 7 + margin
    assert bytes_needed([(clone, clone)]) == 77 + margin
    assert bytes_needed([(taken, Dataset("q/v", {"usedbydataset": Property("9999", "-")}))]) == 0
