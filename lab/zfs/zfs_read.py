"""The zfs subcommands that only look: list, get, holds, diff."""

from __future__ import annotations

from lab.core import CommandError, Context
from lab.zfs import show, trees, units
from lab.zfs.arguments import Arguments, UsageError
from lab.zfs.model import Node

LIST = (
    "list [-Hp] [-r|-d max] [-o property[,...]] [-s property]...\n"
    "\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ..."
)
GET = (
    'get [-rHp] [-d max] [-o "all" | field[,...]]\n'
    "\t    [-t type[,...]] [-s source[,...]]\n"
    '\t    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...'
)
HOLDS = "holds [-rH] <snapshot> ..."
DIFF = "diff [-FHth] <snapshot> [snapshot|filesystem]"
FIELDS = ("name", "property", "value", "received", "source")
SOURCES = ("local", "default", "inherited", "received", "temporary", "none")


def _depth(args: Arguments, usage: str) -> int | None:
    """Levels below an operand: -r is all of them (None), -d so many, else none."""
    value = args.value("d")
    if value is not None:
        if not value.isdigit():
            raise UsageError(f"{value} is not a number", usage)
        return int(value)
    return None if args.has("r") else 0


def _types(args: Arguments, usage: str) -> frozenset[str] | None:
    value = args.value("t")
    if value is None:
        return None
    types = show.parse_types(value)
    if types is None:
        raise UsageError(f"invalid type '{value}'", usage)
    return types


def list_(ctx: Context, node: Node, args: Arguments) -> int:
    types = _types(args, LIST)
    depth = _depth(args, LIST)
    if types and depth == 0 and args.operands and types <= {"snapshot", "bookmark"}:
        named = [show.open_entry(node, o).kind for o in args.operands if node.find(o)]
        depth = 1 if named else 0
    if types is None:
        types = frozenset({"filesystem", "volume"})
        if args.operands and depth == 0:
            types |= {"snapshot"}
    fields = args.value("o") or "name,used,available,referenced,mountpoint"
    names = show.known(fields.split(","))
    if isinstance(names, str):
        raise UsageError(f"bad property list: invalid property '{names}'", LIST)
    entries, problems = show.select(node, args.operands, show.Selection(types, depth))
    for problem in problems:
        ctx.err(problem + "\n")
    keys = show.known([v for o, v in args.options if o in "sS"])
    if isinstance(keys, str):
        raise UsageError(f"invalid property '{keys}'", LIST)
    order = [o == "S" for o, _ in args.options if o in "sS"]
    entries = show.sort(node, entries, list(zip(keys, order, strict=True)))
    if entries:
        ctx.out(show.table(node, entries, names, scripted=args.has("H"), exact=args.has("p")))
    elif not problems and not args.has("H"):
        ctx.out("no datasets available\n")
    return 1 if problems else 0


def get(ctx: Context, node: Node, args: Arguments) -> int:
    if not args.operands:
        raise UsageError("missing property argument", GET)
    wanted, *operands = args.operands
    names = None if wanted == "all" else show.known(wanted.split(","))
    if isinstance(names, str):
        raise UsageError(f"bad property list: invalid property '{names}'", GET)
    fields = tuple((args.value("o") or "name,property,value,source").split(","))
    if fields == ("all",):
        fields = FIELDS
    for field in fields:
        if field not in FIELDS:
            raise UsageError(f"invalid column name '{field}'", GET)
    sources = tuple((args.value("s") or "").split(",")) if args.has("s") else ()
    for source in sources:
        if source not in SOURCES:
            raise UsageError(f"invalid source '{source}'", GET)
    types = _types(args, GET) or show.EVERYTHING
    entries, problems = show.select(node, operands, show.Selection(types, _depth(args, GET)))
    for problem in problems:
        ctx.err(problem + "\n")
    ctx.out(show.lines(node, entries, names, show.GetStyle(args.has("H"), args.has("p"), fields, sources)))
    return 1 if problems else 0


def holds(ctx: Context, node: Node, args: Arguments) -> int:
    if not args.operands:
        raise UsageError("missing snapshot argument", HOLDS)
    rows = []
    for name in args.operands:
        top, found = node.snapshot(name)
        for dataset in node.below(top) if args.has("r") else [top]:
            snap = dataset.snapshot(found.name)
            for tag, when in sorted(snap.holds.items()) if snap else []:
                rows.append((f"{dataset.name}@{found.name}", tag, units.ctime(when)))
    if args.has("H"):
        ctx.out("".join("\t".join(r) + "\n" for r in rows))
    elif rows:
        width = max(4, *(len(r[0]) for r in rows))
        tags = max(3, *(len(r[1]) for r in rows))
        ctx.out("".join(f"{a:<{width}}  {b:<{tags}}  {c}\n" for a, b, c in [("NAME", "TAG", "TIMESTAMP"), *rows]))
    return 0


def diff(ctx: Context, node: Node, args: Arguments) -> int:
    if not args.operands:
        raise UsageError("must provide at least one snapshot name", DIFF)
    if len(args.operands) > 2:
        raise UsageError("too many arguments", DIFF)
    dataset, snap = node.snapshot(args.operands[0])
    tree = dataset.tree
    if len(args.operands) == 2:
        other = args.operands[1]
        tree = node.snapshot(other)[1].tree if "@" in other else node.dataset(other).tree
    entry = node.mount(dataset)
    if entry is None:
        raise CommandError(f"Cannot diff '{dataset.name}': filesystem is not mounted")
    for kind, path in trees.difference(node.path(snap.tree), node.path(tree)):
        ctx.out(f"{kind}\t{entry.target}/{'' if path == '.' else path}\n")
    return 0
