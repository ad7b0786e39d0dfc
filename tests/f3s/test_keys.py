from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from f3s.keys import (
    Copy,
    KeyFile,
    Keys,
    Plan,
    Root,
    Roots,
    encryption_roots,
    parse_stick,
    plan,
    roots_in_sight,
    set_aside,
)
from f3s.parsing import UnknownOutput
from f3s.zfs import parse_datasets
from tests.facts.recorded import ENC, GLABEL_STATUS, GLABEL_STATUS_BLANK_STICK, MOUNT_P, PLAIN, REPLICA, zfs_get

K0 = "f0:zdata"
HOSTS = ("f0", "f1", "f2")
NO_ROOTS: dict[str, Roots] = dict.fromkeys(HOSTS, ())


def key(name: str = K0, digit: str = "a", size: int = 32, readable: bool = True) -> KeyFile:
    return KeyFile(name, size, "400", "root:wheel", digit * 64 if readable else None)


def sticks(**keys: KeyFile | None) -> dict[str, Keys | None]:
    """Sticks with at most one key each; an absent host has an empty stick."""
    return {host: {found.name: found} if (found := keys.get(host)) else {} for host in HOSTS}


def used(location: str | None, keyformat: str | None = "raw") -> dict[str, Roots]:
    return {**NO_ROOTS, "f1": (Root("f1", "zdata/x", location, keyformat),)}


# -- the decision --


COPIED = Plan(copies=(Copy(K0, "f1", "a" * 64),))
UNREAD = "the datasets of f2 cannot be read"


@pytest.mark.parametrize(
    ("found", "roots", "wanted"),
    [
        (sticks(f0=key(), f1=key(), f2=key()), NO_ROOTS, Plan()),
        (sticks(f1=key()), NO_ROOTS, COPIED),
        # for that nobody needs the other sticks nor any dataset
        ({**sticks(f1=key()), "f2": None}, dict.fromkeys(HOSTS, "unread"), COPIED),
        # a key that never was is made, but not while a stick or datasets are unread
        (sticks(), NO_ROOTS, Plan(makes=(K0,))),
        ({**sticks(), "f1": None}, NO_ROOTS, Plan(makes=(K0,), doubts=("the stick of f1 cannot be read",))),
        (sticks(), {**NO_ROOTS, "f2": UNREAD}, Plan(makes=(K0,), doubts=(UNREAD,))),
    ],
)
def test_what_a_stick_gets(found: dict[str, Keys | None], roots: dict[str, Roots], wanted: Plan) -> None:
    assert plan("f0", [K0], found, roots) == wanted


def test_every_host_decides_the_same() -> None:
    assert [plan(host, [K0], sticks(), NO_ROOTS).makes for host in HOSTS] == [(K0,)] * 3


@pytest.mark.parametrize("host", HOSTS)
def test_sticks_that_disagree_stop_every_host(host: str) -> None:
    (conflict,) = plan(host, [K0], sticks(f0=key(), f1=key(digit="b")), NO_ROOTS).conflicts
    assert "the sticks disagree about f0:zdata.key: f0 (SHA-256 aaaaaaaaaaaa...), f1 (SHA-256 bbbb" in conflict
    assert "no dataset in sight names this key" in conflict


