from __future__ import annotations

import hashlib

import pytest

from f3s.disks import MIB, on_disk, parse_disk, tail_start, whole_disk, zeros_sha256
from f3s.parsing import UnknownOutput
from tests.facts.disk_output import BLANK, SIZE, probe_output
from tests.facts.recorded import GEOM_DISK_DA0, GLABEL_STATUS, MOUNT_P, STATUS_ZDATA


def test_a_blank_stick() -> None:
    disk = parse_disk(probe_output(), "da0")
    assert disk.blank
    assert not disk.only_unrecognised_content
    assert (disk.size, disk.model, disk.serial) == (SIZE, "QEMU QEMU HARDDISK", "1-0000:00:02.0-1")


def test_a_zdb_that_puts_a_heading_above_each_place() -> None:
    line = "-" * 36
    said = "\n".join(f"{line}\nLABEL {number}\n{line}\nfailed to unpack label {number}" for number in range(4))
    assert parse_disk(probe_output(zdb=(2, said)), "da0").blank


def test_the_hash_of_zeros() -> None:
    assert zeros_sha256(3 * MIB + 7) == hashlib.sha256(bytes(3 * MIB + 7)).hexdigest()


@pytest.mark.parametrize("size", [SIZE, SIZE + 512, SIZE + MIB - 512, 1000204886016])
def test_the_tail_covers_the_last_four_mib_of_any_size(size: int) -> None:
    assert 4 * MIB <= size - tail_start(size) * MIB < 5 * MIB


NVD = (1, "geom: Class 'disk' does not have an instance named 'nvd1'.")
SMALL = BLANK["diskinfo"][1].replace("67108864", "8388608")
REASONS = [
    ({"diskinfo": (0, SMALL)}, "too small to judge"),
    ({"geom": NVD}, "named 'nvd1'.; an NVMe disk is called nda or nvd, and `geom disk list` shows which"),
    ({"diskinfo": (1, "diskinfo: da0: No such file or directory")}, "there is no disk da0"),
    ({"geom": (0, GEOM_DISK_DA0)}, "it is in use (GEOM open mode r1w1e2)"),
    ({"geom": (1, "geom: Class 'disk' is not loaded")}, "GEOM does not say whether it is in use"),
    ({"geom": (0, "")}, "GEOM does not say whether it is in use"),
    ({"gpart": (0, "=>  40  131032  da0  GPT  (64M)")}, "it has a partition table (=>  40  131032  da0  GPT"),
    ({"gpart": (1, "gpart: unknown failure")}, "gpart cannot tell"),
    ({"fstyp": (0, "ufs")}, "it holds a file system (ufs)"),
    ({"fstyp": (0, "zfs")}, "it holds a file system (zfs)"),
    ({"fstyp": (1, "fstyp: /dev/da0: Input/output error")}, "fstyp cannot tell"),
    ({"zdb": (0, "LABEL 0\n    version: 5000\n    name: 'old'")}, "it holds a label of the pool old"),
    ({"zdb": (0, "LABEL 0\n    name: 'old'\n    state: 2")}, "it holds a label of the destroyed pool old"),
    ({"zdb": (127, "zdb: not found")}, "zdb cannot tell"),
    ({"zdb": (2, "")}, "zdb cannot tell"),
    ({"zdb": (2, "failed to unpack label 0\nfailed to unpack label 1\nfailed to read label 2\nfailed to read label 3")},
     "zdb cannot tell"),
    ({"zdb": (2, "failed to unpack label 0\nfailed to unpack label 1")}, "zdb cannot tell"),
    ({"glabel": (0, GLABEL_STATUS)}, "it carries the label ufs/F3S_KEYS"),
    ({"glabel": (1, "")}, "glabel could not be read"),
    ({"mounts": (0, "/dev/da0\t\t/mnt\t\tmsdosfs\trw")}, "/dev/da0 is mounted on /mnt"),
    ({"mounts": (0, "/dev/da0p1\t\t/\t\tufs\trw")}, "/dev/da0p1 is mounted on /"),
    ({"mounts": (0, MOUNT_P), "glabel": (0, GLABEL_STATUS)}, "/dev/ufs/F3S_KEYS is mounted on /keys"),
    ({"swap": (0, "Device 1K-blocks\n/dev/da0p3   1048576  0")}, "/dev/da0p3 is swap space"),
    ({"swap": (1, "swapinfo: kvm_open")}, "swap could not be read"),
    ({"zpool": (0, STATUS_ZDATA.replace("ada1", "da0"))}, "it belongs to the imported pool zdata"),
    ({"zpool": (0, STATUS_ZDATA.replace("ada1", "diskid/DISK-1-0000:00:02.0-1p1"))},
     "it belongs to the imported pool zdata"),
    ({"zpool": (1, "internal error")}, "zpool could not be read"),
    ({"zpool": (0, "internal error")}, "unexpected line from zpool status"),
    ({"head": (1, "sha256: not found")}, "its first 4 MiB could not be read"),
    ({"tail": (0, "")}, "its last 4 MiB could not be read"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "text"), REASONS, ids=[text for _, text in REASONS])
