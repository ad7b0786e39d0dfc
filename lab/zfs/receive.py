"""``zfs receive``: what a stream does to the receiving side. Messages of lib/libzfs/libzfs_sendrecv.c."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.core import CommandError, NotSimulatedError
from lab.zfs import crypt, datasets, mounting, properties, settings, snapshots, space, stream, trees, values
from lab.zfs.model import Crypt, Dataset, Node, Partial, Pool, only
from lab.zfs.stream import Record
from lab.zfs.units import nice

FULL = "cannot receive new filesystem stream"
INCREMENTAL = "cannot receive incremental stream"
ENCRYPTION = ("encryption", "keyformat", "keylocation")


@dataclass(frozen=True)
class Options:
    """Options of ``zfs receive``.

    :param exclude: properties of -x
    :param override: properties of -o
    """

    resumable: bool = False
    unmounted: bool = False
    verbose: bool = False
    exclude: tuple[str, ...] = ()
    override: dict[str, str] = field(default_factory=dict)


def receive(node: Node, data: bytes, target: str, options: Options, say: Callable[[str], None]) -> None:
    """Receives a stream.

    :param target: dataset, or ``DATASET@SNAPSHOT``
    :param say: takes the lines of -v, which appear even when it fails later
    """
    record = stream.decode(data)
    place, _, snap = target.partition("@")
    snap = snap or record.header["toname"].partition("@")[2]
    if options.verbose:
        how = "incremental" if record.incremental else "full"
        say(f"receiving {how} stream of {record.header['toname']} into {place}@{snap}\n")
    made = _receive(node, record, place, snap, options)
    if options.verbose:
        size = nice(len(record.payload))
        say(f"received {size} stream in 1 seconds ({size}/sec)\n")
    if made is not None and not options.unmounted and _mounts_itself(node, made):
        mounting.mount(node, made)


def _mounts_itself(node: Node, made: Dataset) -> bool:
    """Whether ``zfs receive`` mounts a new dataset."""
    return made.kind == "filesystem" and values.effective(node, made, "canmount") == "on" and node.key_loaded(made)


def _receive(node: Node, record: Record, place: str, snap: str, options: Options) -> Dataset | None:
    """Receives the snapshot; returns the dataset if it is new."""
    pool = node.pool(place)
    existing = node.find(place)
    action = INCREMENTAL if record.incremental else FULL
    for name in options.exclude:
        only(name == "encryption" or properties.find(name) is not None or ":" in name, f"zfs recv -x {name}")
    own = "encryption" in options.exclude or "encryption" in options.override
    only(not (own and record.header["raw"]), "zfs recv of a raw stream with -x or -o encryption")
    if pool is None:
        raise NotSimulatedError(f"zfs recv {place} without a pool")
    if existing and existing.partial:
        return _resume(node, pool, existing, record, snap, options, action)
    only(record.header["offset"] == 0, "zfs recv of a resuming stream into a dataset without partial state")
    if record.incremental:
        _check_incremental(node, existing, record, place)
    else:
        _check_full(node, pool, existing, place, record)
    if not record.complete:
        raise _interrupted(node, pool, existing, record, place, options, action)
    return _finish(node, pool, existing, record, place, snap, options)


def _check_full(node: Node, pool: Pool, existing: Dataset | None, place: str, record: Record) -> None:
    if existing is not None:
        raise CommandError(f"{FULL}: destination '{place}' exists\nmust specify -F to overwrite it")
    only(place.rpartition("/")[0] in pool.datasets, f"zfs recv {place} without a parent")
    if len(record.payload) > space.Space(node).free(pool):
        raise CommandError(f"{FULL}: out of space")


def _check_incremental(node: Node, existing: Dataset | None, record: Record, place: str) -> None:
    header = record.header
    if existing is None:
        raise CommandError(f"{INCREMENTAL}: destination '{place}' does not exist")
    source = existing.snapshots[-1]
    only(source.guid == header["fromguid"], f"zfs recv {place} of a stream that does not start from its last snapshot")
    if space.modified(node, existing):
        raise CommandError(f"{INCREMENTAL}: destination {place} has been modified\nsince most recent snapshot")
    if header["raw"]:
        only(existing.crypt is not None, "a raw incremental stream into an unencrypted dataset")
        only(source.ivset == header["from_ivset"], f"zfs recv {place} of a raw stream with another IV set")
    only(header["raw"] or node.key_loaded(existing), f"zfs recv {place}, which is closed")
    if len(record.payload) > space.Space(node).free(node.pool_of(existing)) + space.MIB:
        raise CommandError(f"{INCREMENTAL}: out of space")


def _finish(
    node: Node, pool: Pool, existing: Dataset | None, record: Record, place: str, snap: str, options: Options
) -> Dataset | None:
    """Puts a complete snapshot in place; returns the dataset if it is new."""
    header = record.header
    dataset = existing or _make(node, pool, place, header, options)
    scratch = node.store.new_tree(node.cluster)
    stream.unpack(record.payload, node.path(scratch))
    trees.mirror(node.path(scratch), node.path(dataset.tree))
    shutil.rmtree(node.path(scratch))
    local = {n: v for n, v in options.override.items() if n not in ENCRYPTION}
    dataset.props |= settings.validated(dataset.kind, local)
    if dataset.kind == "volume":
        dataset.props["volsize"] = str(header["volsize"])
    mounting.refresh(node, dataset)
    snapshots.add(
        node,
        dataset,
        snap,
        txg=node.txg(pool),
        number=header["toguid"],
        creation=header["creation"],
        ivset=header["ivset"] if header["raw"] else None,
    )
    if header["raw"] and existing:
        _new_key(node, pool, dataset, header)
    return None if existing else dataset


def _make(node: Node, pool: Pool, place: str, header: dict[str, Any], options: Options) -> Dataset:
    props = {}
    if header["kind"] == "volume":
        props = {"volsize": str(header["volsize"]), "volblocksize": header["volblocksize"]}
    made = datasets.attach(node, pool, place, header["kind"], props, _encryption(node, place, header, options))
    if header["raw"]:
        node.state.keys.discard((pool.guid, made.id))  # nobody has given the key here yet
    return made


def _encryption(node: Node, place: str, header: dict[str, Any], options: Options) -> Crypt | None:
    """How a new dataset is encrypted: as a raw stream says, as -o says, or like its parent."""
    if header["raw"]:
        sent = header["crypt"]
        return Crypt(0, sent["suite"], sent["master"], sent["key"], "prompt")
    wanted = {n: v for n, v in options.override.items() if n in ENCRYPTION}
    only(wanted.get("keylocation") != "prompt", "zfs recv -o keylocation=prompt")
    wanted = settings.validated("filesystem", wanted, creating=True)
    return crypt.for_new(node, place, wanted, None)


def _new_key(node: Node, pool: Pool, dataset: Dataset, header: dict[str, Any]) -> None:
    """A raw stream carries the wrapped key with it; nothing but the next load of the key shows that it is another.

    Seen: the key stays loaded while something that it encrypts is mounted, and is unloaded otherwise.
    """
    held = dataset.crypt
    root = node.encryption_root(dataset)
    if held is None or root is None or root.crypt is None:
        raise AssertionError(dataset.name)
    if root is dataset:
        held.key = header["crypt"]["key"]
    else:
        only(root.crypt.key == header["crypt"]["key"], "a raw stream with another key into an inheriting dataset")
    users = [d for d in pool.datasets.values() if d.crypt and d.crypt.root == root.id]
    if not any(node.mount(d) for d in users):
        node.state.keys.discard((pool.guid, root.id))


def _interrupted(
    node: Node, pool: Pool, existing: Dataset | None, record: Record, place: str, options: Options, action: str
) -> CommandError:
    """Keeps what has come of a stream that ended early."""
    only(options.resumable, f"zfs recv {place} of a stream that was cut, without -s")
    dataset = existing or _make(node, pool, place, record.header, options)
    dataset.partial = Partial(record.header, record.payload, existing is None)
    node.txg(pool)
    return _saved(dataset.partial, action)


def _saved(partial: Partial, action: str) -> CommandError:
    return CommandError(
        f"{action}: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.\n"
        "A resuming stream can be generated on the sending system by running:\n"
        f"    zfs send -t {stream.token(partial)}"
    )


def _resume(
    node: Node, pool: Pool, dataset: Dataset, record: Record, snap: str, options: Options, action: str
) -> Dataset | None:
    """Goes on with an interrupted receive."""
    partial = dataset.partial
    assert partial is not None
    same = record.header["toguid"] == partial.header["toguid"]
    only(same and record.header["offset"] == len(partial.payload), "zfs recv of a resuming stream for another state")
    whole = Record(partial.header, partial.payload + record.payload, record.complete)
    if not whole.complete:
        only(options.resumable, f"zfs recv {dataset.name} of a stream that was cut, without -s")
        partial.payload = whole.payload
        raise _saved(partial, action)
    fresh = partial.new
    dataset.partial = None
    _finish(node, pool, dataset, whole, dataset.name, snap, options)
    return dataset if fresh else None


def abort(node: Node, dataset: Dataset) -> None:
    """``zfs receive -A``."""
    if dataset.partial is None:
        raise NotSimulatedError(f"zfs recv -A {dataset.name}, where nothing was interrupted")
    fresh = dataset.partial.new
    dataset.partial = None
    if fresh:
        datasets.remove(node, dataset)
    node.txg(next(p for p in node.imported() if p.name == dataset.name.split("/")[0]))
