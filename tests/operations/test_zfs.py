from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError

from f3s.disks import parse_disk
from f3s.keycheck import KeyCheck
from f3s.mounts import Directory, Mount, MountTable
from f3s.quoting import UnsafeValue
from f3s.zfs import Pool, PoolStatus, parse_datasets
from facts.base import script
from facts.disks import Probe
from facts.mounts import Mounts
from facts.rcconf import Variables
from facts.zfs import Datasets, Guarded, ImportablePools, KeyChecks, Pools
from operations import zfs
from tests.facts.disk_output import probe_output
from tests.facts.recorded import ENC, PLAIN, REPLICA, zfs_get
from tests.operations.harness import Result, run

LOCATION = "file:///keys/f0.lan.buetow.org:zdata.key"
SETTINGS = {"autotrim": True, "failmode": "wait"}
BLANK = parse_disk(probe_output(), "da0")


def datasets(*lines: list[str]) -> dict[type, Any]:
    return {Datasets: parse_datasets([line for part in lines for line in part])}


# -- pool --


def new_pool(executing: bool = True, name: str = "zdata", wanted: Any = SETTINGS, **probe: Any) -> list[str]:
    """The commands for a pool that is not there, on a disk that is like this."""
    of = {key: probe.pop(key) for key in ("serial", "model") if key in probe}
    facts = {
        Pools: {},
        ImportablePools: probe.pop("importable", ("zold",)),
        Probe: parse_disk(probe_output(**probe), "da0"),
    }
    return run(zfs.pool, facts, name, "da0", "/data", wanted, executing=executing, **of).commands


def test_a_pool_is_made_on_a_blank_disk() -> None:
    made = "zpool create -o ashift=12 -o autotrim=on -o failmode=wait -m /data zdata /dev/da0"
    assert new_pool(serial="1-0000:00:02.0-1", model="QEMU QEMU HARDDISK") == new_pool() == [made]


FULL = {"head": (0, "x"), "tail": (0, "x")}
DESTROYED = "LABEL 0\n    version: 5000\n    name: 'zdata'\n    state: 2\n    txg: 74"


@pytest.mark.parametrize("executing", [True, False])
@pytest.mark.parametrize(
    ("probe", "says"),
    [
        ({"importable": ("zdata",)}, "was not made, another disk has one of that name: `zpool import zdata` there"),
        ({"serial": "S5Y"}, r"serial number 1-0000:00:02.0-1, the settings want S5Y"),
        ({"model": "Samsung"}, "model QEMU QEMU HARDDISK, the settings want Samsung"),
        (
            {"fstyp": (0, "ufs"), "head": (0, "x")},
            r"da0 is not blank.*a file system \(ufs\); its first 4 MiB are not zeros(?!.* dd )",
        ),
        ({"head": (0, "x")}, "zdata was not made, disk da0 is not blank.* dd if=/dev/zero of=/dev/da0 bs=1m count=4"),
        (
            {"zdb": (0, "LABEL 0\n    name: 'zdata'"), **FULL},
            "a label of the pool zdata .*; it is this pool, only not imported: run `zpool import zdata` there, then",
        ),
        (
            {"zdb": (0, "LABEL 0\n    name: 'zold'"), **FULL},
            "a label of the pool zold .*; find out what it is and who needs it, and check the device in the settings$",
        ),
        ({"zdb": (0, DESTROYED), **FULL}, "the destroyed pool zdata .*import -D zdata.*labelclear -f /dev/da0"),
    ],
)
def test_no_other_disk_becomes_a_pool(probe: dict[str, Any], says: str, executing: bool) -> None:
    """A pool that was exported is imported, one that was destroyed is brought back or cleared by hand."""
    with pytest.raises(OperationError, match=f"(?s){says}"):
        new_pool(executing, **probe)


@pytest.mark.parametrize("missing", [Pools, Probe])
def test_unknown_pools_or_an_unknown_disk_are_no_reason_to_make_one(missing: type) -> None:
    facts = {Pools: {}, Probe: BLANK, missing: None}
    with pytest.raises(OperationError, match=f"{missing.__name__} could not be read; nothing was changed"):
        run(zfs.pool, facts, "zdata", "da0", "/data", SETTINGS)


