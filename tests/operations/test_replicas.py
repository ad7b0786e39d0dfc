"""Exact commands for each state of a replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.facts.files import FileContents

from f3s.keycheck import KeyCheck
from f3s.mounts import Mount, MountTable
from f3s.quoting import UnsafeValue
from f3s.zfs import Marks, Snapshot, parse_datasets
from facts.mounts import Mounts
from facts.zfs import Datasets, HistoryMarks, KeyChecks, Snapshots
from facts.zrepl import Written
from operations import replicas
from tests.facts.recorded import PLAIN, REPLICA, zfs_get
from tests.operations.harness import Result, run

DATASET = "zdata/sink/f0/zdata/enc/nfsdata"
LOCATION = "file:///keys/f0.lan.buetow.org:zdata.key"
JOB = "f0_to_f1_nfsdata"
SOURCE = "f0.lan.buetow.org"
SNAPSHOTS = (
    Snapshot(f"{DATASET}@before", "1", 8, 90),
    Snapshot(f"{DATASET}@zrepl_20260101_000000_000", "2", 10, 100),
    Snapshot("zdata/enc@zrepl_20260101_000100_000", "3", 11, 160),
)
READY = {
    "keylocation": LOCATION, "keystatus": "available", "readonly": "on", "mountpoint": "/data/nfs", "mounted": "yes",
    "written": "0",
}  # fmt: skip


def facts(
    key: KeyCheck = KeyCheck.FITS, on: str | None = None, tree: dict[str, int] | None = None, **properties: str
) -> dict[type, Any]:
    mounts = [Mount(on, "/data/nfs", "zfs", frozenset({"ro"}))] if on else []
    return {
        Datasets: parse_datasets(zfs_get(DATASET, REPLICA, **properties)),
        Snapshots: SNAPSHOTS,
        KeyChecks: {DATASET: key},
        Mounts: MountTable(tuple(mounts), {}),
        Written: tree if tree is not None else {DATASET: 0},
        HistoryMarks: Marks((), {}),
    }


def mounted(known: dict[type, Any], executing: bool = True, serves: str | None = None) -> Result:
    return run(replicas.mounted, known, DATASET, LOCATION, "/data/nfs", serves, executing=executing)


ALL_STEPS = [
    f"zfs set keylocation={LOCATION} {DATASET}",
    f"zfs load-key {DATASET}",
    f"zfs set readonly=on {DATASET}",
    f"zfs set canmount=on {DATASET}",
    f"zfs set mountpoint=/data/nfs {DATASET}",
    f"case $(zfs get -H -o value mounted {DATASET}) in yes) ;; *) zfs mount {DATASET} ;; esac",
]


def test_a_received_dataset_gets_its_key_before_readonly_and_readonly_before_its_mount_point() -> None:
    assert mounted(facts()).commands == [step for step in ALL_STEPS if "canmount" not in step]


def test_every_step_is_taken_only_where_it_is_missing() -> None:
    assert mounted(facts(on=DATASET, **READY)) == Result(
        [], [f"{DATASET} is mounted read-only on /data/nfs, and {LOCATION} opens it"]
    )
    assert mounted(facts(**READY, canmount="noauto")).commands == [ALL_STEPS[3], ALL_STEPS[5]]
    locked = {**READY, "keystatus": "unavailable", "mounted": "no"}
    assert mounted(facts(**locked)).commands == [ALL_STEPS[1], ALL_STEPS[5]]
    assert mounted(facts(**{**READY, "readonly": "off", "mounted": "no"})).commands == [ALL_STEPS[2], ALL_STEPS[5]]


@pytest.mark.parametrize("record", [None, [], ["0 f0 0"], ["2 f0 1767225600"]])
def test_a_replica_that_was_not_promoted_is_made_read_only(record: list[str] | None) -> None:
    known = facts(on=DATASET, **{**READY, "readonly": "off", "written": "88064"}) | {FileContents: record}
    assert mounted(known, serves="f1").commands == [ALL_STEPS[2]]


def test_a_promoted_replica_stays_writable_and_is_reported() -> None:
    known = facts(on=DATASET, **{**READY, "readonly": "off"}) | {FileContents: ["1 f1 1767225600"]}
    told = f"{DATASET} was promoted: clients write to it, and it stays writable (docs/runbook.md, Host dead)"
    assert mounted(known, serves="f1") == Result([], [], [told])


def test_a_promoted_replica_whose_key_came_late_is_mounted_writable() -> None:
    late = {**READY, "readonly": "off", "written": "88064", "keystatus": "unavailable", "mounted": "no"}
    result = mounted(facts(**late) | {FileContents: ["1 f1 1767225600"]}, serves="f1")
    assert result.commands == [ALL_STEPS[1], ALL_STEPS[5]]


@pytest.mark.parametrize("present", [False, True])
def test_a_replica_that_has_not_arrived_is_planned_and_then_reported(present: bool) -> None:
    # while the first stream is being received the dataset is there, but it has no snapshot
    known = {**facts(), Snapshots: (), Datasets: facts()[Datasets] if present else {}}
    assert mounted(known, executing=False).commands == ALL_STEPS
    result = mounted(known)
    assert result.commands == []
    assert f"{DATASET} has not arrived yet, so /data/nfs is not mounted" in result.logs[0]


def test_a_key_changed_on_the_source_is_reported_and_nothing_touched() -> None:
    result = mounted(facts(KeyCheck.WRONG, on=DATASET, **READY))
    assert result.commands == []
    assert "the key is not the one the dataset is encrypted with" in result.logs[0]
    assert "It is open with the old key until it is unmounted" in result.logs[0]
    assert f"zfs load-key -n -L {LOCATION} {DATASET}" in result.logs[0]
    assert "It stays locked" in mounted(facts(KeyCheck.WRONG)).logs[0]


@pytest.mark.parametrize(
    ("known", "says"),
    [
        *((facts(key), f"does not open {DATASET}: {key.value}") for key in (KeyCheck.NO_FILE, KeyCheck.NOT_A_KEY)),
        (facts(on="zdata/enc/nfsdata"), "zdata/enc/nfsdata is mounted on /data/nfs, where the replica"),
        (facts(type="volume"), "is a volume"),
        (facts(**READY) | {FileContents: ["1 f"]}, "record is damaged"),
    ],
)
def test_what_stops_the_run(known: dict[type, Any], says: str) -> None:
    with pytest.raises(OperationError, match=says):
        mounted(known, serves="f1" if FileContents in known else None)


def test_the_plain_replica_of_an_earlier_job_is_set_aside_by_hand() -> None:
    known = {**facts(), Datasets: parse_datasets(zfs_get(DATASET, PLAIN))}
    way = f"`zfs set mountpoint=none {DATASET} && zfs rename {DATASET} zdata/nfsdata_plain`"
    with pytest.raises(OperationError, match=way):
        mounted(known)
    with pytest.raises(OperationError, match=way):
        run(replicas.keys_named, known, {DATASET: LOCATION}, [DATASET], executing=False)
    # zrepl's placeholders are plain and have no snapshot
    assert run(replicas.keys_named, {**known, Snapshots: ()}, {DATASET: LOCATION}, []).commands == []


def test_hostile_values_are_quoted_or_refused() -> None:
    known = {**facts(), Snapshots: (), Datasets: {}}
    hostile = "zdata/x $(reboot)'"
    result = run(replicas.mounted, known, hostile, LOCATION, "/data/nfs", executing=False)
    assert result.commands[1] == "zfs load-key 'zdata/x $(reboot)'\"'\"''"
    with pytest.raises(UnsafeValue):
        run(replicas.mounted, known, "-a", LOCATION, "/data/nfs", executing=False)


# -- arrived --

ORIGIN = "zdata/enc/nfsdata"
DISK = f"{DATASET}/disk0"


def arrived(
    monkeypatch: pytest.MonkeyPatch,
    here: tuple[Snapshot, ...],
    there: Sequence[str] | None,
    taken: Sequence[str] = (),
    executing: bool = True,
) -> Result:
    """here: snapshots of the target; there: datasets of the source, None: it does not answer; taken: have snapshots."""
    lines = [line for name in there or () for line in zfs_get(name, REPLICA)]
    answers: dict[type, Any] = {
        Datasets: None if there is None else parse_datasets(lines),
        Snapshots: tuple(Snapshot(f"{name}@zrepl_1", "1", 1, 1) for name in taken),
    }
    monkeypatch.setattr(replicas, "known_of", lambda name, fact: answers[fact] if name == "f0" else None)
    return run(replicas.arrived, {Snapshots: here}, {DATASET: ("f0", ORIGIN)}, 300, executing=executing)


def waited_for(result: Result) -> list[str]:
    (wait,) = result.commands
    assert wait.startswith("sh -c ")
    return str(wait).partition(" await-replica ")[2].split()


TREE = [ORIGIN, f"{ORIGIN}/disk0", f"{ORIGIN}2", "zdata/enc"]


def test_a_first_run_waits_for_every_dataset_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waited_for(arrived(monkeypatch, (), TREE)) == ["300", DATASET, DISK]
    # the job's own is not enough
    assert waited_for(arrived(monkeypatch, SNAPSHOTS, TREE, TREE)) == ["300", DISK]


def test_waiting_ends_with_the_first_snapshot_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    both = (*SNAPSHOTS, Snapshot(f"{DISK}@zrepl_2", "9", 12, 100))
    found = f"{DATASET} has zrepl_20260101_000000_000, {DISK} has zrepl_2"
    assert arrived(monkeypatch, both, TREE, TREE) == Result([], [found])


def test_nobody_waits_ten_minutes_for_the_snapshot_of_a_new_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    result = arrived(monkeypatch, SNAPSHOTS, TREE, [ORIGIN])
    assert result.commands == []
    assert f"{ORIGIN}/disk0 has no snapshot yet that could be sent" in result.noops[0]


def test_a_source_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    result = arrived(monkeypatch, (), None)
    assert waited_for(result) == ["300", DATASET]
    assert "what lies below zdata/enc/nfsdata is not known: f0 could not be asked" in result.logs[0]
    assert arrived(monkeypatch, (), None, executing=False).logs == []


# -- undiverged --


def undiverged(known: dict[type, Any], rollback: bool = False) -> Result:
    sources = {JOB: (SOURCE, "zdata/enc/nfsdata")}
    return run(replicas.undiverged, known, {DATASET: JOB}, "zdata/sink", sources, [JOB] if rollback else [])


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Snapshot, ...] | None]:
    """What the source says of its snapshots: it has what was received, under its own name."""
    said: dict[str, tuple[Snapshot, ...] | None] = {
        SOURCE: tuple(
            replace(s, name=s.name.replace("zdata/sink/f0/", ""), createtxg=s.createtxg + 500) for s in SNAPSHOTS
        )
    }
    monkeypatch.setattr(replicas, "known_of", lambda name, fact: said[name])
    return said


def own(*names: str, **holds: tuple[str, ...]) -> dict[type, Any]:
    """Facts of a replica with snapshots that its source does not have."""
    later = tuple(Snapshot(f"{DATASET}@{name}", f"own {name}", 20 + n, 200 + n) for n, name in enumerate(names))
    held = {f"{DATASET}@{name}": tags for name, tags in holds.items()}
    return {**facts(readonly="on"), Snapshots: (*SNAPSHOTS, *later), HistoryMarks: Marks((), held)}


COMMON = f"{DATASET}@zrepl_20260101_000000_000"
TAG = "zrepl_last_received_J_sink"
WAY_BACK = [f"zfs release {TAG} {DATASET}@late", f"zfs rollback -r {COMMON}"]


def test_snapshots_of_its_own_are_reported_with_the_commands_in_their_order() -> None:
    """`zfs rollback -r` destroys what it can and then meets zrepl's hold with `dataset is busy` (seen)."""
    (report,) = undiverged(own("manual", "late", late=(TAG,), before=(TAG,))).logs
    assert f"{DATASET} has diverged: it has snapshots of its own: manual, late, and no replication" in report
    assert f"`{' && '.join(WAY_BACK)}`" in report
    assert "zrepl_rollback_replicas = ['f0_to_f1_nfsdata']" in report


