"""Programs that meet an NFS mount which is stale, does not answer or cannot be listed; elsewhere they are GNU's own."""

from __future__ import annotations

import os
import re

from lab.core import INSIDE, Context
from lab.linux import nfs, view, waiting

TEXTS = {"ls": ("ls: cannot access '{path}': {error}", 2), "stat": ("stat: cannot statx '{path}': {error}", 1)}
"""What a program says, with its exit status (as seen); others name themselves, the path and the error."""
LISTS = ("ls", "find", "du")
ASKS = (*LISTS, "stat")
"""Opens no file."""


def _paths(ctx: Context) -> list[tuple[str, str]]:
    """(as written, absolute) of each word that may be a path; the working directory where there is none."""
    words = [word.partition("=")[2] if word[:3] in ("of=", "if=") else word for word in ctx.args]
    found = [(word, view.absolute(word)) for word in words if word and not word.startswith("-")]
    return found or [(".", os.getcwd())]


def main(ctx: Context) -> int:
    """A program that was called while a mount is in trouble: it fails, waits, or has nothing to do with it."""
    for shown, path in _paths(ctx):
        status = _meet(ctx, shown, path)
        if status is not None:
            return status
    os.execv(INSIDE / "gnu" / ctx.name, [ctx.name, *ctx.args])


def _look(ctx: Context, path: str) -> nfs.NfsMount | None:
    cluster = ctx.store.read()
    host = ctx.host(cluster)
    nfs.refresh(ctx.store, cluster, host)
    return view.covering(host, path)


def _meet(ctx: Context, shown: str, path: str) -> int | None:
    """The exit status where an access fails, None where it succeeds, be it after a while."""
    entry = _look(ctx, path)
    if entry is None:
        return None
    waits = nfs.SILENT if ctx.name in ASKS else nfs.CLOSED
    if entry.condition in waits:

        def answers() -> bool:
            now = _look(ctx, path)
            return now is None or now.condition not in waits

        if not waiting.wait(ctx, entry.soft_limit, answers, f"{ctx.name} {shown}"):
            return _fail(ctx, shown, "Input/output error")
        entry = _look(ctx, path)
    if entry is not None and entry.condition == nfs.STALE:
        if ctx.name == "ls" and path == entry.target:
            ctx.err(f"ls: cannot open directory '{shown}': Stale file handle\n")
            return 2
        return _fail(ctx, shown, "Stale file handle")
    if entry is not None and entry.condition == nfs.UNLISTED:
        if ctx.name == "ls" and path == entry.target:
            ctx.err(f"ls: reading directory '{shown}': Input/output error\n")
            return 2
        if ctx.name in LISTS or path != entry.target:
            return _fail(ctx, shown, "Input/output error")
    return None


def _fail(ctx: Context, shown: str, error: str) -> int:
    text, rc = TEXTS.get(ctx.name, (f"{ctx.name}: {{path}}: {{error}}", 1))
    ctx.err(text.format(path=shown, error=error) + "\n")
    return rc


def asks_more(ctx: Context) -> int:
    """As `main`; refused are ``ls -n``, ``stat -f`` and chown(1) of what is mounted by NFS: only machines know that."""
    letters = "".join(word for word in ctx.args if re.fullmatch(r"-\w+", word))
    asks = {"ls": "n" in letters, "stat": "f" in letters or "--file-system" in ctx.args}.get(ctx.name, True)
    if asks and any(_look(ctx, path) for _, path in _paths(ctx)):
        raise ctx.not_simulated(f"{' '.join(ctx.args)} on NFS")
    return main(ctx)
