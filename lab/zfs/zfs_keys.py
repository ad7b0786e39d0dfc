"""zfs load-key, unload-key and change-key."""

from __future__ import annotations

from lab.core import CommandError, Context
from lab.zfs import crypt
from lab.zfs.arguments import Arguments, UsageError, assignments
from lab.zfs.model import Dataset, Node, only

LOAD = "load-key [-rn] [-L <keylocation>] <-a | filesystem|volume>"
UNLOAD = "unload-key [-r] <-a | filesystem|volume>"
CHANGE = "change-key [-l] [-o keyformat=<value>] [-o keylocation=<value>] [-o pbkdf2iters=<value>] <filesystem|volume>"


def _chosen(node: Node, args: Arguments, usage: str) -> list[Dataset]:
    """The encryption roots of -a or -r, or the one dataset that is named."""
    if args.has("a"):
        if args.operands:
            raise UsageError("cannot specify dataset with -a option", usage)
        return [d for d in node.all() if d.crypt and d.crypt.root == d.id]
    if len(args.operands) != 1:
        raise UsageError("too many arguments" if args.operands else "missing dataset argument(s)", usage)
    top = node.dataset(args.operands[0])
    if args.has("r"):
        return [d for d in node.below(top) if d.crypt and d.crypt.root == d.id]
    return [top]


def load_key(ctx: Context, node: Node, args: Arguments) -> int:
    location = args.value("L")
    many = args.has("a") or args.has("r")
    if location not in (None, "prompt") and many:
        raise UsageError("alternate keylocation may only be 'prompt' with -r or -a", LOAD)
    attempted = failed = 0
    try:
        chosen = _chosen(node, args, LOAD)
    except CommandError:
        if args.has("n") and args.operands:  # seen: a dataset that is not there counts as none
            ctx.out("0 / 0 key(s) successfully verified\n")
        raise
    for dataset in chosen:
        if many and not args.has("n") and node.key_loaded(dataset):
            continue
        attempted += 1
        try:
            crypt.load(node, dataset, location, args.has("n"), ctx.stdin)
        except CommandError as error:
            failed += 1
            ctx.err(error.message + "\n")
    if many or args.has("n"):
        verb = "verified" if args.has("n") else "loaded"
        ctx.out(f"{attempted - failed} / {attempted} key(s) successfully {verb}\n")
    return 255 if failed else 0


def unload_key(ctx: Context, node: Node, args: Arguments) -> int:
    many = args.has("a") or args.has("r")
    attempted = failed = 0
    for dataset in _chosen(node, args, UNLOAD):
        if many and not node.key_loaded(dataset):
            continue
        attempted += 1
        try:
            crypt.unload(node, dataset)
        except CommandError as error:
            failed += 1
            ctx.err(error.message + "\n")
    if many:
        ctx.out(f"{attempted - failed} / {attempted} key(s) successfully unloaded\n")
    return 255 if failed else 0


def change_key(ctx: Context, node: Node, args: Arguments) -> int:
    if len(args.operands) != 1:
        raise UsageError("too many arguments" if args.operands else "Missing dataset argument", CHANGE)
    given = assignments(args.values("o"), CHANGE)
    dataset = node.dataset(args.operands[0])
    if args.has("l") and dataset.crypt and not node.key_loaded(dataset):
        crypt.load(node, dataset, None, False, ctx.stdin)
    if args.has("i"):
        if given:
            raise UsageError("Properties not allowed for inherited keys.", CHANGE)
        crypt.inherit(node, dataset)
    else:
        if given.keys() - {"keyformat", "keylocation", "pbkdf2iters"}:
            raise crypt.KeyFailure(
                "Key change error", "Only keyformat, keylocation and pbkdf2iters may be set with this command."
            )
        only("pbkdf2iters" not in given, "zfs change-key -o pbkdf2iters")
        crypt.change(node, dataset, given, ctx.stdin)
    node.txg(node.pool_of(dataset))
    return 0
