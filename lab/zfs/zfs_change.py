"""The zfs subcommands that make, change, mount and destroy."""

from __future__ import annotations

from lab.core import CommandError, Context
from lab.zfs import crypt, datasets, mounting, settings, snapshots, space, units, values
from lab.zfs.arguments import Arguments, UsageError, assignments
from lab.zfs.model import Dataset, Node, Snapshot, only

CREATE = "create [-Pnpuv] [-o property=value] ... <filesystem>"
DESTROY = "destroy [-fnpRrv] <filesystem|volume>"
RENAME = "rename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>"
SET = "set <property=value> ... <filesystem|volume|snapshot> ..."
INHERIT = "inherit [-rS] <property> <filesystem|volume|snapshot> ..."
SNAPSHOT = "snapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ..."
ROLLBACK = "rollback [-rRf] <snapshot>"
CLONE = "clone [-p] [-o property=value] ... <snapshot> <filesystem|volume>"
PROMOTE = "promote <clone-filesystem>"
BOOKMARK = "bookmark <snapshot|bookmark> <newbookmark>"
HOLD = "hold [-r] <tag> <snapshot> ..."
RELEASE = "release [-r] <tag> <snapshot> ..."
MOUNT = "mount\n\tmount [-flvO] [-o opts] <-a | filesystem>"
UNMOUNT = "unmount [-fu] <-a | filesystem|mountpoint>"


def _exactly(args: Arguments, names: tuple[str, ...], usage: str) -> list[str]:
    """The operands, of which there must be as many as there are names for them."""
    if len(args.operands) < len(names):
        raise UsageError(f"missing {names[len(args.operands)]} argument", usage)
    if len(args.operands) > len(names):
        raise UsageError("too many arguments", usage)
    return args.operands


def _each(ctx: Context, problems: list[CommandError]) -> int:
    """Reports what went wrong with single operands."""
    for problem in problems:
        ctx.err(problem.message + "\n")
    return 1 if problems else 0


def create(ctx: Context, node: Node, args: Arguments) -> int:
    given = assignments(args.values("o"), CREATE)
    (name,) = _exactly(args, ("filesystem" if not args.has("V") else "volume",), CREATE)
    kind = "filesystem"
    size = args.value("V")
    if size is not None:
        kind = "volume"
        number = units.parse(size)
        if number is None:
            raise CommandError(f"bad volume size '{size}': bad numeric value '{size}'", 2)
        given |= {"volsize": str(number)}
        block = args.value("b")
        if block is not None:
            given |= {"volblocksize": block}
        if not args.has("s") and "refreservation" not in given:
            given |= {"refreservation": str(space.volume_reservation(number))}
    elif args.has("s") or args.has("b"):
        raise UsageError("'-s' and '-b' can only be used when creating a volume", CREATE)
    datasets.create(node, name, kind, given, ctx.stdin, parents=args.has("p"), unmounted=args.has("u"))
    return 0


def destroy(ctx: Context, node: Node, args: Arguments) -> int:
    (name,) = _exactly(args, ("dataset",), DESTROY)
    if "#" in name:
        snapshots.destroy_bookmark(node, name)
        return 0
    items = _snapshots(node, name, args) if "@" in name else None
    if items is None:
        items = datasets.plan_destroy(node, node.dataset(name), recursive=args.has("r"), clones=args.has("R"))
    pool = node.pool(name)
    if pool is None:
        raise AssertionError(name)
    if args.has("v") or args.has("p") or args.has("n"):
        verb = "would" if args.has("n") else "will"
        for item in items:
            full = datasets.full_name(node, pool, item)
            ctx.out(f"destroy\t{full}\n" if args.has("p") else f"{verb} destroy {full}\n" if args.has("v") else "")
        if "@" in name and (args.has("v") or args.has("p")):
            sizes = space.Space(node)
            freed = sum(sizes.unique(node.owner(pool, s), s) for s in items if isinstance(s, Snapshot))
            ctx.out(f"reclaim\t{freed}\n" if args.has("p") else f"{verb} reclaim {units.nice(freed)}\n")
    if not args.has("n"):
        datasets.destroy(node, items, force=args.has("f"))
    return 0


