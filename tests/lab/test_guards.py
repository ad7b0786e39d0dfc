"""Commands that destroy are held against the data of the run and the disks."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lab import guards
from lab.core import Context, LabError, Store
from tests.lab.cluster import F0, Cluster
from tests.lab.zfs import test_sessions

store = test_sessions.store  # ada1 has the pool zdata, ada2 is blank

DATA = {
    "bhyve_old_dataset": "zdata/old",
    "zrepl_sink_root": "zdata/sink",
    "zrepl_jobs": [{"name": "f1_nfs", "source": "f1.lan", "dataset": "zdata/nfs"}],
}
NEVER = "nothing permits it"
BYTES = "printf x >disk"
"""Stands for: something that no tool recognises is on ada2."""

REFUSED = [
    ("newfs -L KEYS /dev/ada1", {}, "the disk is blank, or usb_format_allow"),
    ("newfs -L KEYS /dev/ada1", {"usb_format_allow": ["ada1"]}, "no tool recognises what is on it"),
    (f"{BYTES}; newfs -L KEYS /dev/ada2", {"usb_format_allow": ["ada1"]}, "the disk is blank, or usb_format_allow"),
    ("newfs -L KEYS /dev/da7", {}, "the disk is blank"),
    ("gpart destroy -F ada1", {}, NEVER),
    ("meet dd if=/dev/zero of=/dev/ada1 bs=1m count=1", {}, NEVER),
    ("zpool create zother /dev/ada1", {}, "the disk is blank"),
    (f"{BYTES}; zpool create zother /dev/ada2", {"usb_format_allow": ["ada2"]}, "the disk is blank"),
    ("zpool create -f zother /dev/ada2", {}, NEVER),
    ("zpool import -fN zdata", {}, NEVER),
    ("zpool labelclear ada1", {}, NEVER),
    ("zfs destroy -r zdata/old", {}, "bhyve_destroy_old names the host"),
    ("zfs destroy -r zdata/old", {"bhyve_destroy_old": ["f1.lan"]}, "bhyve_destroy_old names the host"),
    ("zfs destroy -r zdata/older", {"bhyve_destroy_old": ["f0.lan"]}, "bhyve_old_dataset or below it"),
    ("zfs rollback -r zdata/sink/f1/zdata/nfs@a", {}, "zrepl_rollback_replicas names the job"),
    ("zfs rollback zdata/nfs@a", {"zrepl_rollback_replicas": ["f1_nfs"]}, "the job whose replica it is"),
    ("zfs recv -s -uF zdata/sink/f1/zdata/nfs", {}, NEVER),
    ("zfs unload-key zdata/enc", {}, NEVER),
    ("zfs change-key -o keylocation=file:///wrong -o keyformat=raw zdata/enc/own", {}, "the key that it inherits"),
    ("zfs change-key -o keylocation=file:///good -o keyformat=raw zdata/enc", {}, "rotate_key names the new key"),
    ("zfs change-key -i zdata/enc/own", {"rotate_key": "f0:data"}, "rotate_key names the new key"),
]
PERMITTED = [
    ("newfs -L KEYS /dev/ada2", {}),
    (f"{BYTES}; newfs -L KEYS /dev/ada2", {"usb_format_allow": "ada2"}),
    ("gpart show ada1", {}),
    ("meet dd if=/dev/ada1 of=/dev/null bs=1m count=1", {}),
    ("zpool create -o failmode=wait -m /data zother /dev/ada2", {}),
    ("zpool import -N zdata", {}),
    ("zfs destroy -r zdata/old", {"bhyve_destroy_old": ["f0.lan"]}),
    ("zfs rollback -r zdata/sink/f1/zdata/nfs/below@a", {"zrepl_rollback_replicas": ["f1_nfs"]}),
    ("zfs recv -s -u -x encryption zdata/sink/f1/zdata/nfs", {}),
    ("zfs change-key -o keylocation=file:///good -o keyformat=raw zdata/enc/own", {}),
    ("zfs change-key -o keylocation=file:///keys/f0:data.key -o keyformat=raw zdata/enc", {"rotate_key": "f0:data"}),
]


def said(store: Store, line: str, data: dict[str, object], file: Path) -> str:
    """What is said against a command on f0, where zdata/enc/own has the key of zdata/enc."""
    location = "-o encryption=aes-256-gcm -o keylocation=file:///good -o keyformat=raw"
    for made in (f"zfs create {location} zdata/enc", "zfs create zdata/enc/own"):
        assert test_sessions.run(store, "f0", shlex.split(made)) == (b"", "")
    if line.startswith(f"{BYTES}; "):
        with open(store.disk_file("f0-ada2"), "r+b") as image:
            image.seek(-5, 2)
            image.write(b"bytes")
    file.write_text(json.dumps(DATA | data))
    return guards.objection(Context(shlex.split(line.removeprefix(f"{BYTES}; ")), store, "f0.lan"))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(guards, "DEPLOY", tmp_path / "deploy")
    return tmp_path / "deploy"


@pytest.mark.parametrize(("line", "data", "why"), REFUSED)
def test_what_nobody_has_permitted_is_refused(
    store: Store, file: Path, line: str, data: dict[str, object], why: str
) -> None:
    assert why in said(store, line, data, file)


@pytest.mark.parametrize(("line", "data"), PERMITTED)
def test_what_is_permitted_is_not(store: Store, file: Path, line: str, data: dict[str, object]) -> None:
    assert said(store, line, data, file) == ""


def test_every_guard_has_refused_something() -> None:
    lines = [line.removeprefix(f"{BYTES}; ").removeprefix("meet ") for line, _, _ in REFUSED]
    assert [guard for guard in guards.GUARDS if not any(re.fullmatch(guard, line) for line in lines)] == []


@pytest.mark.lab
def test_a_run_is_stopped_and_its_test_fails(lab: Cluster) -> None:
    typed = "newfs -L KEYS /dev/da0 && mount /dev/da0 /mnt && echo a >/mnt/a.key && echo b >/mnt/b.key"
    lab.sh(F0, f"{typed} && zpool status zroot")
    sent = "zpool destroy zroot; dd if=/dev/zero of=/dev/ada1 bs=1m count=1; mv /mnt/a.key /mnt/c.key; rm /mnt/b.key"
    with pytest.raises(LabError) as told:
        lab.pyinfra("-y", "--limit", F0, "exec", "--", f"{sent}; true")
    for what in (
        r"sent `zpool destroy zroot`; not so: nothing",
        r"sent `dd .*; not so: nothing",
        "gone from a stick: b.key: ",
    ):
        assert re.search(f"{F0}.* {what}", str(told.value))
    lab.sh(F0, "zpool list zroot")
