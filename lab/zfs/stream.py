"""Replication streams: bytes with a header per snapshot, so that pipes, files and truncation are real.

A record is MAGIC, the header's length and JSON, the payload's length and bytes. A payload is the whole tree of the
snapshot, also in an incremental stream; it is never shorter than `LEAST`, so that a cut stream breaks in a payload.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.core import CommandError
from lab.zfs import resume, trees
from lab.zfs.model import Bookmark, Dataset, Node, Snapshot, only
from lab.zfs.properties import PROPERTIES, user
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


@dataclass(frozen=True)
class Options:
    """Options of ``zfs send``.

    :param source: of -i or -I, as given
    """

    raw: bool = False
    replicate: bool = False
    props: bool = False
    source: str | None = None
    between: bool = False


def pack(tree: Path) -> bytes:
    """A folder as bytes."""
    index: list[list[Any]] = []
    data: list[bytes] = []
    for path, info in trees.walk(tree):
        entry: list[Any] = [path, info.st_mode, info.st_mtime_ns]
        if stat.S_ISLNK(info.st_mode):
            entry.append(os.readlink(tree / path))
        elif stat.S_ISSOCK(info.st_mode):
            continue
        else:
            entry.append({n: base64.b64encode(v).decode() for n, v in trees.attributes(tree / path).items()})
        if stat.S_ISREG(info.st_mode):
            with open(tree / path, "rb") as file:
                parts = list(trees.extents(file.fileno(), info.st_size))
                for start, length in parts:
                    file.seek(start)
                    data.append(file.read(length))
            entry += [info.st_size, parts]
        index.append(entry)
    head = json.dumps(index).encode()
    body = b"".join([len(head).to_bytes(8, "big"), head, *data])
    return body.ljust(LEAST, b"\0")


def unpack(payload: bytes, tree: Path) -> None:
    """Writes a packed folder into an empty one."""
    length = int.from_bytes(payload[:8], "big")
    at = 8 + length
    entries = json.loads(payload[8:at])
    for path, mode, _, extra, *content in entries:
        place = tree / path
        if stat.S_ISDIR(mode):
            place.mkdir(exist_ok=True)
        elif stat.S_ISLNK(mode):
            place.symlink_to(extra)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(place)
        else:
            size, parts = content
            with open(place, "wb") as file:
                file.truncate(size)
                for start, count in parts:
                    file.seek(start)
                    file.write(payload[at : at + count])
                    at += count
    for path, mode, mtime, extra, *_ in reversed(entries):
        place = tree / path
        if not stat.S_ISLNK(mode):
            for name, value in extra.items():
                os.setxattr(place, name, base64.b64decode(value))
            place.chmod(stat.S_IMODE(mode))
        os.utime(place, ns=(mtime, mtime), follow_symlinks=False)


def encode(records: list[Record]) -> bytes:
    parts = []
    for record in records:
        head = json.dumps(record.header).encode()
        parts += [MAGIC, len(head).to_bytes(8, "big"), head, len(record.payload).to_bytes(8, "big"), record.payload]
    return b"".join(parts)


def decode(data: bytes) -> list[Record]:
    """The records of a stream; the last one may be cut.

    :raises CommandError: it is no stream
    """
    if not data:
        raise CommandError("cannot receive: failed to read from stream")
    records = []
    at = 0
    while at < len(data):
        if data[at : at + 8] != MAGIC[: len(data) - at]:
            raise CommandError("cannot receive: invalid stream (bad magic number)")
        length = int.from_bytes(data[at + 8 : at + 16], "big")
        head = data[at + 16 : at + 16 + length]
        at += 16 + length
        if len(data) < at + 8:
            raise CommandError("cannot receive: failed to read from stream")
        wanted = int.from_bytes(data[at : at + 8], "big")
        payload = data[at + 8 : at + 8 + wanted]
        at += 8 + wanted
        records.append(Record(json.loads(head), payload, len(payload) == wanted))
    return records


def plan(node: Node, name: str, options: Options) -> tuple[list[Record], list[str]]:
    """What ``zfs send`` sends, with payloads.

    :param name: ``DATASET@SNAPSHOT``
    :returns: the records, and warnings for standard error
    :raises CommandError: it cannot be sent
    """
    top, last = node.snapshot(name)
    records: list[Record] = []
    warnings = []
    for dataset in node.below(top) if options.replicate else [top]:
        snap = dataset.snapshot(last.name)
        if snap is None:
            warnings.append(f"WARNING: could not send {dataset.name}@{last.name}: does not exist")
            continue
        start = _source(dataset, options.source, name, top) if options.source else None
        if options.source and start is None and not options.replicate:
            full = options.source if options.source[0] not in "@#" else dataset.name + options.source
            raise CommandError(f"warning: cannot send '{name}': incremental source ({full}) does not exist")
        if start is not None and start.createtxg >= snap.createtxg:
            raise CommandError(f"warning: cannot send '{name}': not an earlier snapshot from the same fs")
        chain = [s for s in dataset.snapshots if s.createtxg <= snap.createtxg]
        chain = [s for s in chain if start is None or s.createtxg > start.createtxg]
        if not options.between and (start is not None or not options.replicate):
            chain = [snap]
        for each in chain:
            records.append(record(node, dataset, each, start, options, top))
            start = each
    return records, warnings


def _source(dataset: Dataset, source: str, name: str, top: Dataset) -> Snapshot | Bookmark | None:
    """The snapshot or bookmark that -i or -I names."""
    owner, mark = (source[:0], source) if source[0] in "@#" else (source.split("@")[0].split("#")[0], source)
    short = mark[len(owner) :]
    if not short:
        only(False, f"zfs send -i {source} {name}")
    if owner not in ("", top.name):
        only(False, f"zfs send from a clone's origin ({source})")
    if short[0] == "#":
        return next((b for b in dataset.bookmarks if b.name == short[1:]), None)
    return dataset.snapshot(short[1:])


def record(
    node: Node, dataset: Dataset, snap: Snapshot, start: Snapshot | Bookmark | None, options: Options, top: Dataset
) -> Record:
    """One snapshot of a stream.

    :raises CommandError: the key is not loaded, or properties of an encrypted dataset are to be sent in the clear
    """
    raw = options.raw and dataset.crypt is not None
    name = f"{dataset.name}@{snap.name}"
    if dataset.crypt and not raw:
        if options.props or options.replicate:
            raise CommandError(
                f"cannot send {name}: encrypted dataset {dataset.name} may not be sent with properties "
                "without the raw flag"
            )
        if not node.key_loaded(dataset):
            raise CommandError(f"warning: cannot send '{name}': dataset key must be loaded")
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
        "top": top.name,
        "offset": 0,
        "props": _props(dataset) if options.props or options.replicate else None,
        "snapprops": snap.props if options.props or options.replicate else {},
        "crypt": _crypt(node, dataset) if raw else None,
    }
    return Record(header, pack(node.path(snap.tree)))


def _props(dataset: Dataset) -> dict[str, str]:
    """Properties that go with -p and -R: what is set, and always ``encryption``."""
    known = dataset.received | dataset.props
    kept = {n: v for n, v in known.items() if user(n) or (PROPERTIES[n].settable and n not in ("volsize",))}
    return kept | {"encryption": dataset.crypt.suite if dataset.crypt else "off"}


def _crypt(node: Node, dataset: Dataset) -> dict[str, Any]:
    root = node.encryption_root(dataset)
    if dataset.crypt is None or root is None or root.crypt is None:
        raise AssertionError(dataset.name)
    return {
        "suite": dataset.crypt.suite,
        "keyformat": dataset.crypt.keyformat,
        "key": root.crypt.key,
        "master": dataset.crypt.master,
        "root": root.name,
    }


def resumed(node: Node, token: str) -> Record:
    """The rest of an interrupted stream (``zfs send -t``).

    :raises CommandError: the snapshot is not there any more, or the token is none
    """
    facts = resume.read(token)
    name = str(facts["toname"])
    dataset = node.find(name.split("@")[0])
    snap = dataset.snapshot(name.partition("@")[2]) if dataset else None
    if dataset is None or snap is None:
        raise CommandError(f"cannot resume send: '{name}' used in the initial send no longer exists", 255)
    if snap.guid != facts["toguid"]:
        raise CommandError(f"cannot resume send: '{name}' is no longer the same snapshot used in the initial send", 255)
    start: Snapshot | Bookmark | None = None
    if facts["fromguid"]:
        marks: list[Snapshot | Bookmark] = [*dataset.snapshots, *dataset.bookmarks]
        start = next((m for m in marks if m.guid == facts["fromguid"]), None)
        if start is None:
            raise CommandError("cannot resume send: incremental source no longer exists", 255)
    made = record(node, dataset, snap, start, Options(raw=bool(facts["raw"])), dataset)
    offset = int(str(facts["bytes"]))
    made.header["offset"] = offset
    made.payload = made.payload[offset:]
    return made


def describe(records: list[Record], exact: bool) -> str:
    """The lines of ``zfs send -nv`` (``exact``: -P)."""
    lines = []
    total = 0
    for each in records:
        size = len(each.payload)
        total += size
        kind = "incremental" if each.incremental else "full"
        source = each.header.get("fromname", "")
        if exact:
            lines.append("\t".join([kind, *([source] if source else []), each.header["toname"], str(size)]))
        else:
            what = f"from {source} to " if source else "of "
            word = f"send {what}" if source else "full send of "
            lines.append(f"{word}{each.header['toname']} estimated size is {nice(size)}")
    lines.append(f"size\t{total}" if exact else f"total estimated size is {nice(total)}")
    return "\n".join(lines) + "\n"
