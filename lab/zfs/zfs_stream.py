"""zfs send and receive: the pipe is read and written while the state is not locked."""

from __future__ import annotations

import signal

from lab.core import CommandError, Context
from lab.zfs import receive as receiving
from lab.zfs import stream
from lab.zfs.arguments import Arguments, UsageError, assignments
from lab.zfs.model import Node, only

SEND = "send [-DLPbcehnpsvw] [-[i|I] snapshot] <snapshot>\n\tsend [-DnVvPe] -t <receive_resume_token>"
RECEIVE = (
    "receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...\n"
    "\t    <filesystem|volume|snapshot>\n"
    "\treceive -A <filesystem|volume>"
)


class InterruptedReadError(Exception):
    """A signal came while the stream was read."""


def send(ctx: Context, args: Arguments) -> int:
    """zfs send: the whole stream is in memory before the state is free again and the pipe is written."""
    if not args.has("n") and ctx.stdout.isatty():
        raise CommandError("Error: Stream can not be written to a terminal.\nYou must redirect standard output.")
    with ctx.store.edit() as cluster:
        records, warnings = _planned(Node(ctx.store, cluster, ctx.host(cluster)), args)
    for warning in warnings:
        ctx.err(warning + "\n")
    if args.has("v") or (args.has("n") and args.has("P")):
        (ctx.out if args.has("n") else ctx.err)(stream.describe(records, args.has("P")))
    if not args.has("n"):
        ctx.stdout.write(stream.encode(records))
    return 1 if warnings else 0


def _planned(node: Node, args: Arguments) -> tuple[list[stream.Record], list[str]]:
    """What is to be sent. -L, -e and -c change how blocks are packed, which nobody here can see."""
    token = args.value("t")
    if token is not None:
        if args.operands:
            raise UsageError("invalid flags combined with -t", SEND)
        return [stream.resumed(node, token)], []
    if len(args.operands) != 1:
        raise UsageError("too many arguments" if args.operands else "missing snapshot argument", SEND)
    name = args.operands[0]
    only("@" in name, f"zfs send of '{name}', which is no snapshot")
    source = args.value("I") or args.value("i")
    options = stream.Options(args.has("w"), args.has("R"), args.has("p"), source, args.has("I"))
    return stream.plan(node, name, options)


def receive(ctx: Context, args: Arguments) -> int:
    """zfs receive: the stream is read to its end before the state is locked."""
    data = b"" if args.has("A") else _read(ctx)
    failure: CommandError | None = None
    with ctx.cluster() as cluster:
        try:
            _receive(ctx, Node(ctx.store, cluster, ctx.host(cluster)), args, data)
        except CommandError as error:
            failure = error
    if failure:
        raise failure
    return 0


def _read(ctx: Context) -> bytes:
    """Standard input until its end, or until a signal: what has come by then is received as an interrupted stream."""
    if ctx.stdin.isatty():
        raise CommandError("Error: Backup stream can not be read from a terminal.\nYou must redirect standard input.")
    parts: list[bytes] = []

    def stop(number: int, frame: object) -> None:
        raise InterruptedReadError

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        while block := ctx.stdin.read1(1 << 16) if hasattr(ctx.stdin, "read1") else ctx.stdin.read(1 << 16):
            parts.append(block)
    except InterruptedReadError:
        ctx.err("")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    return b"".join(parts)


def _receive(ctx: Context, node: Node, args: Arguments, data: bytes) -> None:
    if len(args.operands) != 1:
        raise UsageError("too many arguments" if args.operands else "missing snapshot argument", RECEIVE)
    target = args.operands[0]
    if args.has("A"):
        receiving.abort(node, node.dataset(target))
        return
    options = receiving.Options(
        force=args.has("F"),
        resumable=args.has("s"),
        unmounted=args.has("u"),
        dry=args.has("n"),
        verbose=args.has("v"),
        exclude=tuple(args.values("x")),
        override=assignments(args.values("o"), RECEIVE),
    )
    pool = node.pool(target)
    if pool and pool.health == "SUSPENDED":
        raise CommandError(f"cannot receive: '{target}': pool I/O is currently suspended")
    receiving.receive(node, data, target, options, ctx.out)
