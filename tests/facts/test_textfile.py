"""A file to the byte, asked as a shell asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.textfile import TextFile
from facts.textfile import TextFileOf
from tests.shell import shell


def ask(path: Path) -> TextFile | None:
    fact = TextFileOf()
    return fact.process(shell(fact.command(str(path))).stdout.splitlines())


@pytest.mark.parametrize("text", ["", "a\n", "no newline", "tab\t \r\n\n\n", "ümläut \x0c\n" * 40])
def test_no_byte_is_lost(tmp_path: Path, text: str) -> None:
    path = tmp_path / "it's a file"
    path.write_bytes(text.encode())
    path.chmod(0o640)
    found = ask(path)
    assert found is not None
    assert (found.text, found.state.mode) == (text, "640")


def test_no_file_and_what_is_none(tmp_path: Path) -> None:
    assert ask(tmp_path / "none") == TextFile()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "link").symlink_to(tmp_path / "binary")
    for name in ("binary", "link", "."):
        with pytest.raises(FactProcessError):
            ask(tmp_path / name)
