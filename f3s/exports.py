"""/etc/exports with two owners, see exports(5): a block of the deploy's, every other line as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from f3s.nfs import LOOPBACK
from f3s.textfile import NoPlace, block, ended, split_at_blocks


@dataclass(frozen=True)
class Line:
    """A line that names something, with the lines that continue it.

    + text: with its newlines
    + paths: what it exports; of a `V4:` line the root
    + root: whether it is such a line
    + local: whether it is for loopback alone
    """

    text: str
    paths: tuple[str, ...]
    root: bool
    local: bool


def lines(text: str) -> Iterator[Line | str]:
    """The lines of an exports file in order; comments and empty ones as text.

    A backslash at the end continues a line, a `#` at its beginning makes it a comment (mountd.c, get_line).
    """
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if not line.rstrip("\n").endswith("\\"):
            yield _line(pending)
            pending = ""
    if pending:
        yield _line(pending)


def _line(text: str) -> Line | str:
    words = text.replace("\\\n", " ").split()
    if not words or words[0].startswith("#"):
        return text
    root = words[0] == "V4:"
    paths = tuple(word for word in words if word.startswith("/"))
    return Line(text, paths, root, _local([word for word in words[root:] if not word.startswith("/")]))


def _local(words: Sequence[str]) -> bool:
    """Whether the clients that a line names are 127.0.0.1 and no others."""
    clients = []
    rest = iter(words)
    for word in rest:
        name, has_value, value = word.partition("=")
        if name == "-network":
            clients.append(value if has_value else next(rest, ""))
        elif name == "-mask" and not has_value:
            next(rest, "")
        elif not word.startswith("-"):
            clients.append(word)
    return bool(clients) and all(client.removesuffix("/32") in (LOOPBACK, "localhost") for client in clients)


def merged(before: str, export: str, mountpoint: str) -> str:
    """The text of /etc/exports with the deploy's block in its place, or at the end.

    Lines outside that export the same data to loopback, as earlier versions and how-tos have them, are what the block
    replaces; they go. All others stay.

    export: what is exported, the root of NFSv4; mountpoint: of the dataset that is seen there

    Raises NoPlace where the operator has another root: mountd takes the first alone (mountd.c, `different V4 dirpath`).
    """
    pieces = []
    for piece in split_at_blocks(before):
        kept = ""
        for line in lines(piece):
            if isinstance(line, str):
                kept += line
            elif line.root and line.paths not in ((export,), (mountpoint,)):
                raise NoPlace(
                    f"its line `{line.text.strip()}` makes {' '.join(line.paths)} the root of NFSv4. There is only "
                    f"one, and this deploy needs {export}. Take the line out: NFSv3 clients need none. NFSv4 clients "
                    "of your own have to mount with vers=3 then, or from another host"
                )
            elif not (line.root or (line.local and {*line.paths} <= {export, mountpoint})):
                kept += line.text
        pieces.append(kept)
    ours = block(
        (f"V4: {export} -sec=sys", f"{export} -alldirs -maproot=root -network {LOOPBACK} -mask 255.255.255.255")
    )
    first, *rest = pieces
    return ended(first) + ours + "".join(rest)


def others(text: str) -> tuple[str, ...]:
    """What is exported outside the deploy's block, as lines."""
    found = (line for piece in split_at_blocks(text) for line in lines(piece))
    return tuple(" ".join(line.text.split()) for line in found if isinstance(line, Line) and not line.root)
