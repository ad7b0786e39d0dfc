"""Owners of files on an NFS mount: who they are on the client follows from nfsuserd, two sysctls and idmapd's domain.

From observations.md, "Owners", and the recorded section idmap: names travel as NAME@DOMAIN, and numbers only where the
server has vfs.nfs.enable_uidtostring (what it tells) and vfs.nfsd.enable_stringtouid (what it takes).
"""

from __future__ import annotations

import os
import re
import stat as modes
import subprocess
from pathlib import Path

from lab import owners
from lab.core import INSIDE, Context, Host, part
from lab.linux import files, nfs, view
from lab.rc.scripts import processes

NOBODY, NO_SUCH_NAME = 65534, 4294967294
"""What a client makes of another domain or of the server's nobody, and of a name that it does not know."""


def _ids(root: Path, kind: str) -> dict[str, int]:
    lines = (root / "etc" / kind).read_text().splitlines()
    return {line.split(":")[0]: int(line.split(":")[2]) for line in lines if line and line[0] != "#"}


def _sysctl(server: Host, name: str) -> bool:
    return part(server, "sysctl", dict[str, str]).get(name, "0") == "1"


def _same_domain(ctx: Context, server: Host) -> bool:
    """Whether nfsuserd and the client's idmapd mean the same domain; by default each takes its host's own."""
    flags = server.parts["nfsuserd flags"]
    theirs = flags[flags.index("-domain") + 1] if "-domain" in flags else server.name.partition(".")[2]
    idmapd = Path("/etc/idmapd.conf")
    own = re.search(r"^Domain\s*=\s*(\S+)", idmapd.read_text() if idmapd.exists() else "", re.MULTILINE)
    return theirs == (own[1] if own else ctx.host_name.partition(".")[2])


def _seen(ctx: Context, server: Host, name: str, kind: str) -> int:
    """The number that the client has for an owner as the server keeps it."""
    known = _ids(ctx.store.root(server.name), kind)
    if not processes(server).get("nfsuserd"):
        number = int(name) if name.isdigit() else known[name]
        return number if _sysctl(server, "vfs.nfs.enable_uidtostring") else NOBODY
    if name not in known or not _same_domain(ctx, server):
        return NOBODY
    return _ids(Path("/"), kind).get(name, NO_SUCH_NAME)


def _place(ctx: Context, word: str) -> tuple[nfs.NfsMount, Host] | None:
    """The mount that a path is on, and its server."""
    cluster = ctx.store.read()
    client = ctx.host(cluster)
    nfs.refresh(ctx.store, cluster, client)
    entry = view.covering(client, view.absolute(word))
    return (entry, cluster.hosts[entry.server]) if entry is not None else None


def chown(ctx: Context) -> int:
    """chown(1) where something is mounted by NFS: ``OWNER:GROUP FILE...`` in numbers or names, there or elsewhere."""
    wanted, *paths = [word for word in ctx.args if not word.startswith("-")] or [""]
    places = [_place(ctx, path) for path in paths]
    if not any(places) or any(p and p[0].condition != nfs.FINE for p in places):
        return files.main(ctx)
    if wanted.count(":") != 1 or wanted in ctx.args[1:] or None in places:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} on NFS")
    rc = 0
    for path, place in zip(paths, places, strict=True):
        assert place is not None
        names = [
            _kept(ctx, place[1], word, kind) for word, kind in zip(wanted.split(":"), ("passwd", "group"), strict=True)
        ]
        error = "Read-only file system" if place[0].read_only else "Invalid argument" if None in names else ""
        if error:
            ctx.err(f"chown: changing ownership of '{path}': {error}\n")
            rc = 1
        else:
            owners.set_owner(path, names[0], names[1])
    return rc


def _kept(ctx: Context, server: Host, word: str, kind: str) -> str | None:
    """What the server keeps for a new owner; None: it does not know whom the client means."""
    mine, theirs = _ids(Path("/"), kind), _ids(ctx.store.root(server.name), kind)
    number = int(word) if word.isdigit() else mine[word]
    if _sysctl(server, "vfs.nfsd.enable_stringtouid"):
        return next((name for name, known in theirs.items() if known == number), str(number))
    name = next((name for name, known in mine.items() if known == number), "")
    shared = processes(server).get("nfsuserd") and _same_domain(ctx, server)
    return name if shared and name in theirs else None


def ls(ctx: Context) -> int:
    """ls(1) with -n where something is mounted by NFS: GNU's own listing with the owners that the client sees."""
    words = [word for word in ctx.args if not word.startswith("-")]
    letters = "".join(word[1:] for word in ctx.args if word.startswith("-"))
    place = _place(ctx, words[0]) if len(words) == 1 else None
    if place is None or place[0].condition != nfs.FINE or "n" not in letters:
        return files.main(ctx)
    done = subprocess.run([INSIDE / "gnu/ls", *ctx.args], capture_output=True, text=True, check=False)
    if done.returncode:
        ctx.err(done.stderr.replace("/.lab/gnu/ls", "ls"))
        return done.returncode
    rows = [re.fullmatch(r"(\S+ +\d+) +\d+ +\d+ +(\d+ .*? (\S+))", line) for line in done.stdout.splitlines()]
    folder = words[0] if modes.S_ISDIR(os.stat(words[0]).st_mode) and "d" not in letters else ""
    ids = [_row_ids(ctx, place[1], os.path.join(folder, row[3])) if row else ("", "") for row in rows]
    widths = [max(len(pair[i]) for pair in ids) for i in (0, 1)]
    for line, row, pair in zip(done.stdout.splitlines(), rows, ids, strict=True):
        cells = (pair[0].rjust(widths[0]), pair[1].rjust(widths[1]))
        ctx.out(f"{row[1]} {cells[0]} {cells[1]} {row[2]}\n" if row else f"{line}\n")
    return 0


def _row_ids(ctx: Context, server: Host, path: str) -> tuple[str, str]:
    user, group = owners.owner(path)
    return str(_seen(ctx, server, user, "passwd")), str(_seen(ctx, server, group, "group"))
