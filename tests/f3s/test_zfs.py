# ruff: noqa: E101 - recorded output has tabs and spaces
from __future__ import annotations

import pytest

from f3s.keycheck import KeyCheck, parse_key_checks
from f3s.parsing import UnknownOutput
from f3s.zfs import (
    Marks,
    PoolStatus,
    as_reported,
    key_file,
    parse_datasets,
    parse_marks,
    parse_pool_status,
    parse_pools,
    parse_snapshots,
    property_changes,
)
from tests.facts.recorded import ENC, PLAIN, REPLICA, STATUS_ZDATA, zfs_get

LIST_ZDATA = "zdata\tONLINE\t15210865681513100996\t1006632960\t1006517760\toff\twait"


def pools(status: str = STATUS_ZDATA, *listed: str) -> list[str]:
    return ["=== list", *listed, "=== status", *status.splitlines()]


def test_datasets_as_recorded() -> None:
    assert parse_datasets([]) == {}
    enc = parse_datasets(zfs_get("zdata/enc", ENC))["zdata/enc"]
    assert (enc.encrypted, enc.is_encryption_root, enc.key_loaded, enc.mounted) == (True, True, True, True)
    assert (enc.pool, enc.parent, enc.written) == ("zdata", "zdata", 100864)
    assert enc.get("receive_resume_token") is None
    root = parse_datasets(zfs_get("zdata", PLAIN))["zdata"]
    assert (root.encrypted, root.is_encryption_root, root.encryption_root) == (False, False, None)
    assert (root.key_loaded, root.parent) == (False, None)
    name = "zdata/sink/f0/zdata/enc/nfsdata"
    replica = parse_datasets(zfs_get(name, REPLICA))[name]
    assert (replica.is_encryption_root, replica.key_loaded, replica.mounted) == (True, False, False)
    assert replica.get("keylocation") == "prompt"


