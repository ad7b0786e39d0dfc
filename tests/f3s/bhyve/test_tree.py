from __future__ import annotations

import pytest

from f3s.bhyve.copying import bytes_needed
from f3s.bhyve.tree import history, local, parse_all_properties, parse_feature, tree
from f3s.parsing import UnknownOutput
from f3s.zfs import MIGRATION, Dataset, Property, Snapshot

# shape and sources as recorded on FreeBSD 13.2, `zfs get -H -o name,property,value,source`
TREE = """\
zroot	type	filesystem	-
zroot	written	251904	-
zroot	available	872415232	-
zroot	encryption	off	default
zroot/bhyve_old	type	filesystem	-
zroot/bhyve_old	written	86016	-
zroot/bhyve_old	available	872415232	-
zroot/bhyve_old	encryption	off	default
zroot/bhyve_old	mountpoint	/zroot/bhyve	local
zroot/bhyve_old	f3s:migration	started	local
zroot/bhyve_old/rocky-b	type	filesystem	-
zroot/bhyve_old/rocky-b	written	36864	-
zroot/bhyve_old/rocky-b	available	872415232	-
zroot/bhyve_old/rocky-b	encryption	off	default
zroot/bhyve_old/rocky	type	filesystem	-
zroot/bhyve_old/rocky	written	36864	-
zroot/bhyve_old/rocky	available	872415232	-
zroot/bhyve_old/rocky	encryption	off	default
zroot/bhyve_old/rocky	mountpoint	/zroot/bhyve/rocky	inherited from zroot/bhyve_old
zroot/bhyve_old/rocky	f3s:migration	started	inherited from zroot/bhyve_old
zroot/bhyve_old/rocky/disk0	type	volume	-
zroot/bhyve_old/rocky/disk0	written	12288	-
zroot/bhyve_old/rocky/disk0	available	872415232	-
zroot/bhyve_old/rocky/disk0	encryption	off	default
zroot/bhyve_old/rocky/disk0	volsize	67108864	local
"""


def test_only_a_local_property_is_a_mark() -> None:
    found = parse_all_properties(TREE.splitlines())
    assert local(found["zroot/bhyve_old"], MIGRATION) == "started"
    assert local(found["zroot/bhyve_old/rocky"], MIGRATION) is None
    assert local(None, MIGRATION) is None


def test_whether_a_pool_can_hold_encrypted_datasets() -> None:
    for state in ("enabled", "active", "disabled", "-"):
        assert parse_feature([state]) == state
    for lines in ([], ["on"], ["enabled", "active"]):
        with pytest.raises(UnknownOutput, match="feature@encryption is"):
            parse_feature(lines)


def test_what_does_not_apply_is_left_out_by_zfs_get_all() -> None:
    volume = parse_all_properties(TREE.splitlines())["zroot/bhyve_old/rocky/disk0"]
    assert not volume.mounted
    assert volume.encryption_root is None
    assert volume.get("receive_resume_token") is None


def test_a_tree_has_parents_first_and_no_neighbours() -> None:
    found = parse_all_properties(TREE.splitlines())
    names = [dataset.name.removeprefix("zroot/bhyve_old/") for dataset in tree(found, "zroot/bhyve_old")]
    assert names == ["zroot/bhyve_old", "rocky", "rocky/disk0", "rocky-b"]
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
        "usedbydataset": "100",
        "usedbysnapshots": "20",
        "referenced": "70",
        "written": "70",
        "refreservation": "1000",
        "volsize": "1000",
    }
    thick = Dataset("p/v", {name: Property(text, "local") for name, text in props.items()})
    margin = 64 * 1024**2
    assert bytes_needed([(thick, None)]) == 1190 + 119 + margin
    taken = Dataset("p/v", {**thick.properties, "written": Property("0", "-")})
    assert bytes_needed([(taken, None)]) == 1120 + 112 + margin
    clone = Dataset("p/c", {"origin": Property("p/x@s", "-"), "referenced": Property("70", "-")})
    assert bytes_needed([(clone, None)]) == 70 + 7 + margin
    assert bytes_needed([(clone, clone)]) == 77 + margin
    assert bytes_needed([(taken, Dataset("q/v", {"usedbydataset": Property("9999", "-")}))]) == 0
