"""The zfs subcommands that make, change, mount and destroy."""

from __future__ import annotations

from lab.core import CommandError, Context
from lab.zfs import datasets, mounting, settings, snapshots, space, units, values
from lab.zfs.arguments import Arguments, each, split
from lab.zfs.model import Node, only


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
    if dataset.kind != "filesystem":
        raise CommandError(f"cannot open '{name}': operation not applicable to datasets of this type")
    place = values.mountpoint(node, dataset)[0]
    if place == "legacy":
        raise CommandError(f"cannot mount '{name}': legacy mountpoint\nuse mount(8) to mount this filesystem")
    if place == "none":
        raise CommandError(f"cannot mount '{name}': no mountpoint set")
    if values.effective(node, dataset, "canmount") == "off":
        raise CommandError(f"cannot mount '{name}': 'canmount' property is set to 'off'")
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
