"""zpool(8): the subcommands, on top of `lab.zfs.pools`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from lab.commands import unreadable
from lab.core import CommandError, Context
from lab.zfs import crypt, mounting, pool_properties, pools
from lab.zfs.arguments import USAGE, Arguments, UsageError, assignments, parse
from lab.zfs.model import Node, Pool, only
from lab.zfs.pool_status import importable, status
from lab.zfs.pool_status import table as table_of

COLUMNS = "name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot"


@dataclass(frozen=True)
class Command:
    """As in `lab.zfs.zfs_cmd`."""

    run: Callable[[Context, Node, Arguments], int]
    options: str
    usage: str
    missing: str = ""
    writes: bool = True


def create(ctx: Context, node: Node, args: Arguments) -> int:
    usage = COMMANDS["create"].usage
    if len(args.operands) < 2:
        raise UsageError("missing vdev specification" if args.operands else "missing pool name argument", usage)
    name, *words = args.operands
    root = assignments(args.values("O"), usage)
    pools.create(
        node,
        name,
        words,
        assignments(args.values("o"), usage),
        root,
        mountpoint=args.value("m") or root.pop("mountpoint", None),
        force=args.has("f"),
    )
    return 0


def _name(args: Arguments, usage: str) -> str:
    if len(args.operands) != 1:
        raise UsageError("too many arguments" if args.operands else "missing pool argument", usage)
    return args.operands[0]


def destroy(ctx: Context, node: Node, args: Arguments) -> int:
    pools.destroy(node, _name(args, COMMANDS["destroy"].usage), args.has("f"))
    return 0


def export(ctx: Context, node: Node, args: Arguments) -> int:
    names = [p.name for p in node.imported()] if args.has("a") else args.operands
    if not names and not args.has("a"):
        raise UsageError("missing pool argument", COMMANDS["export"].usage)
    for name in names:
        pools.export(node, name, args.has("f"))
    return 0


def import_(ctx: Context, node: Node, args: Arguments) -> int:
    found = pools.importable(node)
    if args.has("c"):  # rc.d/zpool: what the cache file names, and nothing to say about what is gone
        only(args.has("a") and args.has("N"), "zpool import -c without -a -N")
        for pool in found:
            if pool.guid in node.state.cache and pool.host == node.host.name:
                pools.attach(node, pool)
        return 0
    if not args.operands and not args.has("a"):
        if not found:
            raise CommandError("no pools available to import", 0)
        ctx.out("\n".join(importable(node, p) for p in found))
        return 0
    chosen = found
    if args.operands:
        only(len(args.operands) == 1, "zpool import with a new name")
        word = args.operands[0]
        chosen = [p for p in found if word in (p.name, str(p.guid))]
        if not chosen:
            raise CommandError(f"cannot import '{word}': no such pool available")
        if len(chosen) > 1:
            raise CommandError(f"cannot import '{word}': more than one matching pool\nimport by numeric ID instead")
    problems: list[CommandError] = []
    for pool in chosen:
        try:
            problems += pools.import_(node, pool, force=args.has("f"), mount=False)
        except CommandError as error:
            problems.append(error)
            continue
        if args.has("l"):
            for dataset in [d for d in pool.datasets.values() if d.crypt and d.crypt.root == d.id]:
                try:
                    crypt.load(node, dataset, None, False)
                except CommandError as error:
                    problems.append(error)
        if not args.has("N"):
            problems += mounting.mount_pool(node, pool)
    for problem in problems:
        ctx.err(problem.message + "\n")
    return 1 if problems else 0


def _chosen(ctx: Context, node: Node, args: Arguments) -> tuple[list[Pool], int]:
    """The pools that are named, or all; and 1 if one is missing."""
    if not args.operands:
        return node.imported(), 0
    found, rc = [], 0
    for name in args.operands:
        try:
            found.append(pools.imported(node, name))
        except CommandError as error:
            ctx.err(error.message + "\n")
            rc = 1
    return found, rc


def list_(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args)
    names = [pool_properties.ALIASES.get(n, n) for n in (args.value("o") or COLUMNS).split(",")]
    for name in names:
        if name not in pool_properties.PROPERTIES:
            raise UsageError(f"bad property list: invalid property '{name}'", COMMANDS["list"].usage)
    if chosen:
        ctx.out(table_of(node, chosen, names, scripted=args.has("H"), exact=args.has("p")))
    elif not args.operands and not args.has("H"):
        ctx.out("no pools available\n")
    return rc


def status_(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args)
    if args.has("x"):
        ill = [p for p in chosen if p.health != "ONLINE"]
        if not ill and not rc:
            one = len(args.operands) == 1
            ctx.out(f"pool '{args.operands[0]}' is healthy\n" if one else "all pools are healthy\n")
        chosen = ill
    if not chosen and not args.operands and not args.has("x"):
        ctx.err("no pools available\n")
    ctx.out("\n".join(status(node, p, paths=args.has("P") or args.has("L")) for p in chosen))
    return rc


def get(ctx: Context, node: Node, args: Arguments) -> int:
    usage = COMMANDS["get"].usage
    if not args.operands:
        raise UsageError("missing property argument", usage)
    wanted = args.operands.pop(0)
    everything = [n for n in (*pool_properties.PROPERTIES, *pool_properties.FEATURES) if n != "name"]
    names = everything if wanted == "all" else [pool_properties.ALIASES.get(n, n) for n in wanted.split(",")]
    for name in names:
        if name not in pool_properties.PROPERTIES and name not in pool_properties.FEATURES:
            raise UsageError(f"bad property list: invalid property '{name}'", usage)
    fields = (args.value("o") or "name,property,value,source").split(",")
    if any(f not in ("name", "property", "value", "source") for f in fields):
        raise UsageError(f"invalid column name '{','.join(fields)}'", usage)
    chosen, rc = _chosen(ctx, node, args)
    rows = []
    for pool in chosen:
        for name in names:
            value, source = pool_properties.get(node, pool, name, args.has("p")) or ("-", "-")
            rows.append({"name": pool.name, "property": name, "value": value, "source": source})
    if args.has("H"):
        ctx.out("".join("\t".join(r[f] for f in fields) + "\n" for r in rows))
    elif rows:
        heads = {f: f.upper() for f in fields}
        widths = {f: max(len(r[f]) for r in [heads, *rows]) for f in fields}
        for row in [heads, *rows]:
            ctx.out("  ".join([*(row[f].ljust(widths[f]) for f in fields[:-1]), row[fields[-1]]]) + "\n")
    return rc


def set_(ctx: Context, node: Node, args: Arguments) -> int:
    usage = COMMANDS["set"].usage
    if len(args.operands) != 2 or "=" not in args.operands[0]:
        raise UsageError("missing pool name" if len(args.operands) == 1 else "missing property=value argument", usage)
    name, _, value = args.operands[0].partition("=")
    pool = pools.imported(node, args.operands[1])
    pool_properties.put(pool, name, value, f"cannot set property for '{pool.name}'")
    node.txg(pool)
    return 0


def sync(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args)
    for pool in chosen:
        node.txg(pool)
    return rc


def scrub(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args)
    if not args.operands:
        raise UsageError("missing pool name argument", COMMANDS["scrub"].usage)
    for pool in chosen:
        pool.scrubbed = node.cluster.now
    return rc


def trim(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args)
    if not args.operands:
        raise UsageError("missing pool name argument", COMMANDS["trim"].usage)
    return rc if chosen else 1


def clear(ctx: Context, node: Node, args: Arguments) -> int:
    pools.clear(node, pools.imported(node, _name(args, COMMANDS["clear"].usage)))
    return 0


def labelclear(ctx: Context, node: Node, args: Arguments) -> int:
    usage = COMMANDS["labelclear"].usage
    if len(args.operands) != 1:
        raise UsageError("too many arguments" if args.operands else "missing vdev name", usage)
    pools.label_clear(node, args.operands[0], args.has("f"))
    return 0


def _switch(ctx: Context, node: Node, args: Arguments, verb: str) -> int:
    if len(args.operands) != 2:
        raise UsageError("missing device name" if args.operands else "missing pool name", COMMANDS[verb].usage)
    pool = pools.imported(node, args.operands[0])
    word = args.operands[1].removeprefix("/dev/")
    vdev = next((v for v in pool.vdevs if v.device == word), None)
    if vdev is None:
        raise CommandError(f"cannot {verb} {args.operands[1]}: no such device in pool")
    if verb == "offline":
        raise CommandError(f"cannot offline {args.operands[1]}: no valid replicas")
    vdev.state = "ONLINE"
    return 0


def online(ctx: Context, node: Node, args: Arguments) -> int:
    return _switch(ctx, node, args, "online")


def offline(ctx: Context, node: Node, args: Arguments) -> int:
    return _switch(ctx, node, args, "offline")


COMMANDS = {
    "create": Command(
        create,
        "fm:o:O:",
        "create [-fnd] [-o property=value] ... \n\t    [-O file-system-property=value] ... \n"
        "\t    [-m mountpoint] [-R root] <pool> <vdev> ...",
        "ndtR",
    ),
    "destroy": Command(destroy, "f", "destroy [-f] <pool>"),
    "export": Command(export, "af", "export [-af] <pool> ..."),
    "import": Command(
        import_, "afNlc:", "import [-d dir] [-D]\n\timport [-o mntopts] <pool | id> [newpool]", "dDFnoRmstTVX"
    ),
    "list": Command(
        list_,
        "Hpo:",
        "list [-gHLpPv] [-o property[,...]] [-T d|u] [pool] ... \n\t    [interval [count]]",
        "gLPvT",
        False,
    ),
    "status": Command(
        status_,
        "LPxv",
        "status [-c [script1,script2,...]] [-igLpPstvxD]  [-T d|u] [pool] ... \n\t    [interval [count]]",
        "cigpstDT",
        False,
    ),
    "get": Command(get, "Hpo:", 'get [-Hp] [-o "all" | field[,...]] <"all" | property[,...]> <pool> ...', "", False),
    "set": Command(set_, "", "set <property=value> <pool>"),
    "sync": Command(sync, "", "sync [pool] ..."),
    "scrub": Command(scrub, "w", "scrub [-s | -p] [-w] <pool> ...", "sp"),
    "trim": Command(trim, "dw", "trim [-dw] [-r <rate>] [-c | -s] <pool> [<device> ...]", "rcs"),
    "clear": Command(clear, "", "clear [-nF] <pool> [device]", "nF"),
    "labelclear": Command(labelclear, "f", "labelclear [-f] <vdev>"),
    "online": Command(online, "", "online [--power] [-e] <pool> <device> ...", "e"),
    "offline": Command(offline, "ft", "offline [-f] [-t] <pool> <device> ..."),
}
REAL = (
    "add attach checkpoint detach events history initialize iostat reguid remove reopen replace resilver split upgrade"
)


def main(ctx: Context) -> int:
    """The zpool command."""
    if not ctx.args:
        raise CommandError("missing command\nusage: zpool command args ...", USAGE)
    word, *rest = ctx.args
    command = COMMANDS.get(word)
    if command is None:
        if word in (*REAL.split(), "version", "wait", "-V", "--version"):
            raise ctx.not_simulated()
        raise CommandError(f"unrecognized command '{word}'\nusage: zpool command args ...", USAGE)
    args = parse(f"zpool {word}", rest, command.options, command.usage, command.missing)
    if word == "import" and not args.has("c"):
        with contextlib.suppress(CommandError):  # a disk that gives errors is passed over
            unreadable.read_all(ctx)
    if not command.writes:
        cluster = ctx.store.read()
        return command.run(ctx, Node(ctx.store, cluster, ctx.host(cluster)), args)
    failure: CommandError | None = None
    rc = 0
    with ctx.cluster() as cluster:
        node = Node(ctx.store, cluster, ctx.host(cluster))
        try:
            rc = command.run(ctx, node, args)
        except CommandError as error:
            failure = error
        mounting.link_volumes(node)
    if failure:
        raise failure
    return rc