@pytest.mark.parametrize(
    "lines",
    [
        ["cannot open 'zdata': pool I/O is currently suspended"],
        ["zdata\tcolour\tred\t-"],
        ["zdata\tmountpoint\t/a\tb\t-"],
        zfs_get("zdata", PLAIN)[:-1],
        zfs_get("zdata", PLAIN, type="snapshot"),
        zfs_get("zdata", PLAIN, written="12K"),
    ],
)
def test_unknown_output_of_zfs_get(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_datasets(lines)


def test_a_pool_with_its_device_that_says_that_it_is_well() -> None:
    pool = parse_pools(pools(STATUS_ZDATA, LIST_ZDATA))["zdata"]
    assert (pool.health, pool.size, pool.vdevs) == ("ONLINE", 1006632960, ("ada1",))
    assert pool.properties == {"autotrim": "off", "failmode": "wait"}
    assert pool.status == PoolStatus(("ada1",), None, (), "No known data errors")
    assert parse_pools(pools("no pools available")) == {}


def test_vdevs_of_two_pools_with_a_mirror_and_a_device_that_is_gone() -> None:
    text = """\
  pool: zdata
 state: DEGRADED
status: One or more devices could not be opened.
config:

	NAME                      STATE     READ WRITE CKSUM
	zdata                     DEGRADED     0     0     0
	  mirror-0                DEGRADED     0     0     0
	    /dev/gpt/left         ONLINE       0     0     0
	    5349876152348761523   UNAVAIL      0     0     0  was /dev/ada2p1

errors: No known data errors

  pool: zroot
 state: ONLINE
config:

	NAME           STATE     READ WRITE CKSUM
	zroot          ONLINE       0     0     0
	  /dev/ada0p4  ONLINE       0     0     0

errors: No known data errors"""
    found = {name: pool.vdevs for name, pool in parse_pool_status(text.splitlines()).items()}
    assert found == {"zdata": ("gpt/left", "ada2p1"), "zroot": ("ada0p4",)}


# the texts are those of status_callback in OpenZFS's zpool_main.c, without -v
DAMAGED = """\
  pool: zdata
 state: ONLINE
status: One or more devices has experienced an error resulting in data
	corruption.  Applications may be affected.
action: Restore the file in question if possible.  Otherwise restore the
	entire pool from backup.
   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-8A
  scan: scrub repaired 0B in 00:10:13 with 2 errors on Sun Nov 22 08:56:58 2026
  scan: resilver (mirror-0) in progress since Sun Nov 22 09:00:00 2026
	1.2G scanned at 400M/s, 1.1G issued 390M/s, 4G total
	1.1G resilvered, 30.00% done, 00:00:10 to go
config:

	NAME         STATE     READ WRITE CKSUM
	zdata        ONLINE       0     0     0
	  /dev/ada1  ONLINE       0     0     4

errors: 2 data errors, use '-v' for a list
"""


def test_a_pool_with_damaged_data() -> None:
    found = parse_pools(pools(DAMAGED, LIST_ZDATA))["zdata"]
    assert (found.health, found.vdevs) == ("ONLINE", ("ada1",))
    corrupt = "One or more devices has experienced an error resulting in data corruption. Applications may be affected."
    assert found.status.status == corrupt
    scrub, resilver = found.status.scans
    assert scrub == "scrub repaired 0B in 00:10:13 with 2 errors on Sun Nov 22 08:56:58 2026"
    assert resilver.startswith("resilver (mirror-0) in progress since Sun Nov 22 09:00:00 2026 1.2G scanned")
    assert found.status.errors == "2 data errors, use '-v' for a list"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["=== list"],
        pools("no pools available", LIST_ZDATA),
        pools(STATUS_ZDATA),
        pools(STATUS_ZDATA, "zdata\tONLINE"),
        pools("internal error: failed to initialize ZFS library"),
        pools(STATUS_ZDATA, LIST_ZDATA.replace("1006632960", "960M")),
    ],
)
def test_unknown_output_of_zpool(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_pools(lines)


def test_snapshots_in_the_order_in_which_they_were_made() -> None:
    lines = ["a@two\t12171934133480798810\t30\t1795335720", "a@one\t7496486938281043050\t26\t1795335720"]
    first, second = parse_snapshots(lines)
    assert (first.short_name, second.short_name, first.dataset) == ("one", "two", "a")
    with pytest.raises(UnknownOutput):
        parse_snapshots(["a\t1\t2\t3"])


@pytest.mark.parametrize(
    ("name", "value", "reported"),
    [
        ("encryption", "on", "aes-256-gcm"),
        ("encryption", "aes-256-ccm", "aes-256-ccm"),
        ("recordsize", "128K", "131072"),
        ("recordsize", 131072, "131072"),
        ("volsize", "1G", "1073741824"),
        ("atime", False, "off"),
        ("readonly", True, "on"),
        ("mountpoint", "/1K", "/1K"),
    ],
)
def test_values_in_the_form_of_zfs(name: str, value: str | int | bool, reported: str) -> None:
    assert as_reported(name, value) == reported


def test_only_what_differs_is_set() -> None:
    enc = parse_datasets(zfs_get("zdata/enc", ENC))["zdata/enc"]
    assert property_changes(enc, {"encryption": "on", "recordsize": "128K", "atime": True}) == {}
    assert property_changes(enc, {"atime": False, "recordsize": "1M"}) == {"atime": "off", "recordsize": "1048576"}
    with pytest.raises(KeyError):
        property_changes(enc, {"sharenfs": "off"})


def test_key_files() -> None:
    assert key_file("file:///keys/a:b.key") == "/keys/a:b.key"
    assert [key_file(other) for other in ("prompt", "none", "https://x/y", None)] == [None] * 4


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("rc 0\n1 / 1 key(s) successfully verified", KeyCheck.FITS),
        ("rc 255\nKey load error: Incorrect key provided for 'zdata/enc'.\n0 / 1 key(s) successfully verified",
         KeyCheck.WRONG),
        ("rc 255\nKey load error: Failed to open key material file: No such file or directory", KeyCheck.NO_FILE),
        ("rc 255\nKey load error: Raw key too short (expected 32).", KeyCheck.NOT_A_KEY),
    ],
)  # fmt: skip
def test_key_checks(text: str, result: KeyCheck) -> None:
    assert parse_key_checks(["=== zdata/enc", *text.splitlines()]) == {"zdata/enc": result}


@pytest.mark.parametrize("text", ["rc 1\ncannot open 'zdata/enc': pool I/O is currently suspended", "", "x"])
def test_a_failure_that_says_nothing_of_the_key_is_unknown(text: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_key_checks(["=== zdata/enc", *text.splitlines()])


def test_bookmarks_and_holds() -> None:
    lines = ["=== bookmarks", "a#b", "=== holds", "a@s 1\tkeep\tSun Nov 22", "a@s 1\tmine\tSun Nov 22", "a@t\tx\t-"]
    assert parse_marks(lines) == Marks(("a#b",), {"a@s 1": ("keep", "mine"), "a@t": ("x",)})
    assert parse_marks(["=== bookmarks", "=== holds"]) == Marks((), {})
    for wrong in ([], ["=== holds", "a@s"], ["=== holds", "a\tkeep\t-"]):
        with pytest.raises(UnknownOutput):
            parse_marks(["=== bookmarks", *wrong])