def _snapshots(node: Node, name: str, args: Arguments) -> list[Dataset | Snapshot]:
    """The snapshots that ``DATASET@A,B%C`` names, below it, too, with -r."""
    owner, _, spec = name.partition("@")
    top = node.dataset(owner)
    found: list[Dataset | Snapshot] = []
    for dataset in node.below(top) if args.has("r") else [top]:
        for word in spec.split(","):
            first, percent, last = word.partition("%")
            if not percent:
                found += [s for s in dataset.snapshots if s.name == word]
                continue
            names = [s.name for s in dataset.snapshots]
            start = names.index(first) if first in names else 0 if not first else len(names)
            end = names.index(last) + 1 if last in names else len(names) if not last else 0
            found += dataset.snapshots[start:end]
    if not found:
        raise CommandError("could not find any snapshots to destroy; check snapshot names.")
    pool = node.pool_of(top)
    clones = [(s, c) for s in found if isinstance(s, Snapshot) for c in node.clones(pool, s)]
    if clones:
        only(not args.has("R"), "zfs destroy -R of a snapshot with clones")
        snap, _ = clones[0]
        raise CommandError(
            f"cannot destroy '{datasets.full_name(node, pool, snap)}': snapshot has dependent clones\n"
            "use '-R' to destroy the following datasets:\n" + "\n".join(c.name for _, c in clones)
        )
    return found


def rename(ctx: Context, node: Node, args: Arguments) -> int:
    old, new = _exactly(args, ("source dataset", "target dataset"), RENAME)
    if "@" in old:
        snapshots.rename(node, old, new, recursive=args.has("r"))
    else:
        only(not args.has("r"), "zfs rename -r of a file system")
        datasets.rename(node, old, new, parents=args.has("p"), force=args.has("f"), unmounted=args.has("u"))
    return 0


def set_(ctx: Context, node: Node, args: Arguments) -> int:
    given = [w for w in args.operands if "=" in w]
    targets = args.operands[len(given) :]
    if not args.operands:
        raise UsageError("missing property=value argument(s)", SET)
    if not given or any("=" in w for w in targets):
        raise UsageError("invalid property=value argument" if given else "missing property=value argument(s)", SET)
    if not targets:
        raise UsageError("missing dataset name(s)", SET)
    wanted = assignments(given, SET)
    problems = []
    for name in targets:
        try:
            if "@" in name:
                _, snap = node.snapshot(name)
                snap.props |= settings.validated("snapshot", wanted, f"cannot set property for '{name}'")
            else:
                settings.change(node, node.dataset(name), wanted)
        except CommandError as error:
            problems.append(error)
    return _each(ctx, problems)


def inherit(ctx: Context, node: Node, args: Arguments) -> int:
    if not args.operands:
        raise UsageError("missing property argument", INHERIT)
    name, *targets = args.operands
    if not targets:
        raise UsageError("missing dataset argument", INHERIT)
    problems = []
    for target in targets:
        try:
            only("@" not in target, "zfs inherit of a snapshot")
            top = node.dataset(target)
            for dataset in node.below(top) if args.has("r") else [top]:
                settings.inherit(node, dataset, name, args.has("S"))
        except CommandError as error:
            problems.append(error)
    return _each(ctx, problems)


def snapshot(ctx: Context, node: Node, args: Arguments) -> int:
    if not args.operands:
        raise UsageError("missing snapshot argument", SNAPSHOT)
    props = settings.validated("snapshot", assignments(args.values("o"), SNAPSHOT), "cannot create snapshot")
    for name in args.operands:
        if "@" not in name or node.find(name.split("@")[0]) is None:
            owner = name.split("@")[0]
            reason = f"cannot open '{owner}': dataset does not exist" if "@" in name else "missing snapshot name"
            raise UsageError(reason, SNAPSHOT)
    try:
        snapshots.take(node, args.operands, recursive=args.has("r"), props=props)
    except CommandError as error:
        raise CommandError(f"{error.message}\nno snapshots were created") from None
    return 0


def rollback(ctx: Context, node: Node, args: Arguments) -> int:
    (name,) = _exactly(args, ("dataset",), ROLLBACK)
    snapshots.rollback(node, name, recent=args.has("r"))
    return 0


def clone(ctx: Context, node: Node, args: Arguments) -> int:
    source, name = _exactly(args, ("source dataset", "target dataset"), CLONE)
    snapshots.clone(node, source, name, assignments(args.values("o"), CLONE), parents=args.has("p"))
    return 0


