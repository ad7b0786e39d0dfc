"""zpool(8): the subcommands, on top of `lab.zfs.pools`."""

from __future__ import annotations

import contextlib

from lab.commands import unreadable
from lab.core import CommandError, Context
from lab.zfs import pool_properties, pools
from lab.zfs.arguments import MANY, Arguments, Command, each, parse, run, split
from lab.zfs.model import Node, Pool, only
from lab.zfs.pool_status import importable, status, table

COLUMNS = "name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot"
FIELDS = ("name", "property", "value", "source")


def create(ctx: Context, node: Node, args: Arguments) -> None:
    name, word = args.operands
    root = args.assignments("O")
    place = args.value("m") or root.pop("mountpoint", None)
    pools.create(node, name, word, args.assignments("o"), root, mountpoint=place)


def import_(ctx: Context, node: Node, args: Arguments) -> int:
    found = pools.importable(node)
    if args.has("c"):  # rc.d/zpool: what the cache file names, and nothing to say about what is gone
        only(args.has("a") and args.has("N"), "zpool import -c without -a -N")
        for pool in found:
            if pool.guid in node.state.cache and pool.host == node.host.name:
                pools.attach(node, pool)
        return 0
    only(not args.has("a"), "zpool import -a")
    if not args.operands:
        if not found:
            raise CommandError("no pools available to import", 0)
        ctx.out("\n".join(importable(node, p) for p in found))
        return 0
    (word,) = args.operands
    chosen = [p for p in found if word in (p.name, str(p.guid))]
    only(len(chosen) == 1, f"zpool import {word}, of which there are {len(chosen)}")
    return each(ctx, pools.import_(node, chosen[0], mount=not args.has("N")))


def _chosen(ctx: Context, node: Node, names: list[str]) -> tuple[list[Pool], int]:
    """The pools of these names, or all; and 1 if one is missing."""
    if not names:
        return node.imported(), 0
    found, rc = [], 0
    for name in names:
        try:
            found.append(pools.imported(node, name))
        except CommandError as error:
            ctx.err(error.message + "\n")
            rc = 1
    return found, rc


def _known(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        only(name in pool_properties.PROPERTIES or name == pool_properties.ENCRYPTION, f"the property {name} of a pool")
    return names


def list_(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args.operands)
    names = _known(args.value("o") or COLUMNS)
    if chosen:
        ctx.out(table(node, chosen, names, scripted=args.has("H"), exact=args.has("p")))
    elif not args.operands and not args.has("H"):
        ctx.out("no pools available\n")
    return rc


def status_(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args.operands)
    if not chosen and not args.operands:
        ctx.err("no pools available\n")
    ctx.out("\n".join(status(node, p, paths=args.has("P")) for p in chosen))
    return rc


def get(ctx: Context, node: Node, args: Arguments) -> int:
    wanted, *operands = args.operands
    fields = (args.value("o") or ",".join(FIELDS)).split(",")
    only(wanted != "all" and args.has("H") and set(fields) <= set(FIELDS), " ".join(ctx.argv))
    chosen, rc = _chosen(ctx, node, operands)
    for pool in chosen:
        for name in _known(wanted):
            value, source = pool_properties.get(node, pool, name, args.has("p"))
            cells = {"name": pool.name, "property": name, "value": value, "source": source}
            ctx.out("\t".join(cells[field] for field in fields) + "\n")
    return rc


def set_(ctx: Context, node: Node, args: Arguments) -> None:
    word, name = args.operands
    pool = pools.imported(node, name)
    pool_properties.put(pool, *split(word))
    node.txg(pool)


def sync(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args.operands)
    for pool in chosen:
        node.txg(pool)
    return rc


def scrub(ctx: Context, node: Node, args: Arguments) -> int:
    chosen, rc = _chosen(ctx, node, args.operands)
    for pool in chosen:
        pool.scrubbed = node.cluster.now
    return rc


def clear(ctx: Context, node: Node, args: Arguments) -> None:
    pool = pools.imported(node, args.operands[0])
    only(all(vdev.state == "ONLINE" for vdev in pool.vdevs), "zpool clear while a disk is away")
    pool.health = "ONLINE"


COMMANDS = {
    "create": Command(create, "m:o:O:", (2, 2)),
    "export": Command(pools.export),
    "import": Command(import_, "aNc:", (0, 1)),
    "list": Command(list_, "Hpo:", (0, MANY), writes=False),
    "status": Command(status_, "LPv", (0, MANY), writes=False),
    "get": Command(get, "Hpo:", (1, MANY), writes=False),
    "set": Command(set_, "", (2, 2)),
    "sync": Command(sync, "", (0, MANY)),
    "scrub": Command(scrub, "", (1, MANY)),
    "clear": Command(clear),
}


def main(ctx: Context) -> int:
    """The zpool command."""
    word = ctx.args[0] if ctx.args else ""
    command = COMMANDS.get(word)
    if command is None:
        raise ctx.not_simulated()
    args = parse(ctx, command.options, command.operands)
    if word == "import" and not args.has("c"):
        with contextlib.suppress(CommandError):  # a disk that gives errors is passed over
            unreadable.read_all(ctx)
    return run(ctx, command, args)