def test_they_are_dropped_only_where_that_is_wanted_and_then_named() -> None:
    """What it goes back to keeps its hold."""
    marks = {"late": (TAG,), "zrepl_20260101_000000_000": (TAG,)}
    result = undiverged(own("manual", "late", **marks), rollback=True)
    assert result.commands == WAY_BACK
    assert result.logs == [
        f"{DATASET} goes back to zrepl_20260101_000000_000, and its own snapshots manual, late are lost"
    ]
    assert undiverged(own("manual"), rollback=True).commands == WAY_BACK[1:]


PROMOTED = "It was promoted, or made writable by hand"


@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize(
    ("known", "says"),
    [
        (own("manual", "late", late=(TAG, "backup of June")), [f"`zfs release 'backup of June' {DATASET}@late`"]),
        ({**own("manual"), Datasets: facts(readonly="off")[Datasets]}, [PROMOTED]),
        (own("f3s_promoted", "zrepl_on_its_own"), [PROMOTED, "f3s_promoted, zrepl_on_its_own"]),
        (
            facts(tree={DATASET: 88064}, readonly="off"),
            [f"{DATASET} has diverged: 88064 bytes", PROMOTED, "docs/runbook.md, Host dead"],
        ),
    ],
    ids=[
        "somebody else holds it",
        "snapshots of a promoted replica",
        "closed while it returns",
        "clients wrote to a promoted replica",
    ],
)
def test_what_is_never_dropped(known: dict[type, Any], says: list[str], rollback: bool) -> None:
    result = undiverged(known, rollback=rollback)
    assert (result.commands, result.noops) == ([], [])
    assert [text for text in (*says, "has diverged") if text not in result.logs[0]] == []
    assert "zrepl_rollback_replicas" not in result.logs[0] or PROMOTED not in says


