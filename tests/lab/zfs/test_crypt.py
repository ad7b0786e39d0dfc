"""Encryption roots, keys and what they allow, as observed on FreeBSD 13.2 (observations.md, transcript section zfs)."""

from __future__ import annotations

import re

import pytest

from lab.core import CommandError
from lab.zfs import crypt, datasets, mounting, settings, snapshots, space, values
from lab.zfs.model import Dataset, Node
from tests.lab.zfs.conftest import RAW, Lab, make, make_root


def value(node: Node, dataset: Dataset, name: str) -> tuple[str, str] | None:
    return values.get(space.Space(node), dataset, dataset, name)


def lock(node: Node, dataset: Dataset) -> None:
    mounting.unmount_all(node, node.below(dataset))
    crypt.unload(node, dataset)


def test_an_encryption_root_and_its_child(lab: Lab) -> None:
    root = make_root(lab.f0, "zdata/enc")
    child = make(lab.f0, "zdata/enc/child")

    assert value(lab.f0, root, "encryption") == ("aes-256-gcm", "-")
    assert value(lab.f0, root, "keylocation") == ("file:///keys/good.key", "local")
    assert value(lab.f0, child, "encryptionroot") == ("zdata/enc", "-")
    assert value(lab.f0, child, "keylocation") == ("none", "default")
    assert value(lab.f0, child, "keystatus") == ("available", "-")


def test_an_unencrypted_dataset_has_no_key_status(lab: Lab) -> None:
    plain = make(lab.f0, "zdata/plain")
    assert value(lab.f0, plain, "encryption") == ("off", "default")
    assert value(lab.f0, plain, "encryptionroot") is None
    assert value(lab.f0, plain, "keystatus") is None


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({**RAW, "keylocation": "file:///keys/short.key"}, "Raw key too short (expected 32)."),
        (
            {**RAW, "keylocation": "file:///keys/none.key"},
            "Failed to open key material file: No such file or directory",
        ),
        ({"encryption": "on"}, "Keyformat required for new encryption root."),
        (
            {"keyformat": "raw", "keylocation": "file:///keys/good.key"},
            "Encryption must be turned on to set encryption properties.",
        ),
        ({"encryption": "rot13"}, "'encryption' must be one of 'on | off | aes-128-ccm | aes-192-ccm | aes-256-ccm"),
    ],
)
def test_wrong_encryption_makes_no_dataset(lab: Lab, props: dict[str, str], message: str) -> None:
    with pytest.raises(CommandError) as failure:
        make(lab.f0, "zdata/enc", **props)
    assert failure.value.message.startswith(f"cannot create 'zdata/enc': {message}")
    assert lab.f0.find("zdata/enc") is None


def test_a_child_of_a_locked_dataset_cannot_be_made(lab: Lab) -> None:
    lock(lab.f0, make_root(lab.f0, "zdata/enc"))
    with pytest.raises(CommandError, match="encryption root's key is not loaded or provided"):
        make(lab.f0, "zdata/enc/child")


def test_load_key(lab: Lab) -> None:
    root = make_root(lab.f0, "zdata/enc")
    with pytest.raises(CommandError, match=re.escape("Key load error: Key already loaded for 'zdata/enc'.")) as loaded:
        crypt.load(lab.f0, root, None, False)
    assert loaded.value.rc == 255
    with pytest.raises(CommandError, match=re.escape("Key unload error: 'zdata/enc' is busy.")):
        crypt.unload(lab.f0, root)
    lock(lab.f0, root)
    with pytest.raises(CommandError, match=re.escape("Key unload error: Key already unloaded for 'zdata/enc'.")):
        crypt.unload(lab.f0, root)
    with pytest.raises(CommandError, match=re.escape("Key load error: Incorrect key provided for 'zdata/enc'.")):
        crypt.load(lab.f0, root, "file:///keys/other.key", False)
    with pytest.raises(CommandError, match="cannot mount 'zdata/enc': encryption key not loaded"):
        mounting.mount(lab.f0, root)
    crypt.load(lab.f0, root, None, True)
    assert not lab.f0.key_loaded(root)
    crypt.load(lab.f0, root, None, False)
    assert lab.f0.key_loaded(root)


def test_a_child_has_no_key_of_its_own(lab: Lab) -> None:
    make_root(lab.f0, "zdata/enc")
    child = make(lab.f0, "zdata/enc/child")
    with pytest.raises(CommandError, match="Keys must be loaded for encryption root of 'zdata/enc/child'"):
        crypt.load(lab.f0, child, None, False)
    with pytest.raises(CommandError, match="keylocation may only be set on encryption roots"):
        settings.change(lab.f0, child, {"keylocation": "file:///keys/good.key"})
    with pytest.raises(CommandError, match="Key inheritting can only be performed on encryption roots"):
        crypt.inherit(lab.f0, child)


def test_change_key_makes_a_root_of_what_is_below(lab: Lab) -> None:
    root = make_root(lab.f0, "zdata/enc")
    child = make(lab.f0, "zdata/enc/child")
    grandchild = make(lab.f0, "zdata/enc/child/grandchild")
    crypt.change(lab.f0, child, {"keyformat": "raw", "keylocation": "file:///keys/other.key"}, None)
    assert lab.f0.encryption_root(grandchild) is child
    assert value(lab.f0, child, "keylocation") == ("file:///keys/other.key", "local")

    crypt.inherit(lab.f0, child)
    assert lab.f0.encryption_root(grandchild) is root
    assert value(lab.f0, child, "keylocation") == ("none", "default")


def test_change_key_needs_the_old_key_and_a_keyformat(lab: Lab) -> None:
    root = make_root(lab.f0, "zdata/enc")
    child = make(lab.f0, "zdata/enc/child")
    with pytest.raises(CommandError, match=re.escape("Keyformat required for new encryption root.")):
        crypt.change(lab.f0, child, {"keylocation": "file:///keys/good.key"}, None)
    lock(lab.f0, root)
    with pytest.raises(CommandError, match=re.escape("Key must be loaded.")):
        crypt.change(lab.f0, root, {}, None)


def test_a_child_cannot_leave_its_encryption_root(lab: Lab) -> None:
    make_root(lab.f0, "zdata/enc")
    make(lab.f0, "zdata/enc/child")
    with pytest.raises(CommandError, match="cannot move encrypted child outside of its encryption root"):
        datasets.rename(lab.f0, "zdata/enc/child", "zdata/child")


def test_a_promoted_clone_takes_over_the_encryption_root(lab: Lab) -> None:
    make_root(lab.f0, "zdata/enc")
    old = make_root(lab.f0, "zdata/enc/data")
    snapshots.take(lab.f0, ["zdata/enc/data@one"])
    mounting.unmount_all(lab.f0, [old])
    snapshots.clone(lab.f0, "zdata/enc/data@one", "zdata/enc/new", {"canmount": "noauto"})
    new = lab.f0.dataset("zdata/enc/new")
    assert lab.f0.encryption_root(new) is old

    snapshots.promote(lab.f0, "zdata/enc/new")

    assert lab.f0.encryption_root(old) is new
    assert value(lab.f0, new, "keylocation") == ("file:///keys/good.key", "local")
    assert [s.name for s in new.snapshots] == ["one"]
    assert value(lab.f0, old, "origin") == ("zdata/enc/new@one", "-")
