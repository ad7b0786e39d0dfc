"""What FreeBSD's sh takes otherwise than the sh that plays it here; for the rest `make lint` runs shellcheck."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.files.stubs import FILES


def programs() -> list[Path]:
    """Files that say they are sh, by their first line or a shellcheck directive."""
    candidates = sorted(path for path in FILES.rglob("*") if path.is_file())
    return [p for p in candidates if p.read_text().startswith(("#!/bin/sh\n", "# shellcheck shell=sh\n"))]


def test_the_programs_are_found() -> None:
    assert FILES / "freebsd" / "carp" in programs()
    assert FILES / "freebsd" / "f3s-storage-lib.sh" in programs()


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.name)
def test_no_assignment_reads_one_of_its_own_line(program: Path) -> None:
    """FreeBSD's sh expands all words of a line of assignments before it assigns any (`a=1 b=$a`: b is empty, seen on
    15.1); dash, which plays it here, does not."""
    assert re.findall(r"^.*\b(\w+)=[^;&|\n]* \w+=[^;&|\n]*\$\{?\1\b.*$", program.read_text(), re.MULTILINE) == []
