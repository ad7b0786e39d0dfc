"""Disks that cannot be read, and the deploy on a host with one."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from lab import actions
from tests.lab.cluster import F0, F1, F2, Cluster

pytestmark = pytest.mark.lab
STICK = "newfs -L F3S_KEYS /dev/da0 >/dev/null; mkdir -p /keys; mount /dev/ufs/F3S_KEYS /keys"
READS = (
    "zdb -l /dev/da0",
    "dd if=/dev/da0 bs=1m count=4 of=/dev/null",
    "mount -r /dev/ufs/F3S_KEYS /mnt",
    "sha256 -r /keys/a",
    "cat /keys/a",
)


@pytest.mark.parametrize("read", READS)
def test_a_read_fails_or_never_ends(lab: Cluster, read: str) -> None:
    lab.sh(F0, f"{STICK}; echo key >/keys/a")
    actions.unreadable(lab.store, "f0", "errors")
    failed = lab.attempt(F0, read)
    assert failed.rc != 0
    assert re.search("Input/output error|failed to read label 3", failed.out + failed.err)
    actions.unreadable(lab.store, "f0")
    # a reader that is bounded by itself, as it cannot be ended
    began, then = time.monotonic(), lab.hosts.now
    script = f"mkfifo /tmp/end; exec 9<>/tmp/end; ({read}; echo over >&9) >/dev/null 2>&1 & timeout 30 head -n 1 <&9"
    assert lab.attempt(F0, script).out == ""
    assert time.monotonic() - began < 30
    assert 30 <= lab.hosts.now - then < 40
    assert lab.attempt(F0, "glabel status; ls /keys; mount").rc == 0
    actions.unreadable(lab.store, "f0", "no")
    assert lab.attempt(F0, "cat /keys/a").out == "key\n"


@pytest.fixture(scope="module")
def with_keys(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three hosts with all keys on their sticks."""
    cluster = installed.copy(tmp_path_factory.mktemp("keys") / "state")
    cluster.deploy("usb_keys")
    return cluster


@pytest.fixture
def keyed(with_keys: Cluster, tmp_path: Path) -> Cluster:
    return with_keys.copy(tmp_path / "state")


SILENT = "the stick F3S_KEYS (da0) did not answer within 60 s (asked last: sha256)"


def said(output: str) -> str:
    return " ".join(output.split())


def test_a_run_ends_with_a_word_and_the_other_hosts_get_their_keys(keyed: Cluster) -> None:
    keyed.lab("unreadable", "f0")
    keyed.sh(F1, f"mount -u -o rw /keys; rm /keys/{F1}:zdata.key; mount -u -o ro /keys")
    then = keyed.hosts.now
    run = keyed.pyinfra("tasks/usb_keys.py", "-y", "--limit", F0)
    assert run.rc != 0
    assert f"{F0}: {SILENT}. `dmesg` there shows its errors" in said(run.output)
    assert keyed.hosts.now - then < 300
    # f0 is asked for what f1 lacks, and f2 has it as well
    run = keyed.pyinfra("tasks/usb_keys.py", "-y", "--limit", F1, "--limit", F2)
    assert run.changed == [f"{F1}: USB keys: every key on every stick"], run.output
    assert f"{F0}: {SILENT}" in said(run.output)


def test_verify_names_the_stick_and_the_others_are_seen(keyed: Cluster) -> None:
    keyed.lab("unreadable", "f0")
    then = keyed.hosts.now
    run = keyed.pyinfra("tasks/verify.py", "-y", "--limit", F0, "--limit", F2)
    assert run.rc == 1
    assert re.search(rf"stick +{F0} +UNKNOWN +the stick F3S_KEYS \(da0\) did not answer within 60 s", run.output)
    assert re.search(rf"stick +{F2} +ok +6 keys on /keys", run.output)
    assert keyed.hosts.now - then < 300


@pytest.mark.parametrize("how", ["hangs", "errors"])
def test_a_disk_that_cannot_be_read_is_not_blank(lab: Cluster, how: str) -> None:
    actions.unreadable(lab.store, "f0", how)
    run = lab.pyinfra("tasks/usb_keys.py", "-y", "--limit", F0)
    assert run.rc != 0
    words = {"hangs": "the disk da0 did not answer within 60 s (asked last: fstyp)", "errors": "da0 was not formatted"}
    assert f"{F0}: {words[how]}" in said(run.output)
    assert lab.sh(F0, "ls /dev/ufs") == ""


@pytest.mark.parametrize("how", ["hangs", "errors"])
def test_the_boot_goes_on(keyed: Cluster, how: str) -> None:
    keyed.lab("crash", "f0")
    keyed.lab("unreadable", "f0", how)
    then = keyed.hosts.now
    keyed.lab("boot", "f0")
    assert keyed.hosts.host(F0).up
    assert keyed.hosts.now - then < 60 + 200
    words = {"hangs": "did not answer within 120 s (fsck_ufs)", "errors": "is damaged"}
    assert f"/dev/ufs/F3S_KEYS {words[how]}" in keyed.log(F0, "console.log")
    assert "/keys" not in keyed.sh(F0, "mount")
