"""zfs load-key, unload-key and change-key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.core import CommandError, Context
from lab.zfs import crypt
from lab.zfs.arguments import Arguments
from lab.zfs.model import Dataset, Node, only


def _chosen(node: Node, args: Arguments, loaded: bool) -> list[Dataset]:
    """The one dataset that is named, or the encryption roots of -a or -r whose key is loaded, or is not."""
    only(args.has("a") != bool(args.operands), "a key command with -a and a dataset, or with neither")
    found = list(node.all()) if args.has("a") else node.below(node.dataset(args.operands[0]))
    if not args.has("a") and not args.has("r"):
        return found[:1]
    return [d for d in found if d.crypt and d.crypt.root == d.id and node.key_loaded(d) == loaded]


def _attempt(ctx: Context, chosen: Sequence[Dataset], act: Callable[[Dataset], None], summary: str) -> int:
    """Does it to each, and says to how many, unless the summary is empty."""
    failed = 0
    for dataset in chosen:
        try:
            act(dataset)
        except CommandError as error:
            failed += 1
            ctx.err(error.message + "\n")
    if summary:
        ctx.out(f"{len(chosen) - failed} / {len(chosen)} key(s) successfully {summary}\n")
    return 255 if failed else 0


def load_key(ctx: Context, node: Node, args: Arguments) -> int:
    location, check = args.value("L"), args.has("n")
    many = args.has("a") or args.has("r")
    only(not many or not (check or location), "zfs load-key -a or -r with -L or -n")
    try:
        chosen = _chosen(node, args, loaded=False)
    except CommandError:
        if check:  # seen: a dataset that is not there counts as none
            ctx.out("0 / 0 key(s) successfully verified\n")
        raise
    summary = "verified" if check else "loaded" if many else ""
    return _attempt(ctx, chosen, lambda dataset: crypt.load(node, dataset, location, check, ctx.stdin), summary)


def unload_key(ctx: Context, node: Node, args: Arguments) -> int:
    chosen = _chosen(node, args, loaded=True)
    summary = "unloaded" if args.has("a") or args.has("r") else ""
    return _attempt(ctx, chosen, lambda dataset: crypt.unload(node, dataset), summary)


def change_key(ctx: Context, node: Node, args: Arguments) -> int:
    given = args.assignments("o")
    only(given.keys() <= {"keyformat", "keylocation"} and not (given and args.has("i")), f"zfs change-key with {given}")
    dataset = node.dataset(args.operands[0])
    if args.has("i"):
        crypt.inherit(node, dataset)
    else:
        crypt.change(node, dataset, given, ctx.stdin)
    node.txg(node.pool_of(dataset))
    return 0