def test_of_a_source_that_is_off_only_what_was_written_is_known(source: dict[str, tuple[Snapshot, ...] | None]) -> None:
    for nothing in (None, ()):
        source[SOURCE] = nothing
        assert undiverged(own("manual"), rollback=True).commands == []
        written = {**own("manual"), Written: {DATASET: 4096}}
        assert undiverged(written, rollback=True).commands == [f"zfs rollback {DATASET}@manual"]
        written |= {Snapshots: own("f3s_promoted")[Snapshots]}
        assert undiverged(written, rollback=True).commands == []


@pytest.mark.parametrize("rollback", [False, True])
def test_without_a_common_snapshot_nothing_is_dropped(
    rollback: bool, source: dict[str, tuple[Snapshot, ...] | None]
) -> None:
    source[SOURCE] = (Snapshot("zdata/enc/nfsdata@new", "77", 1, 1),)
    result = undiverged(facts(), rollback=rollback)
    assert (result.commands, result.noops) == ([], [])
    assert f"{DATASET} has no snapshot in common with its source on {SOURCE}" in result.logs[0]


def test_a_clean_replica_is_left_alone() -> None:
    assert (
        undiverged(facts()) == undiverged(facts(), rollback=True) == Result([], [f"nothing was written to {DATASET}"])
    )