def test_hostile_values_of_a_pool_are_quoted_or_refused() -> None:
    made = "zpool create -o ashift=12 -o 'failmode=$(id)' -m /data 'z; reboot' /dev/da0"
    assert new_pool(name="z; reboot", wanted={"failmode": "$(id)"}) == [made]
    with pytest.raises(UnsafeValue):
        new_pool(name="-f")


def old_pool(health: str = "ONLINE", autotrim: str = "on", wanted: Any = SETTINGS, **changes: str) -> Any:
    values = {"autotrim": autotrim, "failmode": "wait"}
    pool = Pool("zdata", health, "1", 1006632960, 1006517760, values, PoolStatus(("ada1",)))
    facts = {Pools: {"zdata": pool}, **datasets(zfs_get("zdata", PLAIN, **changes))}
    return run(zfs.pool, facts, "zdata", "ada1", "/data", wanted)


def test_a_pool_that_is_there_converges() -> None:
    result = old_pool()
    assert (result.commands, result.noops) == ([], ["pool zdata is ONLINE on ada1 with the wanted settings"])
    result = old_pool("DEGRADED", "off", {**SETTINGS, "failmode": "panic"})
    assert result.commands == ["zpool set autotrim=on zdata", "zpool set failmode=panic zdata"]


@pytest.mark.parametrize("health", ["FAULTED", "UNAVAIL", "SUSPENDED", "REMOVED"])
def test_a_pool_that_does_not_work_stops_the_deploy(health: str) -> None:
    with pytest.raises(OperationError, match=f"pool zdata is {health}"):
        old_pool(health)


def test_a_pool_with_another_mount_point_is_not_moved() -> None:
    with pytest.raises(OperationError, match=r"mount point /zdata, the settings want /data.*zpool get altroot zdata"):
        old_pool(mountpoint="/zdata")


# -- datasets --


def test_an_encrypted_dataset_is_made_as_its_own_root_in_one_step() -> None:
    facts, wanted = datasets(zfs_get("zdata", PLAIN), zfs_get("zdata/enc", ENC)), {"mountpoint": "/data/nfs"}
    made = run(zfs.encrypted_dataset, facts, "zdata/enc/nfsdata", "aes-256-gcm", LOCATION, wanted)
    assert made.commands == [
        f"zfs create -o encryption=aes-256-gcm -o keylocation={LOCATION} -o keyformat=raw "
        "-o mountpoint=/data/nfs zdata/enc/nfsdata"
    ]


@pytest.mark.parametrize("encryption", ["on", "aes-256-gcm"])
def test_an_encryption_root_is_left_alone(encryption: str) -> None:
    facts = datasets(zfs_get("zdata/enc", ENC))
    result = run(zfs.encrypted_dataset, facts, "zdata/enc", encryption, LOCATION)
    assert (result.commands, result.noops) == ([], ["zdata/enc is there with the wanted properties"])


def inherits(check: KeyCheck, **changes: str) -> dict[type, Any]:
    return {**datasets(zfs_get("zdata/enc/nfsdata", ENC, **changes)), KeyChecks: {"zdata/enc": check}}


def test_a_dataset_that_inherits_gets_the_same_key_as_its_own() -> None:
    """Snapshots and a replica make no difference (observed)."""
    arguments = ("zdata/enc/nfsdata", "on", LOCATION, {"mountpoint": "/data/nfs"})
    result = run(zfs.encrypted_dataset, inherits(KeyCheck.FITS), *arguments)
    assert result.commands == [
        f"zfs change-key -o keylocation={LOCATION} -o keyformat=raw zdata/enc/nfsdata",
        "zfs set mountpoint=/data/nfs zdata/enc/nfsdata",
    ]
    # usb_keys of the same run may have yet to bring the file
    assert run(zfs.encrypted_dataset, inherits(KeyCheck.NO_FILE), *arguments, executing=False) == result


NOT_THAT = r"inherits the key of zdata/enc, and file:.* is not that key"