@pytest.mark.parametrize("shell", ["sh", "tcsh"])
@pytest.mark.parametrize("fails", ["", "umount", "mount", "ln"])
def test_a_file_is_set_aside_from_either_shell(tmp_path: Path, shell: str, fails: str) -> None:
    """After a step that failed none goes on, on the system disk; the stick is mounted in any case."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    calls = tmp_path / "calls"
    doas = tmp_path / "doas"
    doas.write_text(f'#!/bin/sh\necho "$*" >>"{calls}"\n[ "$1" != "{fails}" ]\n')
    doas.chmod(0o755)
    options = ["-f"] if shell == "tcsh" else []
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([shell, *options, "-c", set_aside(K0, "F3S_KEYS", "/keys")], env=environment, check=True)
    steps = [
        "umount /keys",
        "mount /dev/ufs/F3S_KEYS /keys",
        "ln /keys/f0:zdata.key /keys/f0:zdata.key.aside",
        "rm /keys/f0:zdata.key",
    ]
    done = ["umount", "mount", "ln", ""].index(fails) + 1
    assert calls.read_text().splitlines() == [*steps[:done], "service f3skeys onerestart"]


def test_whose_data_tell_which_key_is_right() -> None:
    found = plan("f0", [K0], sticks(f0=key(), f1=key(digit="b")), used("file:///keys/f0:zdata.key"))
    assert found.unfit == (K0,)
    assert "(on f1 doas zfs load-key -n zdata/x)" in found.conflicts[0]
    # a host whose stick has no such file cannot tell
    found = plan("f0", [K0], sticks(f0=key(), f2=key(digit="b")), used("file:///keys/f0:zdata.key"))
    assert "no dataset in sight" in found.conflicts[0]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (key(readable=False), "f0:zdata.key on the stick of f1 cannot be read"),
        (key(size=31), "f0:zdata.key on the stick of f1 has 31 bytes, a key has 32"),
    ],
)
def test_a_key_file_that_is_none_stops_every_host(host: str, bad: KeyFile, text: str) -> None:
    assert plan(host, [K0], sticks(f0=key(), f1=bad), NO_ROOTS).conflicts == (text,)


def test_a_key_in_use_that_no_stick_has_is_never_made_anew() -> None:
    found = plan("f0", [K0], sticks(), used("file:///keys/f0:zdata.key"))
    (conflict,) = found.conflicts
    assert "no stick that could be read has f0:zdata.key, but it encrypts zdata/x on f1" in conflict
    assert "A new key could never open that data" in conflict


def test_the_key_in_use_may_be_on_the_stick_that_is_not_read() -> None:
    found = plan("f0", [K0], {**sticks(), "f2": None}, used("file:///mnt/f0:zdata.key"))
    assert found.conflicts == ()
    assert len(found.doubts) == 2
    assert "the stick of f2 cannot be read" in found.doubts


def test_what_is_out_of_sight_is_named_with_the_way_on() -> None:
    datasets = parse_datasets(zfs_get("zdata/enc", ENC))
    assert roots_in_sight("f0", datasets, (), ["zdata/enc"]) == encryption_roots("f0", datasets.values())
    reason = roots_in_sight("f0", datasets, ("zold", "zbackup"), ["zdata/enc", "zdata/gone"])
    assert isinstance(reason, str)
    assert "f0 has disks of pools that are not imported" in reason
    assert "zold, zbackup. Import them (zpool import -N NAME)" in reason
    assert "zfskeys_datasets of f0 names what is not there: zdata/gone." in reason
    assert reason.endswith("take it out of the list: sysrc zfskeys_datasets-=zdata/gone")


@pytest.mark.parametrize(
    ("location", "keyformat", "sure"),
    [
        ("prompt", "raw", False),
        (None, None, False),
        ("https://keys/f0", "raw", False),
        ("prompt", "passphrase", True),
        ("prompt", "hex", True),
        ("file:///keys/f1:zdata.key", "raw", True),
        ("file:///keys/xf0:zdata.key", "raw", True),
    ],
)
def test_what_a_root_without_a_key_file_means(location: str | None, keyformat: str | None, sure: bool) -> None:
    found = plan("f0", [K0], sticks(), used(location, keyformat))
    assert found.conflicts == ()
    assert (found.doubts == ()) is sure
    if not sure:
        assert f"zdata/x on f1 has keylocation {location}: nothing tells which key" in found.doubts[0]


def test_an_unread_own_stick_gets_all() -> None:
    found = plan("f0", [K0, "f1:zdata"], {**sticks(f1=key()), "f0": None}, NO_ROOTS)
    assert found.copies == (Copy(K0, "f1", "a" * 64),)
    assert found.makes == ("f1:zdata",)
    assert found.doubts == ("the stick of f0 cannot be read",)


def test_encryption_roots_of_a_host() -> None:
    replica = "zdata/sink/f0/zdata/enc/nfsdata"
    lines = [
        *zfs_get("zdata", PLAIN),
        *zfs_get("zdata/enc", ENC),
        *zfs_get("zdata/enc/child", ENC),
        *zfs_get(replica, REPLICA),
    ]
    assert encryption_roots("f1", parse_datasets(lines).values()) == (
        Root("f1", "zdata/enc", "file:///keys/f0.lan.buetow.org:zdata.key", "raw"),
        Root("f1", replica, "prompt", "raw"),
    )


# -- reading a stick --

SHA = "43ed16443eaec3ea2cbe236d0e1296e1ee0da76f6dc97a6f20d781f5585a938e"
FILE = "Regular File|400|root:wheel|32|./f0.lan.buetow.org:zdata.key"
DIGEST = f"{SHA} ./f0.lan.buetow.org:zdata.key"


def output(
    *files: str,
    digest: str = DIGEST,
    mounts: str = MOUNT_P,
    glabel: str = GLABEL_STATUS,
    device: bool = True,
    folder: str = "/keys",
) -> list[str]:
    parts = {"folder": [folder], "device": ["present"] if device else [], "glabel": glabel.splitlines()}
    parts |= {"mounts": mounts.splitlines(), "files": [*files], "sha256": [digest]}
    return [line for name, lines in parts.items() for line in (f"=== {name}", *lines)]


def test_a_mounted_stick() -> None:
    stick = parse_stick(output(FILE, "Regular File|600|root:wheel|12|./.x.key.new"), "F3S_KEYS", "/keys")
    name = "f0.lan.buetow.org:zdata"
    assert stick.keys == {name: KeyFile(name, 32, "400", "root:wheel", SHA)}
    assert stick.keys[name].protected
    assert (stick.disk, stick.unfinished) == ("da0", (".x.key.new",))
    assert stick.mount is not None
    assert not stick.mount.read_only


@pytest.mark.parametrize(
    ("kind", "digest"),
    [("Regular File", "x ./other.key"), ("Directory", f"{SHA} ./a.key"), ("Symbolic Link", f"{SHA} ./a.key")],
)
def test_key_files_that_cannot_be_read(kind: str, digest: str) -> None:
    line = f"{kind}|400|root:wheel|32|./a.key"
    keys = parse_stick(output(line, digest=digest), "F3S_KEYS", "/keys").keys
    assert keys is not None
    assert keys["a"].sha256 is None


@pytest.mark.parametrize(("mode", "owner"), [("440", "root:wheel"), ("400", "paul:wheel"), ("600", "root:wheel")])
def test_key_files_that_others_can_read_or_change(mode: str, owner: str) -> None:
    assert not KeyFile("a", 32, mode, owner, SHA).protected


def test_a_stick_that_is_not_mounted_hides_its_keys() -> None:
    mounts = "\n".join(MOUNT_P.splitlines()[:3])
    stick = parse_stick(output(FILE, mounts=mounts), "F3S_KEYS", "/keys")
    assert (stick.disk, stick.mount, stick.keys) == ("da0", None, None)


def test_a_stick_that_was_made_by_hand_has_keys_and_no_label() -> None:
    by_hand = output(FILE, glabel=GLABEL_STATUS_BLANK_STICK, device=False, mounts="/dev/da0 /keys ufs rw 0 2")
    stick = parse_stick(by_hand, "F3S_KEYS", "/keys")
    assert (stick.disk, stick.unlabelled) == (None, "da0")
    assert stick.keys is not None
    assert list(stick.keys) == ["f0.lan.buetow.org:zdata"]
    # beside one that has the label, or with another file system, it is a stranger
    for line in (
        output(FILE, mounts="/dev/da1 /keys ufs rw 0 2"),
        output(FILE, device=False, mounts="/dev/da0 /keys msdosfs rw 0 0", glabel=GLABEL_STATUS_BLANK_STICK),
        output(FILE, device=False, mounts="/dev/ufs/KEYS /keys ufs rw 0 2", glabel=GLABEL_STATUS_BLANK_STICK),
    ):
        stranger = parse_stick(line, "F3S_KEYS", "/keys")
        assert (stranger.keys, stranger.unlabelled) == (None, None)


def test_files_below_the_mount_point_of_no_stick_are_no_keys() -> None:
    """Another file system on /keys, or ours covered by another."""
    for line in ("/dev/da1 /keys msdosfs rw 0 0", MOUNT_P + "\n/dev/da1 /keys msdosfs rw 0 0"):
        stick = parse_stick(output(FILE, mounts=line), "F3S_KEYS", "/keys")
        assert stick.keys is None
        assert stick.mount is not None
        assert stick.mount.device == "da1"


def test_a_stick_in_another_place() -> None:
    stick = parse_stick(output(mounts=MOUNT_P.replace("/keys", "/mnt")), "F3S_KEYS", "/keys")
    assert stick.keys is None
    assert stick.elsewhere is not None
    assert stick.elsewhere.directory == "/mnt"


def test_no_stick() -> None:
    blank = output(glabel=GLABEL_STATUS_BLANK_STICK, device=False, mounts="/dev/ada0p2 / ufs rw 1 1")
    assert parse_stick(blank, "F3S_KEYS", "/keys").disk is None
    # in use and so not in the list of labels
    blank = output(glabel=GLABEL_STATUS_BLANK_STICK)
    assert parse_stick(blank, "F3S_KEYS", "/keys").disk == "ufs/F3S_KEYS"


def test_a_stick_that_was_pulled_while_it_was_mounted() -> None:
    """What its mount still shows is no longer on any stick that anybody could name."""
    stick = parse_stick(output(FILE, glabel=GLABEL_STATUS_BLANK_STICK, device=False), "F3S_KEYS", "/keys")
    assert (stick.disk, stick.keys, stick.pulled("F3S_KEYS")) == (None, None, True)
    assert not parse_stick(output(FILE), "F3S_KEYS", "/keys").pulled("F3S_KEYS")


@pytest.mark.parametrize(
    "lines",
    [[], ["=== device"], output("x"), output("Regular File|400|a|x|./a.key"), output(FILE, folder="/var/empty")],
)
def test_unknown_output(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_stick(lines, "F3S_KEYS", "/keys")
