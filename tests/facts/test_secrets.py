from __future__ import annotations

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.secretfile import ABSENT, SecretState
from facts.base import END
from facts.secrets import SecretFile, SecretFiles

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "output",
    [
        ["other"],
        ["file 600 root wheel"],
        ["file rw------- root wheel " + DIGEST],
        ["file 600 root wheel " + DIGEST.upper()],
        ["absent", "absent"],
        [""],
        [],
    ],
)
def test_refuses_what_it_does_not_know(output: list[str]) -> None:
    with pytest.raises(FactProcessError):
        SecretFile().process([*output, END])


def test_quotes_the_path() -> None:
    assert SecretFile().command("/etc/it's here").count(" stat-secret '/etc/it'\"'\"'s here'") == 1


def test_several_files_in_their_order() -> None:
    lines = ["absent", f"file 400 stunnel stunnel {DIGEST}"]
    assert SecretFiles().process([*lines, END]) == (ABSENT, SecretState("400", "stunnel", "stunnel", DIGEST))
    assert SecretFiles().command(["/a", "/it's"]).count(" stat-secret /a '/it'\"'\"'s'") == 1


@pytest.mark.parametrize("lines", [["absent"], ["absent", "other", END], ["absent", "file 600", END]])
def test_one_unknown_file_leaves_all_unknown(lines: list[str]) -> None:
    with pytest.raises(FactProcessError):
        SecretFiles().process(lines)