@pytest.mark.parametrize(
    ("name", "facts", "text"),
    [
        ("zdata/enc/nfsdata", inherits(KeyCheck.WRONG), NOT_THAT),
        ("zdata/enc/nfsdata", inherits(KeyCheck.NO_FILE), NOT_THAT),
        ("zdata/enc/nfsdata", inherits(KeyCheck.FITS, keystatus="unavailable"),
         "while the key of zdata/enc is not loaded"),
        ("zdata/enc", datasets(zfs_get("zdata/enc", PLAIN)), "zdata/enc is there and NOT encrypted"),
        ("zdata/enc", datasets(zfs_get("zdata/enc", ENC, encryption="aes-128-ccm")), "keeps its cipher"),
        ("zdata/enc", datasets(zfs_get("zdata/enc", ENC, keyformat="passphrase")),
         f"first, then there `zfs change-key -o keylocation={LOCATION} -o keyformat=raw zdata/enc`"),
    ],
)  # fmt: skip
def test_a_dataset_that_cannot_get_the_key_stops_the_deploy(name: str, facts: dict[type, Any], text: str) -> None:
    with pytest.raises(OperationError, match=text):
        run(zfs.encrypted_dataset, facts, name, "on", LOCATION)


def test_a_dataset_converges_in_the_form_of_zfs() -> None:
    facts = datasets(zfs_get("zdata/sink", PLAIN))
    result = run(zfs.dataset, facts, "zdata/sink", {"mountpoint": "none", "recordsize": "128K", "atime": True})
    assert result.commands == ["zfs set mountpoint=none zdata/sink"]
    assert run(zfs.dataset, facts, "zdata/sink", {"recordsize": 131072}).noops == [
        "zdata/sink is there with the wanted properties"
    ]
    made = run(zfs.dataset, datasets(), "zdata/it's", {"mountpoint": "/a b"})
    assert made.commands == ["zfs create -o 'mountpoint=/a b' 'zdata/it'\"'\"'s'"]


# -- keys --


def loaded(check: KeyCheck, executing: bool = True, more: dict[type, Any] | None = None, **changes: str) -> Any:
    """The key of zdata/enc as it is, and what the file does when it is tried."""
    facts = {**datasets(zfs_get("zdata/enc", ENC, **changes)), KeyChecks: {"zdata/enc": check}, **(more or {})}
    return run(zfs.key_loaded, facts, "zdata/enc", LOCATION, executing=executing)


def test_a_key_is_loaded_where_it_is_not() -> None:
    assert loaded(KeyCheck.FITS, keystatus="unavailable").commands == ["zfs load-key zdata/enc"]
    assert loaded(KeyCheck.FITS) == Result([], [f"the key of zdata/enc is loaded and {LOCATION} fits"])


def test_a_replica_gets_its_key_location_first() -> None:
    name = "zdata/sink/f0/zdata/enc/nfsdata"
    facts = {**datasets(zfs_get(name, REPLICA)), KeyChecks: {name: KeyCheck.FITS}}
    assert run(zfs.key_loaded, facts, name, LOCATION).commands == [
        f"zfs set keylocation={LOCATION} {name}",
        f"zfs load-key {name}",
    ]


def test_a_key_with_another_name_is_copied_by_hand_before_anything_is_made() -> None:
    own = "file:///keys/my own.key"
    by_hand = {Mounts: MountTable((Mount("da0", "/keys", "ufs", frozenset({"rw"})),), {})}
    with pytest.raises(OperationError) as refusal:
        loaded(KeyCheck.NO_FILE, False, by_hand, keylocation=own)
    assert (
        "doas umount /keys && doas mount /dev/da0 /keys && doas cp -p '/keys/my own.key' "
        "/keys/f0.lan.buetow.org:zdata.key; doas umount /keys && doas mount -r /dev/da0 /keys"
    ) in str(refusal.value)
    # the stick is not in, or the run is about to bring the file
    assert loaded(KeyCheck.NO_FILE, False, {Mounts: MountTable((), {})}, keylocation=own).commands != []
    assert loaded(KeyCheck.NO_FILE, False, by_hand, keylocation="prompt").commands != []
    # the copy fits, and is named
    named = [f"zfs set keylocation={LOCATION} zdata/enc"]
    assert loaded(KeyCheck.FITS, True, by_hand, keylocation=own).commands == named
    # usb_keys, alone, saw nothing that a key of that name encrypts, and made one
    change = f"`zfs change-key -l -o keylocation={LOCATION} -o keyformat=raw zdata/enc` there"
    with pytest.raises(OperationError, match=re.escape(change)):
        loaded(KeyCheck.WRONG, keylocation=own)
    for ours in ("f1.lan.buetow.org:zdata", "f0.lan.buetow.org:zdata.old"):
        with pytest.raises(OperationError, match="does not open zdata/enc"):
            loaded(KeyCheck.WRONG, keylocation=f"file:///keys/{ours}.key")


