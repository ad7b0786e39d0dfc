"""files/once/replace-fstab.sh under a real sh."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.files.stubs import FILES

SCRIPT = FILES / "once" / "replace-fstab.sh"
OLD, NEW = "/dev/vda4 / xfs defaults 0 0\n", "/dev/vda4 / xfs defaults 0 0\n127.0.0.1:/k /data nfs4 hard 0 0\n"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def replace(path: Path, sent: str = NEW, old: str = OLD) -> subprocess.CompletedProcess[str]:
    words = ["/bin/sh", str(SCRIPT), str(path), sha256(old), sha256(NEW)]
    return subprocess.run(words, input=sent, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def fstab(tmp_path: Path) -> Path:
    path = tmp_path / "fstab"
    path.write_text(OLD)
    path.chmod(0o640)
    return path


def test_replaced_in_one_step_with_the_mode_of_before(fstab: Path) -> None:
    inode = fstab.stat().st_ino
    done = replace(fstab)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert fstab.read_text() == NEW
    assert fstab.stat().st_mode & 0o777 == 0o640
    assert fstab.stat().st_ino != inode
    assert os.listdir(fstab.parent) == ["fstab"]


@pytest.mark.parametrize(("sent", "found"), [(NEW[:-9], OLD), ("", OLD), (NEW, OLD + "# edited meanwhile\n")])
def test_nothing_changes_on_doubt(fstab: Path, sent: str, found: str) -> None:
    fstab.write_text(found)
    done = replace(fstab, sent)
    assert done.returncode == 1
    assert "left alone" in done.stderr
    assert fstab.read_text() == found
    assert os.listdir(fstab.parent) == ["fstab"]


def test_a_link_is_left_alone(fstab: Path) -> None:
    link = fstab.with_name("link")
    link.symlink_to(fstab)
    assert replace(link).returncode == 1
    assert replace(fstab.with_name("missing")).returncode == 1
    assert link.is_symlink()
    assert fstab.read_text() == OLD


def test_shellcheck() -> None:
    assert subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False).stdout == ""