def test_reasons_that_no_permission_overrides(changes: dict[str, tuple[int, str]], text: str) -> None:
    """Unrecognised content beside it makes no difference, and nobody is told to wipe what may be needed."""
    for beside in ({}, {"head": (0, "x")}, {"head": (0, "x"), "tail": (0, "x")}):
        disk = parse_disk(probe_output(**{**beside, **changes}), "nvd1" if "nvd1" in text else "da0")
        assert text in disk.why()
        assert (disk.blank, disk.only_unrecognised_content) == (False, False)
        assert disk.way_on() == "find out what it is and who needs it, and check the device in the settings"


@pytest.mark.parametrize("edge", ["head", "tail"])
@pytest.mark.parametrize(
    "digest",
    [zeros_sha256(0), zeros_sha256(3 * MIB), hashlib.sha256(b"data").hexdigest()],
    ids=["failed read", "short read", "data"],
)
def test_content_that_is_not_zeros(edge: str, digest: str) -> None:
    disk = parse_disk(probe_output(**{edge: (0, digest)}), "da0")
    assert not disk.blank
    assert disk.only_unrecognised_content
    assert "4 MiB are not zeros" in disk.why()


def test_other_disks_do_not_count() -> None:
    """da01 and da1 are not da0, and ada0 holds the root file system."""
    others = "/dev/da01\t/a\tufs\trw\n/dev/da1p1\t/b\tufs\trw\n/dev/ada0p2\t/\tufs\trw"
    assert parse_disk(probe_output(mounts=(0, others)), "da0").blank


def test_a_missing_section_or_status_is_unknown() -> None:
    with pytest.raises(UnknownOutput, match="no output of tail"):
        parse_disk([*probe_output()[:-3]], "da0")
    with pytest.raises(UnknownOutput, match="no exit status of tail"):
        parse_disk([*probe_output()[:-1]], "da0")
    with pytest.raises(UnknownOutput, match="media size is not a number"):
        parse_disk(probe_output(diskinfo=(0, "da0")), "da0")


def test_the_way_on_names_the_exact_commands_where_nothing_is_recognised() -> None:
    text = parse_disk(probe_output(head=(0, "x")), "da0").way_on()
    assert "dd if=/dev/zero of=/dev/da0 bs=1m count=4 && dd if=/dev/zero of=/dev/da0 bs=1m seek=60" in text


def test_what_is_recognised_has_a_name() -> None:
    label = "LABEL 0\n    version: 5000\n    name: 'zdata'\n    hostname: 'f0'"
    disk = parse_disk(probe_output(fstyp=(0, "zfs"), zdb=(0, label)), "da0")
    assert (disk.file_system, disk.pool) == ("zfs", "zdata")
    assert (parse_disk(probe_output(), "da0").file_system, parse_disk(probe_output(), "da0").pool) == (None, None)


@pytest.mark.parametrize(
    ("provider", "disk", "expected"),
    [
        ("ada0p2", "ada0", True),
        ("ada0s1a", "ada0", True),
        ("ada0.eli", "ada0", True),
        ("ada01", "ada0", False),
        ("nada0", "ada0", False),
        ("gpt/zdata", "ada1", True),
        ("gpt/loop", "ada1", False),
        ("diskid/DISK-9p1", "ada1", True),
    ],
)
def test_providers_of_a_disk(provider: str, disk: str, expected: bool) -> None:
    assert on_disk(provider, disk, {"gpt/zdata": "ada1p1", "gpt/loop": "gpt/loop", "diskid/DISK-9": "ada1"}) is expected


def test_names_of_whole_disks() -> None:
    assert [whole_disk(name) for name in ("ada1", "da0", "nda12")] == [True] * 3
    assert [whole_disk(name) for name in ("ada1p1", "/dev/da0", "gpt/x", "-da0", "", "da0\n")] == [False] * 6
