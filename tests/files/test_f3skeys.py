"""files/freebsd/f3skeys, the rc.d script, under a real sh with a small rc.subr and played commands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost

LABEL = "/dev/ufs/F3S_KEYS"


class Boot:
    def __init__(self, base: Path, stick: bool = True) -> None:
        self.host = StubHost(base)
        self.host.write("/etc/rc.conf", 'f3skeys_enable="YES"\nf3skeys_wait=0\n')
        self.device = self.host.path(LABEL)
        self.keys = self.host.path("/keys")
        if stick:
            self.host.write(LABEL, "")
        self.host.state("mounts", "/dev/ada0p2\t\t/\t\t\tufs\trw\t\t1 1\n")
        self.host.command(
            "mount",
            'case $1 in\n-p) cat "$STATE/mounts" ;;\n'
            '-r) [ ! -e "$STATE/no-mount" ] || exit 1\n'
            '    printf "%s\\t%s\\tufs\\tro\\t0 0\\n" "$2" "$3" >>"$STATE/mounts" ;;\nesac',
        )
        self.host.command("umount", 'for last; do :; done; sed -i "\\#$last#d" "$STATE/mounts"')
        self.host.command("fsck_ufs", '[ ! -e "$STATE/damaged" ]')
        self.host.command("sleep", '[ ! -e "$STATE/late" ] || : >"$(cat "$STATE/late")"')
        self.program = self.host.rc_script("f3skeys")
        self.program.write_text(self.program.read_text().replace('"/dev/ufs/', f'"{self.host.root}/dev/ufs/'))

    def service(self, verb: str) -> Result:
        return self.host.run(self.program, verb)


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return Boot(tmp_path)


def test_the_order_of_the_boot() -> None:
    """After the root file system, which unmounts everything else first, and before the keys are loaded."""
    assert "\n# PROVIDE: f3skeys\n# REQUIRE: root\n# BEFORE: zfskeys\n" in (FILES / "freebsd" / "f3skeys").read_text()


def test_the_stick_is_checked_and_mounted_read_only_once_until_it_is_stopped(boot: Boot) -> None:
    result = boot.service("start")
    assert (result.rc, result.err) == (0, "")
    assert boot.host.calls("fsck_ufs") == [["-p", str(boot.device)]]
    assert boot.host.calls("mount")[-1] == ["-r", str(boot.device), str(boot.keys)]
    status = boot.service("status")
    assert (status.rc, status.out) == (0, f"{boot.device} is mounted on {boot.keys} (ro).\n")
    again = boot.service("start")
    assert (again.rc, len(boot.host.calls("fsck_ufs"))) == (0, 1)
    assert "mounted on" in again.out
    assert boot.service("stop").rc == 0
    assert boot.host.calls("umount") == [[str(boot.keys)]]
    assert boot.service("status").rc == 1


def test_a_stick_that_is_found_late(tmp_path: Path) -> None:
    boot = Boot(tmp_path, stick=False)
    boot.device.parent.mkdir(parents=True)
    boot.host.state("late", str(boot.device))
    boot.host.write("/etc/rc.conf", "f3skeys_enable=YES\nf3skeys_wait=3\n")
    assert boot.service("start").rc == 0
    assert boot.host.calls("sleep")[:2] == [["1"], ["0.1"]]


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lambda boot: boot.device.unlink(), "WARNING: no stick with the label F3S_KEYS, keys are not available"),
        (lambda boot: boot.host.state("damaged", ""), "damaged, keys are not available; run: fsck_ufs -y DEVICE"),
        (lambda boot: boot.host.state("no-mount", ""), "could not be mounted"),
        (lambda boot: boot.host.state("mounts", f"/dev/da1\t{boot.keys}\tufs\trw\t0 0\n"), "is taken by /dev/da1"),
    ],
    ids=["missing", "damaged", "not mounted", "taken"],
)
def test_a_stick_that_brings_no_keys(boot: Boot, breaks: Callable[[Boot], object], says: str) -> None:
    breaks(boot)
    result = boot.service("start")
    assert (result.rc, says.replace("DEVICE", str(boot.device)) in result.err) == (1, True), result.err
    assert boot.service("status").rc == 1
    assert boot.service("stop").rc == 0
    tried = [["-r", str(boot.device), str(boot.keys)]] if "could" in says else []
    assert [call for call in boot.host.calls("mount") if call[0] == "-r"] == tried
    assert boot.host.calls("fsck_ufs") == ([] if "no stick" in says or "taken" in says else [["-p", str(boot.device)]])
    assert boot.host.calls("umount") == []


def test_another_label_and_mount_point(tmp_path: Path) -> None:
    boot = Boot(tmp_path)
    other = boot.host.write("/dev/ufs/OTHER", "")
    place = boot.host.path("/mnt/k")
    boot.host.write("/etc/rc.conf", f"f3skeys_label=OTHER\nf3skeys_mountpoint={place}\n")
    assert boot.service("onestart").rc == 0
    assert boot.host.calls("mount")[-1] == ["-r", str(other), str(place)]


def test_a_stick_that_was_pulled_is_told_and_its_mount_goes(boot: Boot) -> None:
    boot.service("start")
    boot.device.unlink()
    status = boot.service("status")
    assert (status.rc, status.out) == (1, f"{boot.device} is gone, what is mounted on {boot.keys} cannot be read.\n")
    result = boot.service("start")
    assert result.rc == 1
    assert "WARNING: no stick with the label F3S_KEYS" in result.err
    assert boot.host.calls("umount") == [["-f", str(boot.keys)]]
    assert str(boot.keys) not in boot.host.state("mounts")
    boot.host.write(LABEL, "")
    assert boot.service("start").rc == 0
    assert boot.service("status").rc == 0


def test_a_stick_that_is_in_use_is_taken_away_by_force(boot: Boot) -> None:
    """A restart ignores a stop that failed, and its start would take a dead mount for the stick's."""
    boot.service("start")
    boot.host.command("umount", '[ "$1" = -f ] || exit 1; sed -i "\\#$2#d" "$STATE/mounts"')
    assert boot.service("stop").rc == 0
    assert boot.service("status").rc == 1


