from __future__ import annotations

import pytest

from f3s.mounts import parse_mount_table, parse_mounts
from f3s.parsing import UnknownOutput
from tests.facts.recorded import MOUNT_P


def test_the_recorded_mount_table_and_blanks_that_are_not_escaped() -> None:
    blanks = ["zroot/My VM\t/zroot/My VM\tzfs\trw\t0 0", "map -hosts\t\t/net\t\t\tautofs\trw\t\t0 0"]
    mounts = parse_mounts([*MOUNT_P.splitlines(), *blanks])
    assert [(mount.device, mount.directory, mount.fstype) for mount in mounts] == [
        ("ada0p2", "/", "ufs"),
        ("devfs", "/dev", "devfs"),
        ("zdata", "/data", "zfs"),
        ("ufs/F3S_KEYS", "/keys", "ufs"),
        ("zroot/My VM", "/zroot/My VM", "zfs"),
        ("map -hosts", "/net", "autofs"),
    ]
    assert not mounts[3].read_only


def test_the_last_mount_covers_the_others() -> None:
    table = parse_mount_table(["=== mounts", "a /x ufs rw 0 0", "b /x zfs ro,nfsv4acls, 0 0"])
    mount = table.at("/x")
    assert mount is not None
    assert (mount.device, mount.read_only) == ("b", True)
    assert table.at("/y") is None
    assert table.of("a") is not None


def test_directories() -> None:
    table = parse_mount_table(
        ["=== mounts", "=== dir /data/nfs", "Directory|schg,uarch", "=== dir /x", "=== dir /y", "Directory|-", "a"]
    )
    nfs, missing, used = (table.directories[path] for path in ("/data/nfs", "/x", "/y"))
    assert (nfs.guarded, nfs.entries, missing.kind) == (True, (), None)
    assert (used.guarded, used.flags, used.entries) == (False, frozenset(), ("a",))


@pytest.mark.parametrize(
    "lines", [["=== dir /x"], ["=== mounts", "mount: error"], ["=== mounts", "=== dir /x", "stat: error"]]
)
def test_unknown_output(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_mount_table(lines)
