"""Every shell program of files/ and templates/ is portable sh and shellcheck-clean."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.files.stubs import FILES, REPOSITORY


def programs() -> list[Path]:
    """Files that say they are sh, by their first line or a shellcheck directive."""
    candidates = sorted(path for path in FILES.rglob("*") if path.is_file())
    return [p for p in candidates if p.read_text().startswith(("#!/bin/sh\n", "# shellcheck shell=sh\n"))]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("program", programs(), ids=lambda path: path.name)
def test_shellcheck(program: Path) -> None:
    command = ["shellcheck", "-x", "-s", "sh", str(program.relative_to(REPOSITORY))]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_programs_are_found() -> None:
    assert FILES / "freebsd" / "carp" in programs()
    assert FILES / "freebsd" / "f3s-storage-lib.sh" in programs()


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.name)
def test_no_assignment_reads_one_of_its_own_line(program: Path) -> None:
    """FreeBSD's sh expands all words of a line of assignments before it assigns any (`a=1 b=$a`: b is empty, seen on
    15.1); dash, which plays it here, does not."""
    found = re.findall(r"^.*\b(\w+)=[^;&|\n]* \w+=[^;&|\n]*\$\{?\1\b.*$", program.read_text(), re.MULTILINE)
    assert found == []
