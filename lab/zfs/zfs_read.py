"""The zfs subcommands that only look: list, get, holds."""

from __future__ import annotations

from lab.core import Context
from lab.zfs import show, trees, units
from lab.zfs.arguments import Arguments, each
from lab.zfs.model import Node, only

FIELDS = "name,property,value,source"


def _depth(args: Arguments) -> int | None:
    """Levels below an operand: -r is all of them (None), -d so many, else none."""
    return None if args.has("r") else int(args.value("d") or 0)


def list_(ctx: Context, node: Node, args: Arguments) -> int:
    depth = _depth(args)
    given = args.value("t")
    types = show.parse_types(given or "filesystem,volume")
    if given is None and args.operands and depth == 0:
        types |= {"snapshot"}
    if given and depth == 0 and types <= {"snapshot", "bookmark"} and any(node.find(name) for name in args.operands):
        depth = 1
    names = show.known((args.value("o") or "name,used,available,referenced,mountpoint").split(","))
    entries, problems = show.select(node, args.operands, types, depth)
    rc = each(ctx, problems)
    for name in reversed(show.known(args.values("s"))):
        entries = show.sort(node, entries, name)
    if entries:
        ctx.out(show.table(node, entries, names, scripted=args.has("H"), exact=args.has("p")))
    elif not problems and not args.has("H"):
        ctx.out("no datasets available\n")
    return rc


def get(ctx: Context, node: Node, args: Arguments) -> int:
    wanted, *operands = args.operands
    names = None if wanted == "all" else show.known(wanted.split(","))
    fields = (args.value("o") or FIELDS).split(",")
    only(set(fields) <= set(FIELDS.split(",")), f"zfs get -o {','.join(fields)}")
    sources = {word for value in args.values("s") for word in value.split(",")}
    only(sources <= {"local", "default", "inherited"}, f"zfs get -s {','.join(sources)}")
    types = show.parse_types(args.value("t") or "all")
    entries, problems = show.select(node, operands, types, _depth(args))
    rc = each(ctx, problems)
    ctx.out(show.lines(node, entries, names, fields, sources, scripted=args.has("H"), exact=args.has("p")))
    return rc


def holds(ctx: Context, node: Node, args: Arguments) -> None:
    rows = [["NAME", "TAG", "TIMESTAMP"]]
    for name in args.operands:
        _, snap = node.snapshot(name)
        rows += [[name, tag, units.ctime(when)] for tag, when in sorted(snap.holds.items())]
    if len(rows) > 1:
        ctx.out(units.table(rows, [0, 0, 0], [False] * 3, scripted=args.has("H")))


def diff(ctx: Context, node: Node, args: Arguments) -> None:
    """``zfs diff SNAPSHOT SNAPSHOT``: of one file system, or of one and a clone of the first (zfs-diff(8)).

    Paths are those below the mount point, without which ZFS tells nothing (get_mountpoint in libzfs_diff.c).
    """
    (old, first), (new, second) = map(node.snapshot, args.operands)
    mount = node.mount(new)
    only((old is new or new.origin is first) and mount is not None, f"zfs diff {' '.join(args.operands)}")
    assert mount is not None
    for change, path in trees.difference(node.path(first.tree), node.path(second.tree)):
        ctx.out(f"{change}\t{mount.target}/{path}\n")
