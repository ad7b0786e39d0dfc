"""The zfs subcommands that make, change, mount and destroy, with keys and streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.core import CommandError, Context
from lab.zfs import crypt, datasets, mounting, settings, snapshots, space, stream, units
from lab.zfs import receive as receiving
from lab.zfs.arguments import Arguments, changing, each, split
from lab.zfs.model import Dataset, Node, only


def create(ctx: Context, node: Node, args: Arguments) -> None:
    given = args.assignments("o")
    kind, size = "filesystem", args.value("V")
    if size is not None:
        kind = "volume"
        number = units.parse(size)
        only(number is not None, f"zfs create -V {size}")
        given |= {"volsize": str(number)}
        if not args.has("s") and "refreservation" not in given:
            given |= {"refreservation": str(space.volume_reservation(int(given["volsize"])))}
    datasets.create(node, args.operands[0], kind, given, ctx.stdin, parents=args.has("p"))


def destroy(ctx: Context, node: Node, args: Arguments) -> None:
    (name,) = args.operands
    if "#" in name:
        snapshots.destroy_bookmark(node, name)
    elif "@" in name:
        only(not set(",%") & set(name), f"zfs destroy of several snapshots ({name})")
        owner, _, short = name.partition("@")
        below = [d.name for d in node.below(node.dataset(owner)) if d.snapshot(short)] if args.has("r") else []
        datasets.destroy(node, [snapshots.to_destroy(node, f"{each}@{short}") for each in below or [owner]])
    else:
        datasets.destroy(node, datasets.plan_destroy(node, node.dataset(name), recursive=args.has("r")))


def set_(ctx: Context, node: Node, args: Arguments) -> None:
    *given, name = args.operands
    only("@" not in name, "zfs set on a snapshot")
    settings.change(node, node.dataset(name), dict(split(word) for word in given))


def snapshot(ctx: Context, node: Node, args: Arguments) -> None:
    try:
        snapshots.take(node, args.operands, recursive=args.has("r"))
    except CommandError as error:
        raise CommandError(f"{error.message}\nno snapshots were created") from None


def release(ctx: Context, node: Node, args: Arguments) -> None:
    tag, name = args.operands
    snapshots.hold(node, tag, name, release=True)


def mount(ctx: Context, node: Node, args: Arguments) -> int:
    only(args.has("a") != bool(args.operands), "zfs mount with -a and a dataset, or with neither")
    if args.has("a"):
        return each(ctx, [e for p in node.imported() for e in mounting.mount_pool(node, p)])
    (name,) = args.operands
    dataset = node.dataset(name)
    only(mounting.mountable(node, dataset), f"zfs mount {name}, which has no mount point or canmount=off")
    if node.mount(dataset):
        raise CommandError(f"cannot mount '{name}': filesystem already mounted")
    mounting.mount(node, dataset)
    return 0


def unmount(ctx: Context, node: Node, args: Arguments) -> None:
    (name,) = args.operands
    only(not name.startswith("/"), f"zfs unmount of a path ({name})")
    dataset = node.dataset(name)
    if node.mount(dataset) is None:
        raise CommandError(f"cannot unmount '{name}': not currently mounted")
    mounting.unmount_all(node, mounting.affected(node, dataset))


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
    (target,) = args.operands
    data = b"" if args.has("A") else ctx.stdin.read()
    with changing(ctx) as node:
        if args.has("A"):
            receiving.abort(node, node.dataset(target))
            return 0
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
    return 0