@pytest.mark.parametrize("hangs", ["fsck_ufs", "mount", "f3skeys_read"])
def test_a_stick_that_does_not_answer_lets_the_boot_go_on(boot: Boot, hangs: str) -> None:
    """zfskeys would wait for ever for a key that cannot be read, so that is tried here."""
    boot.host.write("/etc/rc.conf", "f3skeys_enable=YES\nf3skeys_answer=30\n")
    if hangs == "f3skeys_read":
        boot.keys.mkdir()
        os.mkfifo(boot.keys / "f0:zdata.key")
        boot.program.write_text(boot.program.read_text().replace('[ ! -f "$key" ]', '[ ! -e "$key" ]'))
    elif hangs == "mount":
        table = 'case $1 in\n-p) cat "$STATE/mounts" ;;\n-r) exec /bin/sleep 30 ;;\nesac'
        boot.host.command("mount", table)
    else:
        boot.host.command(hangs, "exec /bin/sleep 30")
    began = time.monotonic()
    result = boot.service("start")
    assert time.monotonic() - began < 20
    assert result.rc == 1
    assert f"{boot.device} did not answer within 30 s ({hangs}), keys are not available" in result.err
    assert "service f3skeys onerestart" in result.err
    assert "F3S_KEYS" not in boot.host.state("mounts")
    if hangs == "f3skeys_read":
        os.close(os.open(boot.keys / "f0:zdata.key", os.O_RDWR))  # or the one who reads would wait for ever


def test_keys_are_read_before_anybody_needs_them(boot: Boot) -> None:
    boot.host.write("/keys/f0:zdata.key", "x" * 32)
    (boot.keys / "f1:zdata.key").symlink_to("/nowhere")
    assert boot.service("start").rc == 0
    boot.service("stop")
    boot.host.write("/keys/f2:zdata.key", "", mode=0)
    result = boot.service("start")
    assert result.rc == 0
    assert ("some keys on" in result.err) is (os.geteuid() != 0)
