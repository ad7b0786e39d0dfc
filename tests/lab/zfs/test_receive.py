"""Streams between two hosts: what arrives, what is refused, what an interruption leaves."""

from __future__ import annotations

import pytest

from lab.core import CommandError
from lab.zfs import crypt, datasets, mounting, receive, resume, settings, snapshots, space, stream
from lab.zfs.model import Dataset, Node
from tests.lab.zfs.conftest import Lab, files, make, make_root, write

SINK = "zdata/copy"


def stream_of(node: Node, name: str, **options: object) -> bytes:
    return stream.encode(stream.plan(node, name, stream.Options(**options)))  # type: ignore[arg-type]


def take_in(node: Node, data: bytes, target: str = SINK, **options: object) -> list[str]:
    said: list[str] = []
    receive.receive(node, data, target, receive.Options(**options), said.append)  # type: ignore[arg-type]
    return said


@pytest.fixture
def replica(lab: Lab) -> Dataset:
    """A raw replica on f1 of f0's encrypted zdata/enc, which has a snapshot ``one`` there, too."""
    source = make_root(lab.f0, "zdata/enc")
    write(lab.f0, source, "a", "first")
    snapshots.take(lab.f0, ["zdata/enc@one"])
    take_in(lab.f1, stream_of(lab.f0, "zdata/enc@one", raw=True))
    return lab.f1.dataset(SINK)


def more(lab: Lab, text: str = "second") -> bytes:
    """The raw increment after a write on f0 and a snapshot ``two``."""
    write(lab.f0, lab.f0.dataset("zdata/enc"), "b", text)
    snapshots.take(lab.f0, ["zdata/enc@two"])
    return stream_of(lab.f0, "zdata/enc@two", raw=True, source="@one")


def test_a_raw_replica_is_a_locked_root_of_its_own(lab: Lab, replica: Dataset) -> None:
    assert lab.f1.encryption_root(replica) is replica
    assert replica.crypt
    assert replica.crypt.keylocation == "prompt"
    assert not lab.f1.key_loaded(replica)
    assert lab.f1.mount(replica) is None
    assert replica.snapshots[0].guid == lab.f0.dataset("zdata/enc").snapshots[0].guid
    with pytest.raises(CommandError, match="Incorrect key provided"):
        crypt.load(lab.f1, replica, "file:///keys/other.key", False)
    crypt.load(lab.f1, replica, "file:///keys/good.key", False)


def test_a_read_only_mounted_replica_takes_increments(lab: Lab, replica: Dataset) -> None:
    crypt.load(lab.f1, replica, "file:///keys/good.key", False)
    settings.change(lab.f1, replica, {"readonly": "on", "mountpoint": "/replica"})
    assert lab.f1.mount(replica) is None
    mounting.mount(lab.f1, replica)

    assert take_in(lab.f1, more(lab), verbose=True)[0] == (
        f"receiving incremental stream of zdata/enc@two into {SINK}@two\n"
    )

    entry = lab.f1.mount(replica)
    assert entry
    assert entry.read_only
    assert files(lab.f1, replica) == ["a", "b"]
    assert space.Space(lab.f1).written(replica) == 0


def test_a_modified_replica_refuses_until_it_is_rolled_back(lab: Lab, replica: Dataset) -> None:
    crypt.load(lab.f1, replica, "file:///keys/good.key", False)
    write(lab.f1, replica, "stray", "oops")
    lab.f1.txg(lab.f1.pool_of(replica))
    assert space.Space(lab.f1).written(replica) > 0
    data = more(lab)
    with pytest.raises(CommandError) as failure:
        take_in(lab.f1, data)
    assert failure.value.message == (
        f"cannot receive incremental stream: destination {SINK} has been modified\nsince most recent snapshot"
    )
    snapshots.rollback(lab.f1, f"{SINK}@one")
    take_in(lab.f1, data)
    assert files(lab.f1, replica) == ["a", "b"]


