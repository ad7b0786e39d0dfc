"""Setting and inheriting properties, with what follows from it. Messages of lib/libzfs/libzfs_dataset.c and _util.c."""

from __future__ import annotations

from lab.core import CommandError, Context, NotSimulatedError
from lab.zfs import mounting, values
from lab.zfs.arguments import Arguments
from lab.zfs.model import Dataset, Node, only
from lab.zfs.properties import CREATE_ONLY, UNSIMULATED_SETTINGS, canonical, find, user


def validated(kind: str, given: dict[str, str], *, creating: bool = False) -> dict[str, str]:
    """Property values as they are kept. A property that cannot be set, or not to that value, is refused.

    :param kind: ``filesystem`` or ``volume``
    """
    result: dict[str, str] = {}
    for name, value in given.items():
        if user(name):
            result[name] = value
            continue
        prop = find(name)
        if prop is None or not (prop.settable or (creating and prop.name in CREATE_ONLY)) or kind not in prop.types:
            raise NotSimulatedError(f"zfs {name}={value} of a {kind}")
        kept = canonical(prop, value)
        if kept is None or kept not in UNSIMULATED_SETTINGS.get(prop.name, (kept,)):
            raise NotSimulatedError(f"zfs {name}={value}")
        result[prop.name] = kept
    return result


def change(node: Node, dataset: Dataset, given: dict[str, str]) -> None:
    """``zfs set`` on one dataset."""
    settings = validated(dataset.kind, given)
    location = settings.pop("keylocation", None)
    if location is not None:
        _check_keylocation(dataset, location)
    only("volsize" not in settings, "zfs set volsize")
    mounted, was_hidden = _before(node, dataset, settings)
    if location is not None and dataset.crypt:
        dataset.crypt.keylocation = location
    dataset.props.update(settings)
    node.txg(node.pool_of(dataset))
    _after(node, dataset, mounted, was_hidden and "mountpoint" in settings)


def _check_keylocation(dataset: Dataset, location: str) -> None:
    only((dataset.crypt is None) == (location == "none"), f"zfs set keylocation={location} {dataset.name}")
    if dataset.crypt and dataset.crypt.root != dataset.id:
        action = f"cannot set property for '{dataset.name}'"
        raise CommandError(f"{action}: keylocation may only be set on encryption roots")


def _before(node: Node, dataset: Dataset, settings: dict[str, str]) -> tuple[list[Dataset], bool]:
    """Unmounts what a new mount point or ``canmount=off`` takes away (changelist_prefix).

    :returns: what was mounted, and whether the dataset had no mount point that ZFS looks after
    """
    hidden = dataset.kind == "filesystem" and values.mountpoint(node, dataset)[0] in ("none", "legacy")
    if "mountpoint" in settings:
        place, source = values.mountpoint(node, dataset)
        mounted = mounting.unmount_all(node, mounting.affected(node, dataset))
        if source != values.LOCAL and place not in ("none", "legacy"):
            mounting.remove_directory(node, place)
        return mounted, hidden
    if settings.get("canmount") == "off":
        return mounting.unmount_all(node, [dataset]), hidden
    return [], hidden


def _after(node: Node, dataset: Dataset, mounted: list[Dataset], appeared: bool) -> None:
    """Mounts again what was mounted, and what has got a mount point (changelist_postfix)."""
    again = [*mounted]
    if appeared:
        for each in mounting.affected(node, dataset):
            if each not in again and each.kind == "filesystem" and values.effective(node, each, "canmount") == "on":
                again.append(each)
    problem: CommandError | None = None
    for each in again:
        if node.key_loaded(each):
            try:
                mounting.mount(node, each)
            except CommandError as error:
                problem = CommandError(f"{error.message}\nproperty may be set but unable to remount filesystem")
    mounting.refresh(node, dataset)
    if problem:
        raise problem


def inherit(ctx: Context, node: Node, args: Arguments) -> None:
    """``zfs inherit`` of a user property on one dataset, or of readonly; -r: on all below, too."""
    prop, name = args.operands
    only(user(prop) or prop == "readonly", f"zfs inherit {prop}")
    dataset = node.dataset(name)
    for each in node.below(dataset) if args.has("r") else [dataset]:
        each.props.pop(prop, None)
    mounting.refresh(node, dataset)
    node.txg(node.pool_of(dataset))