@pytest.mark.parametrize("executing", [True, False])
@pytest.mark.parametrize(
    ("keystatus", "text"),
    [("unavailable", "Its data cannot be opened"), ("available", "after the next reboot the data could not be opened")],
)
@pytest.mark.parametrize("check", [KeyCheck.WRONG, KeyCheck.NOT_A_KEY])
def test_a_wrong_key_is_reported_as_wrong(keystatus: str, text: str, check: KeyCheck, executing: bool) -> None:
    with pytest.raises(OperationError) as refusal:
        loaded(check, executing, keystatus=keystatus)
    assert f"does not open zdata/enc: {check.value}. " in str(refusal.value)
    assert text in str(refusal.value)


def test_a_key_file_that_is_not_there_yet_is_fine_in_the_plan_only() -> None:
    assert loaded(KeyCheck.NO_FILE, False, keystatus="unavailable").commands == ["zfs load-key zdata/enc"]
    with pytest.raises(OperationError, match="there is no such key file"):
        loaded(KeyCheck.NO_FILE, keystatus="unavailable")


@pytest.mark.parametrize("name", ["zdata/enc", "zdata/enc/nfsdata"])
def test_a_dataset_that_is_no_root_yet_is_fine_in_the_plan_only(name: str) -> None:
    facts = datasets(zfs_get("zdata/enc/nfsdata", ENC))
    plan = run(zfs.key_loaded, facts, name, LOCATION, executing=False)
    assert (plan.commands, plan.noops) == ([], [f"{name} is about to be made, with its key"])
    with pytest.raises(OperationError, match="no key can be loaded"):
        run(zfs.key_loaded, facts, name, LOCATION)


# -- mounting --


def test_mounting() -> None:
    result = run(zfs.mounted, datasets(zfs_get("zdata/enc", ENC, mounted="no")), "zdata/enc")
    assert result.commands == ["zfs mount zdata/enc"]
    result = run(zfs.mounted, datasets(zfs_get("zdata/enc", ENC)), "zdata/enc")
    assert (result.commands, result.noops) == ([], ["zdata/enc is mounted on /data/enc"])
    plan = run(zfs.mounted, datasets(), "zdata/enc", executing=False)
    assert plan.noops == ["zdata/enc is about to be made and mounted"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mountpoint": "none"}, "mountpoint none"),
        ({"mountpoint": "legacy"}, "mountpoint legacy"),
        ({"canmount": "off"}, "canmount off"),
        ({"keystatus": "unavailable"}, "its key is not loaded"),
    ],
)
def test_what_cannot_be_mounted(changes: dict[str, str], text: str) -> None:
    facts = datasets(zfs_get("zdata/enc", ENC, mounted="no", **changes))
    with pytest.raises(OperationError, match=text):
        run(zfs.mounted, facts, "zdata/enc")
    with pytest.raises(OperationError, match="does not exist"):
        run(zfs.mounted, facts, "zdata/none")


# -- the boot --

FOREIGN = zfs_get("zroot/secret", ENC, encryptionroot="zroot/secret", keylocation="file:///root/k")
ASKED = zfs_get("zroot/asked", ENC, encryptionroot="zroot/asked", keylocation="prompt")
ARRIVED = zfs_get("zdata/sink/f0/x", ENC, encryptionroot="zdata/sink/f0/x")


def at_boot(current: str | None, *lines: list[str], named: tuple[str, ...] = ("zdata/enc",)) -> Any:
    facts = {**datasets(*lines), Variables: {"zfskeys_datasets": current}}
    return run(zfs.keys_loaded_at_boot, facts, named, "zdata/sink")


@pytest.mark.parametrize("current", [None, "", "zdata/enc"])
def test_the_boot_goes_on_to_open_what_it_opened_before_there_was_a_list(current: str | None) -> None:
    plain, enc = zfs_get("zdata", PLAIN), zfs_get("zdata/enc", ENC)
    result = at_boot(current, plain, enc, zfs_get("zdata/enc/child", ENC), FOREIGN, ASKED, ARRIVED)
    assert result.commands == ["sysrc zfskeys_datasets='zdata/enc zroot/secret'"]