def test_a_snapshot_of_its_own_keeps_a_replica_from_going_on(lab: Lab, replica: Dataset) -> None:
    write(lab.f1, replica, "stray", "oops")
    snapshots.take(lab.f1, [f"{SINK}@local"])
    with pytest.raises(CommandError, match="most recent snapshot of zdata/copy does not\nmatch incremental source"):
        take_in(lab.f1, more(lab))


def test_a_new_key_arrives_with_the_increment(lab: Lab, replica: Dataset) -> None:
    crypt.load(lab.f1, replica, "file:///keys/good.key", False)
    settings.change(lab.f1, replica, {"keylocation": "file:///keys/good.key", "readonly": "on"})
    mounting.mount(lab.f1, replica)
    crypt.change(lab.f0, lab.f0.dataset("zdata/enc"), {"keylocation": "file:///keys/other.key"}, None)

    take_in(lab.f1, more(lab))

    assert lab.f1.key_loaded(replica)
    assert lab.f1.mount(replica)
    assert replica.crypt
    assert replica.crypt.keylocation == "file:///keys/good.key"
    with pytest.raises(CommandError, match="Incorrect key provided"):
        crypt.load(lab.f1, replica, None, True)
    crypt.load(lab.f1, replica, "file:///keys/other.key", True)


def test_a_raw_increment_locks_what_is_not_mounted(lab: Lab, replica: Dataset) -> None:
    crypt.load(lab.f1, replica, "file:///keys/good.key", False)
    take_in(lab.f1, more(lab))
    assert not lab.f1.key_loaded(replica)


def test_a_raw_increment_does_not_fit_what_was_encrypted_again(lab: Lab) -> None:
    make_root(lab.f1, "zdata/enc")
    make_root(lab.f0, "zdata/enc")
    snapshots.take(lab.f0, ["zdata/enc@one"])
    take_in(lab.f1, stream_of(lab.f0, "zdata/enc@one"), "zdata/enc/copy")
    with pytest.raises(CommandError, match="IV set guid mismatch"):
        take_in(lab.f1, more(lab), "zdata/enc/copy")


def test_an_increment_from_a_bookmark(lab: Lab, replica: Dataset) -> None:
    snapshots.bookmark(lab.f0, "zdata/enc@one", "zdata/enc#mark")
    write(lab.f0, lab.f0.dataset("zdata/enc"), "b", "second")
    snapshots.take(lab.f0, ["zdata/enc@two"])
    datasets.destroy(lab.f0, [lab.f0.snapshot("zdata/enc@one")[1]])
    take_in(lab.f1, stream_of(lab.f0, "zdata/enc@two", raw=True, source="#mark"))
    assert [s.name for s in replica.snapshots] == ["one", "two"]


def migrated(lab: Lab) -> None:
    """f0: unencrypted zdata/old/child with a volume below, snapshot ``s``; and zdata/enc, an encryption root."""
    make(lab.f0, "zdata/old")
    make(lab.f0, "zdata/old/child")
    make(lab.f0, "zdata/old/child/disk", "volume", volsize="64M")
    (lab.f0.path(lab.f0.dataset("zdata/old/child/disk").tree) / "data").write_bytes(b"x" * 4096)
    snapshots.take(lab.f0, ["zdata/old@s"], recursive=True)
    make_root(lab.f0, "zdata/enc")