def test_a_diverged_replica_is_reported_with_the_command_that_mends_it() -> None:
    result = undiverged(facts(tree={DATASET: 88064}, readonly="on"))
    assert (result.commands, result.noops) == ([], [])
    assert "88064 bytes were written to it since zrepl_20260101_000000_000" in result.logs[0]
    assert f"`zfs rollback {DATASET}@zrepl_20260101_000000_000`" in result.logs[0]
    assert "zrepl_rollback_replicas = ['f0_to_f1_nfsdata']" in result.logs[0]


def test_it_is_rolled_back_only_where_that_is_wanted() -> None:
    mended = undiverged(facts(tree={DATASET: 88064}, readonly="on"), rollback=True)
    assert mended.commands == [f"zfs rollback {DATASET}@zrepl_20260101_000000_000"]


def test_what_is_below_the_replica_is_looked_at_and_what_has_no_snapshot_is_not() -> None:
    child = f"{DATASET}/disk0"
    known = facts(tree={DATASET: 0, child: 4096, f"{DATASET}/placeholder": 98304})
    known[Written] |= {"zdata/sink/f0/zdata/enc/other": 1}
    known[Snapshots] = (*SNAPSHOTS, Snapshot(f"{child}@zrepl_20260101_000000_000", "9", 12, 100))
    (report,) = undiverged(known).logs
    assert report.startswith(f"{child} has diverged")


