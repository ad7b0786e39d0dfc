from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyinfra.api.exceptions import ConnectError, OperationError
from pyinfra.facts.files import File

from f3s.mounts import Mount, MountTable
from f3s.services import ServiceState
from f3s.zfs import Snapshot
from facts.mounts import Mounts
from facts.newer import Newer
from facts.nfs import ShareEntries
from facts.rcconf import Variables
from facts.services import Services
from facts.zfs import Snapshots
from operations import nfs
from tests.operations.harness import FakeHost, run
from tests.shell import shell

DATASET = "zdata/enc/nfsdata"
F1 = "f1.lan.buetow.org"
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
NEW = {"k3svolumes": "absent", "marker": "absent"}


def snapshots(dataset: str, *guids: int) -> tuple[Snapshot, ...]:
    return tuple(Snapshot(f"{dataset}@zrepl_{guid}", str(guid), guid, guid) for guid in guids)


def make(
    found: object,
    executing: bool = True,
    mountpoint: str = "/data/nfs",
    own: tuple[Snapshot, ...] = (),
    theirs: tuple[Snapshot, ...] | Callable[[], None] | None = (),
    mounts: tuple[Mount, ...] = (),
) -> list[str]:
    arguments = (DATASET, mountpoint, {"k3svolumes": "0755"}, "marker", {F1: REPLICA})
    facts = {ShareEntries: found, Snapshots: own, Mounts: MountTable(mounts, {})}
    peers = {F1: FakeHost({Snapshots: theirs}, name=F1)}
    return run(nfs.shares, facts, *arguments, executing=executing, peers=peers).commands


def test_shares_and_the_marker_last() -> None:
    commands = make(NEW)
    assert [command.split(" && ", 2)[2] for command in commands] == [
        "mkdir -m 0755 /data/nfs/k3svolumes",
        "touch /data/nfs/marker",
    ]
    assert make({"k3svolumes": "755", "marker": "file"}) == []
    assert make({"k3svolumes": "700", "marker": "file"})[0].endswith("&& chmod 0755 /data/nfs/k3svolumes")


@pytest.mark.parametrize("mounted", [True, False])
def test_a_share_is_made_in_the_dataset_only(tmp_path: Path, mounted: bool) -> None:
    commands = make(NEW, mountpoint=str(tmp_path))
    lines = f"zdata on {tmp_path} (zfs)\\n" + (f"zdata/enc/nfsdata on {tmp_path} (zfs, local)\\n" if mounted else "")
    for command in commands:
        assert (shell(f"mount() {{ printf '{lines}'; }}\n{command}").returncode == 0) is mounted
    assert (tmp_path / "k3svolumes").is_dir() is mounted
    assert (tmp_path / "marker").exists() is mounted


def test_a_missing_dataset_is_an_error_but_not_in_the_plan() -> None:
    assert len(make(False, executing=False)) == 2
    with pytest.raises(OperationError, match="is not mounted on /data/nfs"):
        make(False)


@pytest.mark.parametrize("executing", [True, False])
def test_no_marker_for_a_new_dataset_while_the_replica_has_the_data_of_the_one_before(executing: bool) -> None:
    with pytest.raises(OperationError, match=f"no snapshot in common with its replica {REPLICA} on {F1}, .* zrepl_3"):
        make(NEW, executing, own=snapshots(DATASET, 7, 8), theirs=snapshots(REPLICA, 2, 3))
    with pytest.raises(OperationError, match="no snapshot in common"):
        make(False, executing=False, theirs=snapshots(REPLICA, 2, 3))  # the dataset is yet to be made


def test_a_marker_for_a_dataset_whose_replica_is_its_own_or_empty() -> None:
    assert len(make(NEW, own=snapshots(DATASET, 2, 3), theirs=snapshots(REPLICA, 2))) == 2
    assert len(make(NEW, own=snapshots(DATASET, 2, 3), theirs=snapshots(f"{REPLICA}_old", 1))) == 2
    # one that has its marker is served already: nothing is asked, nothing refused
    assert make({"k3svolumes": "755", "marker": "file"}, theirs=snapshots(REPLICA, 2, 3)) == []


def test_no_marker_while_the_replica_is_not_known() -> None:
    def off() -> None:
        raise ConnectError("no route to host")

    for theirs in (off, None):
        with pytest.raises(OperationError, match=f"{F1} cannot be asked whether its replica {REPLICA} has other data"):
            make(NEW, theirs=theirs)
        assert len(make(NEW, executing=False, theirs=theirs)) == 2


def test_what_the_export_would_not_show_is_no_share() -> None:
    child = Mount(f"{DATASET}/media", "/data/nfs/k3svolumes/media", "zfs", frozenset())
    for found in (NEW, False):
        with pytest.raises(OperationError, match=f"{DATASET}/media on {child.directory}: a client .* bare directory"):
            make(found, executing=False, mounts=(child,))


def test_an_entry_of_another_kind_is_refused() -> None:
    for found in ({"k3svolumes": "file", "marker": "file"}, {"k3svolumes": "755", "marker": "other"}):
        with pytest.raises(OperationError, match="is not a"):
            make(found)


def test_only_a_running_mountd_reads_the_exports_again() -> None:
    up, down = {"mountd": ServiceState.RUNNING}, {"mountd": ServiceState.STOPPED}
    reload = ["service mountd onereload && touch /var/run/mountd.pid"]
    assert run(nfs.exports_read, {Services: up, Newer: True}).commands == reload
    has_read = "mountd has read /etc/exports since it changed"
    assert run(nfs.exports_read, {Services: up, Newer: False}).noops == [has_read]
    assert run(nfs.exports_read, {Services: down}).noops == ["mountd is not running"]


UP, DOWN = {"nfsuserd": ServiceState.RUNNING}, {"nfsuserd": ServiceState.STOPPED}
FLAGS = "-domain lan.buetow.org"
RESTART = ["stop-service nfsuserd", "run-service nfsuserd onestart", f"rm -f {nfs.FLAGS_UNREAD}"]


def test_new_flags_of_nfsuserd_are_on_record_before_they_are_set() -> None:
    assert run(nfs.nfsuserd_flags, {Variables: {"nfsuserd_flags": ""}}, FLAGS).commands == [
        f"touch {nfs.FLAGS_UNREAD} && sysrc nfsuserd_flags='-domain lan.buetow.org'"
    ]
    assert run(nfs.nfsuserd_flags, {Variables: {"nfsuserd_flags": FLAGS}}, FLAGS).commands == []


@pytest.mark.parametrize(
    ("now", "unread", "services", "steps"),
    [
        (FLAGS, False, UP, []),
        (FLAGS, True, UP, RESTART),
        ("", False, UP, RESTART),  # in the plan, where the flags are still to be set
        (FLAGS, True, DOWN, RESTART[-1:]),
    ],
)
def test_only_a_running_nfsuserd_with_other_flags_is_restarted(
    now: str, unread: bool, services: dict[str, ServiceState], steps: list[str]
) -> None:
    facts = {Variables: {"nfsuserd_flags": now}, File: {"mode": 600} if unread else None, Services: services}
    commands = run(nfs.nfsuserd_restarted, facts, FLAGS).commands
    assert len(commands) == bool(steps)
    places = [commands[0].rindex(step) for step in steps]
    assert places == sorted(places)
    assert ("onestart" in "".join(commands)) is (len(steps) == 3)
