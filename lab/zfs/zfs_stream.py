"""zfs send and receive: the pipe is read and written while the state is not locked."""

from __future__ import annotations

from lab.core import CommandError, Context
from lab.zfs import receive as receiving
from lab.zfs import stream
from lab.zfs.arguments import Arguments, changing
from lab.zfs.model import Node, only


def send(ctx: Context, args: Arguments) -> int:
    """zfs send: the whole stream is in memory before the state is free again and the pipe is written."""
    token = args.value("t")
    only(bool(token) != bool(args.operands) and (not token or not (args.has("w") or args.has("i"))), " ".join(ctx.argv))
    only(not args.operands or "@" in args.operands[0], "zfs send of what is no snapshot")
    with ctx.store.edit() as cluster:
        node = Node(ctx.store, cluster, ctx.host(cluster))
        if token:
            record = stream.resumed(node, token)
        else:
            record = stream.plan(node, args.operands[0], raw=args.has("w"), source=args.value("i"))
    if args.has("v"):
        ctx.err(stream.describe(record))
    ctx.stdout.write(stream.encode(record))
    return 0


def receive(ctx: Context, args: Arguments) -> int:
    """zfs receive: the stream is read to its end before the state is locked."""
    data = b"" if args.has("A") else ctx.stdin.read()
    with changing(ctx) as node:
        _receive(ctx, node, args, data)
    return 0


def _receive(ctx: Context, node: Node, args: Arguments, data: bytes) -> None:
    (target,) = args.operands
    if args.has("A"):
        receiving.abort(node, node.dataset(target))
        return
    options = receiving.Options(
        resumable=args.has("s"),
        unmounted=args.has("u"),
        verbose=args.has("v"),
        exclude=tuple(args.values("x")),
        override=args.assignments("o"),
    )
    pool = node.pool(target)
    if pool and pool.health == "SUSPENDED":
        raise CommandError(f"cannot receive: '{target}': pool I/O is currently suspended")
    receiving.receive(node, data, target, options, ctx.out)