@pytest.mark.parametrize("writable", [False, True])
def test_each_dataset_of_a_job_goes_its_own_way_back(
    writable: bool, source: dict[str, tuple[Snapshot, ...] | None]
) -> None:
    """With its own common snapshot, and only where it has diverged; one that clients write to stays."""
    child = f"{DATASET}/disk0"
    received = Snapshot(f"{child}@zrepl_1", "9", 12, 100)
    own_one = Snapshot(f"{child}@late", "own", 14, 120)
    source[SOURCE] = (*(source[SOURCE] or ()), Snapshot("zdata/enc/nfsdata/disk0@zrepl_1", "9", 512, 100))
    known = facts(tree={DATASET: 0, child: 0}, readonly="on")
    lines = zfs_get(child, REPLICA, readonly="off" if writable else "on")
    known |= {
        Datasets: known[Datasets] | parse_datasets(lines),
        Snapshots: (*SNAPSHOTS, received, own_one),
        HistoryMarks: Marks((), {own_one.name: (TAG,), received.name: (TAG,)}),
    }
    (report,) = undiverged(known).logs
    assert report.startswith(f"{child} has diverged: it has snapshots of its own: late")
    dropped = undiverged(known, rollback=True)
    assert dropped.commands == (
        [] if writable else [f"zfs release {TAG} {own_one.name}", f"zfs rollback -r {received.name}"]
    )
    assert ("made writable by hand" in dropped.logs[0]) == writable


def test_nothing_is_read_of_a_replica_that_is_not_there() -> None:
    assert undiverged({Snapshots: ()}).noops == [f"nothing was written to any replica; {DATASET} has not arrived yet"]


# -- keys of what stays closed --

FEDORA = "zdata/sink/f0/zroot/bhyve/fedora"
BHYVE_KEY = "file:///keys/f0.lan.buetow.org:bhyve.key"


def keys_named(
    key: KeyCheck | None = KeyCheck.FITS, arrived: bool = True, newest: str = "zrepl_1", **properties: str
) -> Result:
    properties = {"readonly": "on", **properties}
    lines = [*zfs_get(DATASET, REPLICA), *zfs_get(FEDORA, REPLICA, encryptionroot=FEDORA, **properties)]
    snapshots = (Snapshot(f"{FEDORA}@{newest}", "5", 9, 95),) if arrived else ()
    known = {
        Datasets: parse_datasets(lines),
        Snapshots: (*SNAPSHOTS, *snapshots),
        KeyChecks: lambda keys: {name: key for name, location in keys if key and location == BHYVE_KEY},
    }
    return run(replicas.keys_named, known, {DATASET: LOCATION, FEDORA: BHYVE_KEY}, [DATASET])


def test_a_replica_that_stays_closed_names_its_key() -> None:
    assert keys_named().commands == [f"zfs set keylocation={BHYVE_KEY} {FEDORA}"]
    fine = keys_named(keylocation=BHYVE_KEY)
    assert (fine.commands, fine.noops) == ([], ["every replica that has arrived names the key that opens it"])
    assert keys_named(arrived=False).commands == []
    # the sink was made by hand, and left it writable
    assert keys_named(keylocation=BHYVE_KEY, readonly="off").commands == [f"zfs set readonly=on {FEDORA}"]
    # its virtual machine runs here
    assert keys_named(keylocation=BHYVE_KEY, newest="f3s_promoted", readonly="off").commands == []


@pytest.mark.parametrize("key", [KeyCheck.WRONG, KeyCheck.NO_FILE, None])
def test_a_key_that_does_not_open_a_replica_is_not_named(key: KeyCheck | None) -> None:
    result = keys_named(key)
    assert (result.commands, len(result.logs)) == ([], 1)
    assert result.logs[0].startswith(f"{BHYVE_KEY} does not open the replica {FEDORA}: ")


def test_a_closed_replica_that_its_key_no_longer_opens_is_reported_also_where_it_names_it() -> None:
    result = keys_named(KeyCheck.WRONG, keylocation=BHYVE_KEY)
    assert (result.commands, result.noops, len(result.logs)) == ([], [], 1)
    assert "has the old one until its next replication: wait for that, and keep a copy of the old key" in result.logs[0]