def test_what_an_operator_put_there_stays() -> None:
    assert at_boot("zother/x", zfs_get("zdata/enc", ENC)).commands == ["sysrc zfskeys_datasets='zother/x zdata/enc'"]
    result = at_boot("zother/x zroot/secret zdata/enc", zfs_get("zdata/enc", ENC), FOREIGN)
    assert (result.commands, len(result.noops)) == ([], 1)


def test_named_roots_are_opened_before_they_are_there_but_not_without_a_key_file() -> None:
    named = ("zdata/enc", "zdata/sink/f0/x", "zroot/asked", "zroot/plain")
    result = at_boot(None, ASKED, ARRIVED, zfs_get("zroot/plain", PLAIN), named=named)
    assert result.commands == ["sysrc zfskeys_datasets='zdata/enc zdata/sink/f0/x zroot/plain'"]


def test_a_name_that_the_list_cannot_hold_is_reported() -> None:
    spaced = zfs_get("zroot/my data", ENC, encryptionroot="zroot/my data")
    result = at_boot("zdata/enc", zfs_get("zdata/enc", ENC), spaced)
    assert result.commands == []
    assert "zroot/my data has to be opened by hand" in result.logs[0]


# -- mount point guards --

ROOT = Mount("ada0p2", "/", "ufs", frozenset({"rw"}))
DATA = Mount("zdata", "/data", "zfs", frozenset({"rw"}))
NFS = Mount("zdata/enc/nfsdata", "/data/nfs", "zfs", frozenset({"rw"}))
GUARD = ("/data/nfs", ["zdata/enc/nfsdata"], "zdata", "/data")
RECORD = "zfs set f3s:guarded=/data/nfs zdata"
MAKE = [f"mkdir -p /data/nfs && chflags schg /data/nfs && {RECORD}"]


def mounts(
    *table: Mount,
    kind: str | None = "Directory",
    flags: str = "uarch",
    entries: tuple[str, ...] = (),
    guarded: tuple[str, ...] = (),
) -> dict[type, Any]:
    directory = Directory("/data/nfs", kind, frozenset(flags.split(",")), entries)
    return {Mounts: MountTable(table, {"/data/nfs": directory}), Guarded: {"zdata": guarded}}


def guard(facts: dict[type, Any], **more: Any) -> Result:
    return run(zfs.guarded_mountpoint, facts, *GUARD, **more)


def test_a_mount_point_is_made_with_its_guard() -> None:
    assert guard(mounts(ROOT, DATA, kind=None)).commands == MAKE
    assert guard(mounts(ROOT), executing=False).commands == MAKE
    assert guard(mounts(ROOT, DATA)).commands == [f"chflags schg /data/nfs && {RECORD}"]


def test_a_guarded_mount_point_is_left_alone() -> None:
    bare = guard(mounts(ROOT, DATA, flags="schg,uarch", guarded=("/data/nfs",)))
    assert bare == Result([], ["/data/nfs is empty and schg"])
    below = guard(mounts(ROOT, DATA, NFS, guarded=("/data/nfs",)))
    assert below == Result([], ["zdata/enc/nfsdata is mounted on /data/nfs, the directory below is schg"])


def test_the_directory_below_a_dataset_that_was_mounted_before_is_guarded() -> None:
    (line,) = guard(mounts(ROOT, DATA, NFS, guarded=("/data/enc",))).commands
    assert line == f"{script('guard-below', '/data', 'nfs')} && zfs set f3s:guarded='/data/enc /data/nfs' zdata"
    result = guard(mounts(ROOT, NFS))
    assert (result.commands, len(result.noops)) == ([], 1)


def test_a_guard_that_is_not_in_the_property_gets_there() -> None:
    """A run may be killed between the two, or the directory was guarded by hand."""
    assert guard(mounts(ROOT, DATA, flags="schg")).commands == [RECORD]


BARE = Directory("/data", "Directory", frozenset({"uarch"}), ())


def unmounted(*table: Mount, directory: Directory = BARE, **changes: str) -> dict[type, Any]:
    root = datasets(zfs_get("zdata", PLAIN, mounted="no", **{"canmount": "on", **changes}))
    return {**root, Mounts: MountTable((ROOT, *table), {"/data": directory})}


OPEN = unmounted(encryption="aes-256-gcm", encryptionroot="zdata", keystatus="available")


