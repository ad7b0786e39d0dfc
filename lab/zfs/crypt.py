"""Keys: read from where keylocation says, loaded, unloaded, changed. Wording of lib/libzfs/libzfs_crypto.c."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from lab.core import CommandError, NotSimulatedError
from lab.zfs.model import Crypt, Dataset, Node, guid, only

KEY_SIZE = 32


class KeyFailure(CommandError):
    """A key command fails; ``reason`` is the text after the colon."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f"{action}: {reason}", 255)


def material(node: Node, location: str, stdin: BinaryIO | None, fail: Callable[[str], CommandError]) -> str:
    """SHA-256 of a raw key.

    :param stdin: where ``prompt`` reads from
    :param fail: what is raised where there is no key, with the reason in libzfs's words
    """
    if location == "prompt":
        only(stdin is None or not stdin.isatty(), "a key typed at a terminal")
        data = stdin.read(KEY_SIZE + 1) if stdin else b""
        if not data:
            raise fail("encryption failure")
    elif location.startswith("file:///"):
        path = node.file(location.removeprefix("file://"))
        try:
            with open(path, "rb") as file:
                data = file.read(KEY_SIZE + 1)
        except OSError as error:
            raise fail(f"Failed to open key material file: {os.strerror(error.errno or 0)}") from None
    else:
        raise NotSimulatedError(f"zfs keylocation {location}")
    if len(data) != KEY_SIZE:
        how = "short" if len(data) < KEY_SIZE else "long"
        raise fail(f"Raw key too {how} (expected {KEY_SIZE}).")
    return hashlib.sha256(data).hexdigest()


def for_new(node: Node, name: str, settings: dict[str, str], stdin: BinaryIO | None) -> Crypt | None:
    """Encryption of a dataset that is about to be made; takes the encryption properties out of the settings.

    :param settings: canonical values
    """
    keyformat = settings.pop("keyformat", None)
    location = settings.pop("keylocation", None)
    suite = settings.pop("encryption", None)
    parent = node.find(name.rpartition("/")[0]) if "/" in name else None
    above = parent.crypt if parent else None

    def fail(reason: str) -> CommandError:
        return CommandError(f"cannot create '{name}': {reason}")

    if suite is None and above:
        suite = above.suite
    if suite in (None, "off"):
        only(not keyformat and location in (None, "none"), f"a key of {name}, which is not encrypted")
        return None
    assert suite is not None
    if keyformat is None and location is None and parent and above:
        only(node.key_loaded(parent), f"zfs create {name} below what is closed")
        return Crypt(above.root, suite, guid())
    only(keyformat == "raw", f"an encryption root with keyformat={keyformat}")
    location = location or "prompt"
    key = material(node, location, stdin, fail)
    return Crypt(0, suite, guid(), key, location)


def load(node: Node, dataset: Dataset, location: str | None, noop: bool, stdin: BinaryIO | None = None) -> None:
    """``zfs load-key`` of one dataset.

    :param location: instead of the property (-L)
    :param noop: only check the key (-n)
    """
    action = "Key load error"
    crypt = _root(dataset, action)
    if not noop and node.key_loaded(dataset):
        raise KeyFailure(action, f"Key already loaded for '{dataset.name}'.")
    key = material(node, location or crypt.keylocation, stdin, partial(KeyFailure, action))
    if key != crypt.key:
        raise KeyFailure(action, f"Incorrect key provided for '{dataset.name}'.")
    if not noop:
        node.state.keys.add((node.pool_of(dataset).guid, dataset.id))


def unload(node: Node, dataset: Dataset) -> None:
    """``zfs unload-key`` of one dataset."""
    action = "Key unload error"
    _root(dataset, action)
    pool = node.pool_of(dataset)
    only(node.key_loaded(dataset), f"zfs unload-key {dataset.name}, whose key is not loaded")
    users = [d for d in pool.datasets.values() if d.crypt and d.crypt.root == dataset.id]
    if any(node.mount(d) or d.name in node.state.busy for d in users):
        raise KeyFailure(action, f"'{dataset.name}' is busy.")
    node.state.keys.discard((pool.guid, dataset.id))


def _root(dataset: Dataset, action: str) -> Crypt:
    if dataset.crypt is None:
        raise KeyFailure(action, f"'{dataset.name}' is not encrypted.")
    only(dataset.crypt.root == dataset.id, f"a key of {dataset.name}, which inherits it")
    return dataset.crypt


def change(node: Node, dataset: Dataset, settings: dict[str, str], stdin: BinaryIO | None) -> None:
    """``zfs change-key``: a new key, and the dataset is an encryption root from then on.

    :param settings: ``keylocation`` and ``keyformat`` where given with -o
    """
    action = "Key change error"
    crypt = _changeable(dataset)
    is_root = crypt.root == dataset.id
    keyformat = settings.get("keyformat") or ("raw" if is_root else None)
    location = settings.get("keylocation") or (crypt.keylocation if is_root else "prompt")
    key = material(node, location, stdin, partial(KeyFailure, action))
    only(keyformat == "raw" and node.key_loaded(dataset), f"zfs change-key {dataset.name}: keyformat, or no key")
    old = crypt.root
    crypt.key, crypt.keylocation = key, location
    _reroot(node, dataset, old, dataset.id)
    node.state.keys.add((node.pool_of(dataset).guid, dataset.id))


def inherit(node: Node, dataset: Dataset) -> None:
    """``zfs change-key -i``: the parent's key from then on."""
    action = "Key change error"
    crypt = _changeable(dataset)
    if crypt.root != dataset.id:
        raise KeyFailure(action, "Key inheritting can only be performed on encryption roots.")
    parent = node.find(dataset.parent) if dataset.parent else None
    if not (parent and parent.crypt and node.key_loaded(parent) and node.key_loaded(dataset)):
        raise NotSimulatedError(f"zfs change-key -i {dataset.name} with an unencrypted parent, or a key not loaded")
    crypt.key, crypt.keylocation = "", "none"
    _reroot(node, dataset, dataset.id, parent.crypt.root)
    node.state.keys.discard((node.pool_of(dataset).guid, dataset.id))


def _changeable(dataset: Dataset) -> Crypt:
    if dataset.crypt is None or dataset.origin is not None:
        raise NotSimulatedError(f"zfs change-key of {dataset.name}, which is a clone, or not encrypted")
    return dataset.crypt


def _reroot(node: Node, dataset: Dataset, old: int, new: int) -> None:
    """Everything below the dataset that had the old encryption root gets the new one, and so do its clones."""
    pool = node.pool_of(dataset)
    for each in node.below(dataset):
        if each.crypt and (each.crypt.root == old or each is dataset):
            each.crypt.root = new
            for snap in each.snapshots:
                for clone in node.clones(pool, snap):
                    if clone.crypt and clone.crypt.root == old:
                        clone.crypt.root = new


def promote(origin: Dataset, clone: Dataset, everything: list[Dataset]) -> None:
    """The promoted clone becomes the encryption root where its origin was (dsl_dataset_promote_crypt_sync)."""
    if not origin.crypt or not clone.crypt or origin.crypt.root != origin.id:
        return
    clone.crypt.key, clone.crypt.keylocation = origin.crypt.key, origin.crypt.keylocation
    origin.crypt.key, origin.crypt.keylocation = "", "none"
    for dataset in everything:
        if dataset.crypt and dataset.crypt.root == origin.id:
            dataset.crypt.root = clone.id
