"""Replication streams: bytes with one snapshot each, so that pipes, files and truncation are real.

A stream is MAGIC, the header's length and JSON, the payload's length and bytes. A payload is the whole tree of the
snapshot, also in an incremental stream; it is never shorter than `LEAST`, so that a cut stream breaks in a payload.
"""

from __future__ import annotations

import json
import marshal
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.core import CommandError
from lab.zfs import trees
from lab.zfs.model import Bookmark, Dataset, Node, Partial, Snapshot, only
from lab.zfs.units import nice

MAGIC = b"LABZFS1\0"
LEAST = 8192


@dataclass
class Record:
    """One snapshot of a stream. ``payload`` is cut short where the stream was."""

    header: dict[str, Any]
    payload: bytes
    complete: bool = True

    @property
    def incremental(self) -> bool:
        return bool(self.header["fromguid"])


def pack(tree: Path) -> bytes:
    """A folder as bytes."""
    entries = []
    for path, info in trees.walk(tree):
        place, data = tree / path, []
        own = os.readlink(place) if stat.S_ISLNK(info.st_mode) else trees.attributes(place)
        if stat.S_ISREG(info.st_mode):
            with open(place, "rb") as file:
                number = file.fileno()
                data = [(at, os.pread(number, length, at)) for at, length in trees.extents(number, info.st_size)]
        entries.append((path, info.st_mode, info.st_mtime_ns, own, info.st_size, data))
    return marshal.dumps(entries).ljust(LEAST, b"\0")


def unpack(payload: bytes, tree: Path) -> None:
    """Writes a packed folder into an empty one."""
    entries = marshal.loads(payload)
    for path, mode, _, own, size, data in entries:
        place = tree / path
        if stat.S_ISDIR(mode):
            place.mkdir(exist_ok=True)
        elif stat.S_ISLNK(mode):
            place.symlink_to(own)
        else:
            with open(place, "wb") as file:
                file.truncate(size)
                for at, part in data:
                    os.pwrite(file.fileno(), part, at)
    for path, mode, mtime, own, *_ in reversed(entries):
        place = tree / path
        if not stat.S_ISLNK(mode):
            for name, value in own.items():
                os.setxattr(place, name, value)
            place.chmod(stat.S_IMODE(mode))
        os.utime(place, ns=(mtime, mtime), follow_symlinks=False)


def encode(record: Record) -> bytes:
    head = json.dumps(record.header).encode()
    parts = [MAGIC, len(head).to_bytes(8, "big"), head, len(record.payload).to_bytes(8, "big"), record.payload]
    return b"".join(parts)


def decode(data: bytes) -> Record:
    """What a stream holds, be it cut short in its payload."""
    only(data[:8] == MAGIC[: len(data)], "zfs receive of what is no stream")
    end = 16 + int.from_bytes(data[8:16], "big")
    if len(data) < end + 8:
        raise CommandError("cannot receive: failed to read from stream")
    wanted = int.from_bytes(data[end : end + 8], "big")
    payload = data[end + 8 : end + 8 + wanted]
    only(len(data) <= end + 8 + wanted, "zfs receive of several streams in one")
    return Record(json.loads(data[16:end]), payload, len(payload) == wanted)


def plan(node: Node, name: str, *, raw: bool, source: str | None) -> Record:
    """What ``zfs send`` sends.

    :param name: ``DATASET@SNAPSHOT``
    :param source: of -i, as given
    """
    dataset, snap = node.snapshot(name)
    start = None
    if source:
        mark = source.removeprefix(dataset.name)
        start = dataset.version(mark)
        if start is None:
            raise CommandError(
                f"warning: cannot send '{name}': incremental source ({dataset.name}{mark}) does not exist"
            )
        only(start.createtxg < snap.createtxg, f"zfs send {name} from {mark}, which is not earlier")
    return record(node, dataset, snap, start, raw=raw)


def record(node: Node, dataset: Dataset, snap: Snapshot, start: Bookmark | None, *, raw: bool) -> Record:
    """One snapshot as a stream."""
    raw = raw and dataset.crypt is not None
    name = f"{dataset.name}@{snap.name}"
    only(raw or node.key_loaded(dataset), f"zfs send {name}, which is closed, without -w")
    header: dict[str, Any] = {
        "toname": name,
        "toguid": snap.guid,
        "fromguid": start.guid if start else 0,
        "fromname": ("@" if isinstance(start, Snapshot) else "#") + start.name if start else "",
        "from_ivset": start.ivset if start else 0,
        "ivset": snap.ivset,
        "kind": dataset.kind,
        "creation": snap.creation,
        "object": dataset.id,
        "raw": raw,
        "volsize": snap.volsize,
        "volblocksize": dataset.props.get("volblocksize", ""),
        "offset": 0,
        "crypt": _crypt(node, dataset) if raw else None,
    }
    return Record(header, pack(node.path(snap.tree)))


def _crypt(node: Node, dataset: Dataset) -> dict[str, Any]:
    root = node.encryption_root(dataset)
    if dataset.crypt is None or root is None or root.crypt is None:
        raise AssertionError(dataset.name)
    return {"suite": dataset.crypt.suite, "key": root.crypt.key, "master": dataset.crypt.master}


def token(partial: Partial) -> str:
    """The value of ``receive_resume_token``: ``1-CHECKSUM-LENGTH-HEX``, as opaque as ZFS's own."""
    facts = {k: partial.header[k] for k in ("object", "toguid", "toname", "fromguid", "raw")}
    data = json.dumps(facts | {"bytes": len(partial.payload)}).encode()
    return f"1-{zlib.crc32(data):x}-{len(data):x}-{zlib.compress(data).hex()}"


def resumed(node: Node, token: str) -> Record:
    """The rest of an interrupted stream (``zfs send -t``), of snapshots that are still there."""
    facts: dict[str, Any] = json.loads(zlib.decompress(bytes.fromhex(token.split("-")[3])))
    name = facts["toname"]
    dataset = node.find(name.split("@")[0])
    snap = dataset.snapshot(name.partition("@")[2]) if dataset else None
    if dataset is None or snap is None:
        raise CommandError(f"cannot resume send: '{name}' used in the initial send no longer exists", 255)
    only(snap.guid == facts["toguid"], f"zfs send -t of another {name}")
    start = next((m for m in (*dataset.snapshots, *dataset.bookmarks) if m.guid == facts["fromguid"]), None)
    only(start is not None or not facts["fromguid"], f"zfs send -t of {name} without its incremental source")
    made = record(node, dataset, snap, start, raw=facts["raw"])
    offset = facts["bytes"]
    made.header["offset"] = offset
    made.payload = made.payload[offset:]
    return made


def describe(record: Record) -> str:
    """The lines of ``zfs send -v``."""
    size, source = nice(len(record.payload)), record.header["fromname"]
    what = f"send from {source} to" if source else "full send of"
    return f"{what} {record.header['toname']} estimated size is {size}\ntotal estimated size is {size}\n"
