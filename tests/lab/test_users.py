"""The lab runs as an ordinary user, too, and says in one sentence where it cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab.sandbox import NO_NAMESPACES, NO_NAMESPACES_FOR_ROOT
from tests.lab.cluster import REPOSITORY

pytestmark = pytest.mark.lab


def lab(state: Path, around: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m lab` as another user; `around` is a shell line with what becomes of it in "$@"."""
    return subprocess.run(
        ["/bin/sh", "-c", around, "sh", sys.executable, "-m", "lab", *words],
        cwd=REPOSITORY,
        env={**os.environ, "LAB_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def as_user(number: int) -> str:
    """An ordinary user: in a user namespace with this number, without capabilities after exec (capabilities(7))."""
    return f'exec unshare --user --map-user={number} --map-group={number} "$@"'


def test_an_ordinary_user_has_hosts_of_both_kinds(tmp_path: Path) -> None:
    made = lab(tmp_path / "state", as_user(1000), "up")
    assert made.returncode == 0, made.stderr
    for host in ("f0", "r0"):
        shell = lab(tmp_path / "state", as_user(1000), "shell", host, "/bin/sh", "-c", "id -u; uname -n")
        assert shell.stdout.split() == ["0", f"{host}.lan.buetow.org"], shell.stderr


LIMITED = "exec unshare --user --map-root-user /bin/sh -c '{}' sh \"$@\""
"""In a user namespace whose limits it may set."""


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        # the namespace of that user is the only one that may be made
        (f"echo 1 >/proc/sys/user/max_user_namespaces; {as_user(1001)}", NO_NAMESPACES),
        ('echo 0 >/proc/sys/user/max_mnt_namespaces; exec "$@"', NO_NAMESPACES_FOR_ROOT),
    ],
    ids=["user", "root"],
)
def test_where_no_namespaces_can_be_made_one_sentence_says_so(tmp_path: Path, limit: str, sentence: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # where no zygote listens that another test has started
        made = lab(tmp_path / "state", f"export TMPDIR={folder}; {LIMITED.format(limit)}", "up")
    assert (made.returncode, made.stdout, made.stderr) == (1, "", f"{sentence}\n")
