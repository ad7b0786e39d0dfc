"""zfs(8): the subcommands. `COMMANDS` says which there are, with their options and usage."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from lab.commands import unreadable
from lab.core import INSIDE, CommandError, Context
from lab.zfs import crypt, mounting, zfs_change, zfs_keys, zfs_read, zfs_stream
from lab.zfs.arguments import USAGE, Arguments, parse
from lab.zfs.model import Node


@dataclass(frozen=True)
class Command:
    """A subcommand.

    :param run: takes the command's context, the host and the arguments, returns the exit status
    :param options: getopt(3) string of what is simulated
    :param missing: options that ZFS has beyond that
    :param writes: runs with the state locked, and not on a suspended pool
    """

    run: Callable[[Context, Node, Arguments], int]
    options: str
    usage: str
    missing: str = ""
    writes: bool = True


COMMANDS = {
    "create": Command(zfs_change.create, "o:pub:sV:", zfs_change.CREATE, "nvP"),
    "destroy": Command(zfs_change.destroy, "fnprRv", zfs_change.DESTROY, "d"),
    "rename": Command(zfs_change.rename, "fpru", zfs_change.RENAME),
    "set": Command(zfs_change.set_, "", zfs_change.SET),
    "inherit": Command(zfs_change.inherit, "rS", zfs_change.INHERIT),
    "snapshot": Command(zfs_change.snapshot, "ro:", zfs_change.SNAPSHOT),
    "rollback": Command(zfs_change.rollback, "rf", zfs_change.ROLLBACK, "R"),
    "clone": Command(zfs_change.clone, "o:p", zfs_change.CLONE),
    "promote": Command(zfs_change.promote, "", zfs_change.PROMOTE),
    "bookmark": Command(zfs_change.bookmark, "", zfs_change.BOOKMARK),
    "hold": Command(zfs_change.hold, "r", zfs_change.HOLD),
    "release": Command(zfs_change.release, "r", zfs_change.RELEASE),
    "holds": Command(zfs_read.holds, "rH", zfs_read.HOLDS, "p", writes=False),
    "list": Command(zfs_read.list_, "Hprd:o:s:S:t:", zfs_read.LIST, writes=False),
    "get": Command(zfs_read.get, "Hprd:o:s:t:", zfs_read.GET, writes=False),
    "diff": Command(zfs_read.diff, "H", zfs_read.DIFF, "Fth", writes=False),
    "mount": Command(zfs_change.mount, "alo:f", zfs_change.MOUNT, "Ov"),
    "unmount": Command(zfs_change.unmount, "afu", zfs_change.UNMOUNT),
    "load-key": Command(zfs_keys.load_key, "nrL:a", zfs_keys.LOAD),
    "unload-key": Command(zfs_keys.unload_key, "ra", zfs_keys.UNLOAD),
    "change-key": Command(zfs_keys.change_key, "lio:", zfs_keys.CHANGE),
}
PIPES: dict[str, tuple[Callable[[Context, Arguments], int], str, str, str]] = {
    "send": (zfs_stream.send, "wRpi:I:nvPt:Lec", zfs_stream.SEND, "DSVdb"),
    "receive": (zfs_stream.receive, "svnFux:o:A", zfs_stream.RECEIVE, "dehM"),
}
"""Those that read or write a pipe, and so lock the state themselves."""
ALIASES = {"recv": "receive", "snap": "snapshot", "umount": "unmount"}
REAL = """allow unallow groupspace userspace projectspace project jail unjail program redact share unshare upgrade
version wait bookmark""".split()


def main(ctx: Context) -> int:
    """The zfs command."""
    if not ctx.args:
        raise CommandError("missing command\nusage: zfs command args ...", USAGE)
    word, *rest = ctx.args
    name = ALIASES.get(word, word)
    if name in PIPES:
        run, options, usage, missing = PIPES[name]
        return run(ctx, parse(f"zfs {word}", rest, options, usage, missing))
    command = COMMANDS.get(name)
    if command is None:
        if name in REAL or name.startswith("-"):
            raise ctx.not_simulated()
        raise CommandError(f"unrecognized command '{word}'\nusage: zfs command args ...", USAGE)
    args = parse(f"zfs {word}", rest, command.options, command.usage, command.missing)
    if not command.writes:
        cluster = ctx.store.read()
        return command.run(ctx, Node(ctx.store, cluster, ctx.host(cluster)), args)
    if name in ("load-key", "change-key", "create", "mount"):
        _read_key(ctx, args)
        _meet_keys(ctx, name, args)
    return locked(ctx, args, command.run)


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
    places = [args.value("L")] if name == "load-key" and args.has("L") else options
    if name == "load-key" and not places:
        found = Node(ctx.store, cluster, ctx.host(cluster)).all()
        places = [d.crypt.keylocation for d in found if d.crypt and (args.has("a") or d.name in args.operands)]
    for place in places:
        if place and place.startswith("file://"):
            unreadable.read_file(ctx, place.removeprefix("file://"))


def locked(ctx: Context, args: Arguments, run: Callable[[Context, Node, Arguments], int]) -> int:
    """Runs a subcommand with the state locked; what was changed before a failure stays changed."""
    failure: CommandError | None = None
    rc = 0
    with ctx.cluster() as cluster:
        node = Node(ctx.store, cluster, ctx.host(cluster))
        try:
            refuse_suspended(node, args)
            rc = run(ctx, node, args)
        except CommandError as error:
            failure = error
        mounting.link_volumes(node)
    if failure:
        raise failure
    return rc


def refuse_suspended(node: Node, args: Arguments) -> None:
    """A suspended pool takes no changes (ioctls with POOL_CHECK_SUSPENDED return EAGAIN).

    :raises CommandError: one of the operands is on such a pool
    """
    for word in args.operands:
        pool = node.pool(word)
        if pool and pool.health == "SUSPENDED":
            raise CommandError(f"cannot open '{word}': pool I/O is currently suspended")
