"""zfs(8): the subcommands. `COMMANDS` says which there are, with their options and how many operands they take."""

from __future__ import annotations

import io

from lab.commands import unreadable
from lab.core import INSIDE, CommandError, Context
from lab.zfs import crypt, datasets, settings, snapshots, zfs_change, zfs_read
from lab.zfs.arguments import MANY, Arguments, Command, parse, run
from lab.zfs.model import Node

COMMANDS = {
    "create": Command(zfs_change.create, "o:psV:"),
    "destroy": Command(zfs_change.destroy, "r"),
    "rename": Command(datasets.rename, "u", (2, 2)),
    "set": Command(zfs_change.set_, "", (2, MANY)),
    "inherit": Command(settings.inherit, "r", (2, 2)),
    "snapshot": Command(zfs_change.snapshot, "r", (1, MANY)),
    "rollback": Command(snapshots.rollback, "r"),
    "clone": Command(snapshots.clone, "o:", (2, 2)),
    "promote": Command(snapshots.promote),
    "release": Command(zfs_change.release, "", (2, 2)),
    "diff": Command(zfs_read.diff, "", (2, 2), writes=False),
    "holds": Command(zfs_read.holds, "H", (1, MANY), writes=False),
    "list": Command(zfs_read.list_, "Hprd:o:s:t:", (0, MANY), writes=False),
    "get": Command(zfs_read.get, "Hpro:s:t:", (1, MANY), writes=False),
    "mount": Command(zfs_change.mount, "a", (0, 1)),
    "unmount": Command(zfs_change.unmount),
    "load-key": Command(zfs_change.load_key, "nrL:a", (0, 1)),
    "unload-key": Command(zfs_change.unload_key, "ra", (0, 1)),
    "change-key": Command(zfs_change.change_key, "io:"),
}
PIPES = {"send": (zfs_change.send, "wi:vt:", (0, 1)), "receive": (zfs_change.receive, "svux:o:A", (1, 1))}
"""Those that read or write a pipe, and so lock the state themselves."""
ALIASES = {"recv": "receive"}


def main(ctx: Context) -> int:
    """The zfs command."""
    word = ctx.args[0] if ctx.args else ""
    name = ALIASES.get(word, word)
    if name in PIPES:
        play, options, operands = PIPES[name]
        return play(ctx, parse(ctx, options, operands))
    command = COMMANDS.get(name)
    if command is None:
        raise ctx.not_simulated()
    args = parse(ctx, command.options, command.operands)
    if command.writes:
        _refuse_suspended(ctx, args)
    if name in ("load-key", "change-key", "create"):
        _read_key(ctx, args)
        _meet_keys(ctx, name, args)
    return run(ctx, command, args)


def _read_key(ctx: Context, args: Arguments) -> None:
    """Reads a key from a pipe before the state is locked: who writes the pipe may need the state, too."""
    if ctx.stdin.isatty():
        return
    cluster = ctx.store.read()
    found = Node(ctx.store, cluster, ctx.host(cluster)).all()
    prompts = any(d.crypt and d.crypt.keylocation == "prompt" for d in found if d.name in args.operands)
    if prompts or any("prompt" in value for _, value in args.options):
        ctx.stdin = io.BytesIO(ctx.stdin.read(crypt.KEY_SIZE + 1))


def _meet_keys(ctx: Context, name: str, args: Arguments) -> None:
    """Reads the key files before the state is locked, where they may be on a stick that cannot be read."""
    if not (INSIDE / "unreadable").exists():
        return
    cluster = ctx.store.read()
    options = [value.partition("=")[2] for _, value in args.options if value and value.startswith("keylocation=")]
    places = args.values("L") or options
    if name == "load-key" and not places:
        found = Node(ctx.store, cluster, ctx.host(cluster)).all()
        places = [d.crypt.keylocation for d in found if d.crypt and (args.has("a") or d.name in args.operands)]
    for place in places:
        if place and place.startswith("file://"):
            unreadable.read_file(ctx, place.removeprefix("file://"))


def _refuse_suspended(ctx: Context, args: Arguments) -> None:
    """A suspended pool takes no changes (ioctls with POOL_CHECK_SUSPENDED return EAGAIN)."""
    cluster = ctx.store.read()
    node = Node(ctx.store, cluster, ctx.host(cluster))
    for word in args.operands:
        pool = node.pool(word)
        if pool and pool.health == "SUSPENDED":
            raise CommandError(f"cannot open '{word}': pool I/O is currently suspended")