@pytest.mark.parametrize("exclude", [(), ("encryption",)])
def test_a_plain_stream_inherits_encryption_and_leaves_children_out(lab: Lab, exclude: tuple[str, ...]) -> None:
    migrated(lab)
    take_in(lab.f0, stream_of(lab.f0, "zdata/old/child@s"), "zdata/enc/child", exclude=exclude)
    assert lab.f0.find("zdata/enc/child/disk") is None
    assert lab.f0.mount(lab.f0.dataset("zdata/enc/child"))
    take_in(lab.f0, stream_of(lab.f0, "zdata/old/child/disk@s"), "zdata/enc/child/disk", exclude=exclude)
    for name in ("zdata/enc/child", "zdata/enc/child/disk"):
        root = lab.f0.encryption_root(lab.f0.dataset(name))
        assert root
        assert root.name == "zdata/enc"
    copied = lab.f0.path(lab.f0.dataset("zdata/enc/child/disk").tree) / "data"
    assert copied.read_bytes()[:4096] == b"x" * 4096


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("zdata", "cannot receive new filesystem stream: destination 'zdata' exists\nmust specify -F to overwrite it"),
        ("zdata/none/copy", "cannot open 'zdata/none': dataset does not exist"),
        ("zdata/enc/copy", "cannot receive new filesystem stream: inherited key must be loaded"),
    ],
)
def test_refused_full_streams(lab: Lab, target: str, message: str) -> None:
    root = make_root(lab.f1, "zdata/enc")
    mounting.unmount_all(lab.f1, [root])
    crypt.unload(lab.f1, root)
    make(lab.f0, "zdata/plain")
    snapshots.take(lab.f0, ["zdata/plain@s"])
    with pytest.raises(CommandError) as failure:
        take_in(lab.f1, stream_of(lab.f0, "zdata/plain@s"), target)
    assert failure.value.message.startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot receive: failed to read from stream"),
        (b"x" * 99, "cannot receive: invalid stream (bad magic number)"),
    ],
)
def test_what_is_no_stream(lab: Lab, data: bytes, message: str) -> None:
    with pytest.raises(CommandError) as failure:
        take_in(lab.f1, data)
    assert failure.value.message == message


def test_an_encrypted_dataset_needs_its_key_or_raw(lab: Lab) -> None:
    root = make_root(lab.f0, "zdata/enc")
    snapshots.take(lab.f0, ["zdata/enc@one"])
    mounting.unmount_all(lab.f0, [root])
    crypt.unload(lab.f0, root)
    with pytest.raises(CommandError, match="dataset key must be loaded"):
        stream_of(lab.f0, "zdata/enc@one")


def test_an_interrupted_receive_goes_on(lab: Lab) -> None:
    source = make_root(lab.f0, "zdata/enc")
    write(lab.f0, source, "a", "first")
    snapshots.take(lab.f0, ["zdata/enc@one"])
    data = stream_of(lab.f0, "zdata/enc@one", raw=True)
    with pytest.raises(CommandError, match="Partially received snapshot is saved") as cut:
        take_in(lab.f1, data[:3000], resumable=True)
    copy = lab.f1.dataset(SINK)
    assert copy.partial
    token = resume.token(copy.partial)
    assert cut.value.message.endswith(f"zfs send -t {token}")
    with pytest.raises(CommandError, match="contains partially-complete state"):
        take_in(lab.f1, data, resumable=True)

    take_in(lab.f1, stream.encode(stream.resumed(lab.f0, token)), resumable=True)

    assert copy.partial is None
    assert [s.guid for s in copy.snapshots] == [s.guid for s in source.snapshots]
    assert files(lab.f1, copy) == ["a"]


def test_without_s_an_interruption_leaves_nothing(lab: Lab) -> None:
    make(lab.f0, "zdata/plain")
    snapshots.take(lab.f0, ["zdata/plain@s"])
    with pytest.raises(CommandError, match="incomplete stream"):
        take_in(lab.f1, stream_of(lab.f0, "zdata/plain@s")[:3000])
    assert lab.f1.find(SINK) is None


def test_an_interrupted_receive_can_be_given_up(lab: Lab) -> None:
    make(lab.f0, "zdata/plain")
    snapshots.take(lab.f0, ["zdata/plain@s"])
    with pytest.raises(CommandError, match="incomplete stream"):
        take_in(lab.f1, stream_of(lab.f0, "zdata/plain@s")[:3000], resumable=True)
    receive.abort(lab.f1, lab.f1.dataset(SINK))
    assert lab.f1.find(SINK) is None


@pytest.mark.parametrize("token", ["1-2-3", "", "1-101be10ab1-d0-789c"])
def test_a_bad_token(lab: Lab, token: str) -> None:
    with pytest.raises(CommandError, match="resume token is corrupt"):
        stream.resumed(lab.f0, token)