@pytest.mark.parametrize("facts", [unmounted(), unmounted(directory=replace(BARE, kind=None)), OPEN])
@pytest.mark.parametrize("executing", [True, False])
def test_the_root_dataset_of_a_pool_is_mounted(facts: dict[type, Any], executing: bool) -> None:
    """After `zpool import -N`, or where a run was killed between `zpool create` and its mount."""
    found = run(zfs.pool_mounted, facts, "zdata", "/data", executing=executing)
    assert found == Result(["zfs mount zdata"], [])


def test_a_root_dataset_that_is_mounted_or_not_there_yet() -> None:
    found = run(zfs.pool_mounted, datasets(zfs_get("zdata", PLAIN, canmount="noauto")), "zdata", "/data")
    assert found == Result([], ["zdata is mounted on /data"])
    found = run(zfs.pool_mounted, datasets(), "zdata", "/data", executing=False)
    assert found == Result([], ["zdata is about to be made and mounted"])
    with pytest.raises(OperationError, match="there is no pool zdata"):
        run(zfs.pool_mounted, datasets(), "zdata", "/data")


@pytest.mark.parametrize(("canmount", "after"), [("on", ""), ("off", ", after `zfs set canmount=on zdata` there")])
def test_a_root_dataset_is_not_mounted_over_what_is_in_use(canmount: str, after: str) -> None:
    result = run(zfs.pool_mounted, unmounted(NFS, canmount=canmount), "zdata", "/data")
    assert (result.commands, result.noops) == ([], [])
    (told,) = result.logs
    assert told.startswith("zdata is not mounted on /data, and is not now: it would hide what is mounted below (/data")
    assert f"The next boot mounts it first{after}; to have" in told


@pytest.mark.parametrize("executing", [True, False])
@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (unmounted(canmount="off"), "its canmount is off. `zfs set canmount=on zdata` there, then this task again"),
        (unmounted(canmount="noauto"), "its canmount is noauto. `zfs set canmount=on zdata` there"),
        (unmounted(Mount("zother", "/data", "zfs", frozenset())), "on /data, where zother is mounted"),
        (unmounted(directory=replace(BARE, kind="Symbolic Link")), "which is a Symbolic Link and not a directory"),
        (unmounted(directory=replace(BARE, entries=("a", "b"))), "which holds a, b: nobody would see that any more"),
        (
            unmounted(encryption="aes-256-gcm", encryptionroot="zdata", keystatus="unavailable"),
            "its key is not loaded. `zfs load-key zdata` there",
        ),
    ],
)
def test_a_root_dataset_that_cannot_be_mounted(facts: dict[type, Any], text: str, executing: bool) -> None:
    with pytest.raises(OperationError) as refusal:
        run(zfs.pool_mounted, facts, "zdata", "/data", executing=executing)
    assert str(refusal.value).startswith("f0.lan.buetow.org: zdata was not mounted on /data")
    assert text in str(refusal.value)


def test_a_mount_point_on_the_wrong_file_system_is_not_made() -> None:
    with pytest.raises(OperationError, match=r"not mounted on /data, but nothing\. tasks/zfs_encrypt\.py mounts it"):
        guard(mounts(ROOT))
    other = Mount("zother", "/data", "zfs", frozenset({"rw"}))
    with pytest.raises(OperationError, match="zdata is not mounted on /data, but zother"):
        guard(mounts(ROOT, DATA, other))


@pytest.mark.parametrize("executing", [True, False])
def test_a_foreign_file_system_on_the_mount_point_is_not_mounted_over(executing: bool) -> None:
    plain = Mount("zdata/nfs", "/data/nfs", "zfs", frozenset({"rw"}))
    for table in ((ROOT, DATA, plain), (ROOT, DATA, NFS, plain), (ROOT, plain)):
        with pytest.raises(
            OperationError, match="zdata/nfs is mounted on /data/nfs, where only zdata/enc/nfsdata belongs"
        ):
            guard(mounts(*table), executing=executing)


@pytest.mark.parametrize("executing", [True, False])
def test_plain_text_in_a_mount_point_stops_the_deploy(executing: bool) -> None:
    facts = mounts(ROOT, DATA, entries=("k3svolumes", "x"))
    with pytest.raises(OperationError, match="holds k3svolumes, x: this was written UNENCRYPTED into zdata"):
        guard(facts, executing=executing)
    with pytest.raises(OperationError, match="is a Symbolic Link, not a directory"):
        guard(mounts(ROOT, DATA, kind="Symbolic Link"))