def promote(ctx: Context, node: Node, args: Arguments) -> int:
    (name,) = _exactly(args, ("clone filesystem",), PROMOTE)
    snapshots.promote(node, name)
    return 0


def bookmark(ctx: Context, node: Node, args: Arguments) -> int:
    source, new = _exactly(args, ("source", "bookmark"), BOOKMARK)
    if "#" not in new or not set("@#") & set(source):
        raise CommandError(f"invalid bookmark name '{new}': must contain a '#'")
    snapshots.bookmark(node, source, new)
    return 0


def _hold(ctx: Context, node: Node, args: Arguments, usage: str, release: bool) -> int:
    if len(args.operands) < 2:
        raise UsageError("missing tag argument", usage)
    tag, *names = args.operands
    problems = []
    for name in names:
        try:
            if "@" not in name:
                raise CommandError(f"'{name}' is not a snapshot")
            snapshots.hold(node, tag, name, recursive=args.has("r"), release=release)
        except CommandError as error:
            problems.append(error)
    return _each(ctx, problems)


def hold(ctx: Context, node: Node, args: Arguments) -> int:
    return _hold(ctx, node, args, HOLD, False)


def release(ctx: Context, node: Node, args: Arguments) -> int:
    return _hold(ctx, node, args, RELEASE, True)


def mount(ctx: Context, node: Node, args: Arguments) -> int:
    words = ",".join(args.values("o")).split(",") if args.has("o") else []
    only(all(w in ("ro", "rw") for w in words), f"zfs mount -o {','.join(words)}")
    if args.has("a"):
        if args.has("l"):
            _load_all(ctx, node)
        return _each(ctx, [e for p in node.imported() for e in mounting.mount_pool(node, p)])
    if not args.operands:
        for entry in node.host.mounts:
            if entry.fstype == "zfs":
                ctx.out(f"{entry.device:<30}  {entry.target}\n")
        return 0
    (name,) = _exactly(args, ("filesystem",), MOUNT)
    dataset = node.dataset(name)
    if dataset.kind != "filesystem":
        raise CommandError(f"cannot open '{name}': operation not applicable to datasets of this type")
    if args.has("l") and dataset.crypt and not node.key_loaded(dataset):
        root = node.encryption_root(dataset)
        if root:
            crypt.load(node, root, None, False, ctx.stdin)
    place = values.mountpoint(node, dataset)[0]
    if place == "legacy":
        raise CommandError(f"cannot mount '{name}': legacy mountpoint\nuse mount(8) to mount this filesystem")
    if place == "none":
        raise CommandError(f"cannot mount '{name}': no mountpoint set")
    if values.effective(node, dataset, "canmount") == "off":
        raise CommandError(f"cannot mount '{name}': 'canmount' property is set to 'off'")
    if node.mount(dataset):
        raise CommandError(f"cannot mount '{name}': filesystem already mounted")
    mounting.mount(node, dataset, read_only="ro" in words)
    return 0


def _load_all(ctx: Context, node: Node) -> None:
    for dataset in node.all():
        if dataset.crypt and dataset.crypt.root == dataset.id and not node.key_loaded(dataset):
            try:
                crypt.load(node, dataset, None, False, None)
            except CommandError as error:
                ctx.err(error.message + "\n")


def unmount(ctx: Context, node: Node, args: Arguments) -> int:
    if args.has("a"):
        problems = []
        for entry in reversed([m for m in node.host.mounts if m.fstype == "zfs" and m.target != "/"]):
            try:
                mounting.unmount(node, entry, force=args.has("f"))
            except CommandError as error:
                problems.append(error)
        return _each(ctx, problems)
    (name,) = _exactly(args, ("filesystem",), UNMOUNT)
    if name.startswith("/"):
        found = next((m for m in reversed(node.host.mounts) if m.target == name.rstrip("/")), None)
        if found is None:
            raise CommandError(f"cannot unmount '{name}': not currently mounted")
        if found.fstype != "zfs":
            raise CommandError(f"cannot unmount '{name}': not a ZFS filesystem")
        name = found.device
    dataset = node.dataset(name)
    if node.mount(dataset) is None:
        raise CommandError(f"cannot unmount '{name}': not currently mounted")
    gone = mounting.unmount_all(node, mounting.affected(node, dataset), force=args.has("f"))
    if args.has("u"):
        for each in gone:
            if each.crypt and each.crypt.root == each.id:
                crypt.unload(node, each)
    return 0
