"""Files with two owners: the deploy's part among the operator's lines, which stay byte for byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from f3s.parsing import UnknownOutput
from f3s.secretfile import ABSENT, SecretState, parse_state

_BY = re.compile("[Ww]ritten by the (f3s )?deploy")
_BEGIN = "{} BEGIN f3s: written by the deploy, what is changed up to END is lost"
_END = "{} END f3s"


class NoPlace(ValueError):
    """The operator's part of a file and the deploy's exclude each other: which line, why, and what to do."""


@dataclass(frozen=True)
class TextFile:
    """A file to the byte. `state` is `ABSENT` and `text` is empty where there is none."""

    state: SecretState = ABSENT
    text: str = ""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parse_text_file(lines: Sequence[str]) -> TextFile:
    """Read the answer of stat-secret.sh and the bytes of the file in hex (od(1)).

    Raises UnknownOutput where it is no plain file, where that is not UTF-8 text, and where it changed in between.
    """
    if not lines:
        raise UnknownOutput("nothing is said of the file")
    state = parse_state(lines[0])
    text = from_hex(lines[1:])
    if state != ABSENT and state.sha256 != digest(text):
        raise UnknownOutput("the file changed while it was read")
    return TextFile(state, text)


def from_hex(lines: Iterable[str]) -> str:
    """The text of a file from the output of od(1); raises UnknownOutput where that is not UTF-8 text in hex."""
    try:
        return bytes.fromhex("".join(lines)).decode()
    except ValueError as error:
        raise UnknownOutput(f"the file is not UTF-8 text: {error}") from error


def is_ours(text: str, path: str) -> bool:
    """Whether the deploy has written this file, or into it, before: all of its texts say so."""
    return _BY.search(text) is not None or f"Installed as {path}" in text


def block(lines: Iterable[str], comment: str = "#") -> str:
    """Lines of the deploy, with the marks around them by which it finds them again."""
    return "\n".join([_BEGIN.format(comment), *lines, _END.format(comment), ""])


def split_at_blocks(text: str, comment: str = "#") -> list[str]:
    """The text around the deploy's blocks: one piece more than there are blocks.

    Raises NoPlace where a block has no end.
    """
    begin, end = (re.escape(mark.format(comment)) for mark in (_BEGIN, _END))
    pieces = re.split(rf"^{begin}\n(?:.*\n)*?{end}(?:\n|\Z)", text, flags=re.MULTILINE)
    for piece in pieces:
        if stray := re.search(rf"^({begin}|{end})$", piece, re.MULTILINE):
            raise NoPlace(f"`{stray[0]}` has not its other half: remove the rest of that block")
    return pieces


def ended(text: str) -> str:
    """The text, with a newline at its end where it has any."""
    return text if text.endswith("\n") or not text else f"{text}\n"
