"""Facts of disks that do not answer: bounded, with the name of who did not, and never taken for an answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from f3s.keys import SILENT_STICK
from f3s.parsing import NoAnswer
from facts import base
from facts.base import DeviceFact
from facts.disks import Probe
from facts.usb import KeyStick
from facts.zfs import ImportablePools, KeyChecks
from tests.facts.recorded import GLABEL_STATUS
from tests.shell import lines_of, shell

# A process that waits for a disk survives SIGKILL, and timeout(1) waits for it
DEAF = '[ "$1" != -k ] || { shift 3; exec "$@"; }\nexec /usr/bin/timeout "$@"'
HANGS = "echo $$ >$0.pid; sleep 30"


def ask(fact: DeviceFact[object], built: str, folder: Path, **programs: str) -> object:
    """The fact's answer from a host whose programs are these."""
    began = time.monotonic()
    said = lines_of(built, folder, **programs)
    assert time.monotonic() - began < 12, "what hangs holds the output, and ssh waits for that"
    return fact.process(said)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "DEVICE_SECONDS", 1)


@pytest.mark.parametrize("timeout", [{}, {"timeout": DEAF}])
def test_a_disk_whose_labels_cannot_be_read(tmp_path: Path, timeout: dict[str, str]) -> None:
    """Seen: `zdb -l` of a stick never ended, and the run stood still without a word."""
    probe = Probe()
    info = "printf '\\t1048576\\t# mediasize in bytes\\n'"
    fine = dict.fromkeys(("geom", "gpart", "fstyp"), "echo fine")
    said = ask(probe, probe.command("da0"), tmp_path, diskinfo=info, zdb=HANGS, **fine, **timeout)
    assert isinstance(said, NoAnswer)
    assert said.reason == "the disk da0 did not answer within 1 s (asked last: zdb)"
    assert "`dmesg` there shows its errors" in said.next_step


def test_what_can_be_ended_is_ended(tmp_path: Path) -> None:
    test_a_disk_whose_labels_cannot_be_read(tmp_path, {})
    pid = int((tmp_path / "zdb.pid").read_text())
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_stick_whose_keys_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "f0:zdata.key").touch()
    stick = KeyStick()
    built = stick.command("F3S_KEYS", str(tmp_path)).replace("device=/dev/ufs/F3S_KEYS", f"device={tmp_path}")
    shown = f"cat <<'E'\n{GLABEL_STATUS}\nE"
    said = ask(stick, built, tmp_path, glabel=shown, mount=":", stat=":", sha256=HANGS)
    assert said == NoAnswer("the stick F3S_KEYS (da0) did not answer within 1 s (asked last: sha256)", SILENT_STICK)


def test_a_key_check_that_does_not_end(tmp_path: Path) -> None:
    checks = KeyChecks()
    built = checks.command((("zdata/enc", "file:///keys/f0:zdata.key"), ("zdata/x", "file:///keys/f0:zdata.key")))
    said = ask(checks, built, tmp_path, zfs=f"[ $1 = list ] || {{ {HANGS}; }}")
    assert isinstance(said, NoAnswer)
    assert said.reason == (
        "the stick with /keys/f0:zdata.key, or a pool did not answer within 1 s (asked last: zdata/enc)"
    )


def test_a_search_for_pools_that_does_not_end(tmp_path: Path) -> None:
    pools = ImportablePools()
    said = ask(pools, pools.command(), tmp_path, zpool=HANGS)
    assert isinstance(said, NoAnswer)
    assert said.reason == "a disk that `zpool import` looks at did not answer within 1 s"


def test_a_question_that_fails_is_no_silence(tmp_path: Path) -> None:
    """And its status is not lost: pyinfra tells a failed command by that."""
    built = KeyStick().command("F3S_KEYS", str(tmp_path))
    ran = shell(built, tmp_path, glabel="exit 1")
    assert ran.returncode != 0
    assert base.SILENT not in ran.stdout
