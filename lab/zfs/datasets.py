"""Making, renaming and destroying file systems and volumes."""

from __future__ import annotations

import re
from typing import BinaryIO

from lab import mounts
from lab.core import CommandError, inside
from lab.zfs import crypt, mounting, settings, space, trees, values
from lab.zfs.model import Crypt, Dataset, Node, Pool, Snapshot, guid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.: -]*")
PART = re.compile(r"[A-Za-z0-9_.: -]+")


def check_name(name: str, action: str) -> None:
    """Names of file systems and volumes (zfs_validate_name).

    :raises CommandError: in libzfs's words
    """
    parts = name.split("/")
    if name.startswith("/"):
        raise CommandError(f"{action}: leading slash in name")
    if name.endswith("/"):
        raise CommandError(f"{action}: trailing slash in name")
    if "" in parts:
        raise CommandError(f"{action}: empty component or misplaced '@' or '#' delimiter in name")
    for part in parts:
        bad = re.search(r"[^A-Za-z0-9_.: -]", part)
        if bad:
            raise CommandError(f"{action}: invalid character '{bad.group()}' in name")


def attach(node: Node, pool: Pool, name: str, kind: str, props: dict[str, str], key: Crypt | None) -> Dataset:
    """Puts a new, empty dataset into a pool.

    :param key: its encryption; with root 0 it becomes an encryption root, whose key is loaded
    """
    number = node.object_id(pool)
    tree = node.store.new_tree(node.cluster)
    if kind == "volume":
        with open(node.path(tree) / "data", "wb") as file:
            file.truncate(int(props["volsize"]))
    txg = node.txg(pool)
    dataset = Dataset(number, name, kind, guid(), txg, node.cluster.now, tree, props, crypt=key)
    pool.datasets[name] = dataset
    if key is not None and key.root == 0:
        key.root = number
        node.state.keys.add((pool.guid, number))
    return dataset


def create(
    node: Node,
    name: str,
    kind: str,
    given: dict[str, str],
    stdin: BinaryIO | None,
    *,
    parents: bool = False,
    unmounted: bool = False,
) -> None:
    """``zfs create``.

    :param parents: -p: makes missing parents, and is content with what is there
    :param unmounted: -u
    :raises CommandError: refused, or made but not mounted
    """
    action = f"cannot create '{name}'"
    check_name(name, action)
    pool = node.pool(name)
    if pool is None:
        raise CommandError(f"{action}: no such pool '{name.split('/')[0]}'")
    if name in pool.datasets:
        if parents:
            return
        raise CommandError(f"{action}: dataset already exists")
    above = name.rpartition("/")[0]
    if above not in pool.datasets:
        if not parents:
            raise CommandError(f"{action}: parent does not exist")
        create(node, above, "filesystem", {}, stdin, parents=True)
    if pool.datasets[above].kind == "volume":
        raise CommandError(f"{action}: parent is not a filesystem")
    props = settings.validated(kind, given, action, creating=True)
    if kind == "volume":
        settings.check_volsize(props, props.setdefault("volblocksize", "8192"), action)
        wanted = props.get("refreservation", "none")
        if wanted != "none" and int(wanted) > space.Space(node).free(pool):
            raise CommandError(f"{action}: out of space")
    key = crypt.for_new(node, name, props, stdin)
    dataset = attach(node, pool, name, kind, props, key)
    if kind == "volume":
        mounting.link_volumes(node)
    elif not unmounted and values.effective(node, dataset, "canmount") == "on":
        try:
            mounting.mount(node, dataset)
        except CommandError as error:
            raise CommandError(f"{error.message}\nfilesystem successfully created, but not mounted") from None


def dependents(node: Node, dataset: Dataset, *, clones: bool = False) -> list[Dataset | Snapshot]:
    """What has to go before a dataset can: children and snapshots, the innermost first, then the dataset itself.

    :param clones: with clones of the snapshots, which may be anywhere in the pool
    """
    found: list[Dataset | Snapshot] = []
    for child in node.children(dataset):
        found += dependents(node, child, clones=clones)
    for snap in dataset.snapshots:
        if clones:
            for clone in node.clones(node.pool_of(dataset), snap):
                found += [d for d in dependents(node, clone, clones=True) if d not in found]
        found.append(snap)
    return [*found, dataset]


def full_name(node: Node, pool: Pool, item: Dataset | Snapshot) -> str:
    return item.name if isinstance(item, Dataset) else f"{node.owner(pool, item).name}@{item.name}"


def plan_destroy(node: Node, dataset: Dataset, *, recursive: bool, clones: bool) -> list[Dataset | Snapshot]:
    """What ``zfs destroy`` would destroy, in order.

    :raises CommandError: there is more than the options allow
    """
    pool = node.pool_of(dataset)
    word = dataset.kind
    inside_ = dependents(node, dataset)
    outside = [c for s in inside_ if isinstance(s, Snapshot) for c in node.clones(pool, s) if c not in inside_]
    if outside and not clones:
        names = [full_name(node, pool, d) for c in outside for d in dependents(node, c, clones=True)]
        raise CommandError(
            f"cannot destroy '{dataset.name}': {word} has dependent clones\n"
            "use '-R' to destroy the following datasets:\n" + "\n".join(names)
        )
    if len(inside_) > 1 and not (recursive or clones):
        raise CommandError(
            f"cannot destroy '{dataset.name}': {word} has children\nuse '-r' to destroy the following datasets:\n"
            + "\n".join(full_name(node, pool, d) for d in inside_[:-1])
        )
    if dataset.name == pool.name:
        raise CommandError(
            f"cannot destroy '{dataset.name}': operation does not apply to pools\n"
            f"use 'zfs destroy -r {dataset.name}' to destroy all datasets in the pool\n"
            f"use 'zpool destroy {dataset.name}' to destroy the pool itself"
        )
    return dependents(node, dataset, clones=clones)


def destroy(node: Node, items: list[Dataset | Snapshot], *, force: bool = False) -> None:
    """Destroys datasets and snapshots in order; unmounts first.

    :raises CommandError: one is mounted and busy, or held
    """
    for item in items:
        if isinstance(item, Snapshot):
            _not_held(node, item)
    datasets = [d for d in items if isinstance(d, Dataset)]
    for dataset in datasets:
        if dataset.kind == "volume" and dataset.name in node.state.busy:
            raise CommandError(f"cannot destroy '{dataset.name}': dataset is busy")
    mounting.unmount_all(node, datasets, force=force)
    if inside():
        # a folder on which this process still sees a mount cannot be removed
        mounts.sync(node.host)
    for item in items:
        if isinstance(item, Snapshot):
            remove_snapshot(node, item)
        else:
            remove(node, item)
    mounting.link_volumes(node)


def remove(node: Node, dataset: Dataset) -> None:
    """Takes a dataset without snapshots out of its pool, and its mount point where ZFS chose that."""
    pool = node.pool_of(dataset)
    if dataset.kind == "filesystem":
        place, source = values.mountpoint(node, dataset)
        if source != values.LOCAL and place not in ("none", "legacy"):
            mounting.remove_directory(node, place)
    node.state.keys.discard((pool.guid, dataset.id))
    del pool.datasets[dataset.name]
    node.txg(pool)
    trees.remove(node.path(dataset.tree))


def _not_held(node: Node, snap: Snapshot) -> None:
    if snap.holds:
        pool = next(p for p in node.imported() if any(snap in d.snapshots for d in p.datasets.values()))
        name = full_name(node, pool, snap)
        raise CommandError(
            f"cannot destroy snapshot {name}: it's being held. Run 'zfs holds -r {name}' to see holders."
        )


def remove_snapshot(node: Node, snap: Snapshot) -> None:
    """Destroys a snapshot that nothing depends on."""
    pool = next(p for p in node.imported() if any(s is snap for d in p.datasets.values() for s in d.snapshots))
    owner = node.owner(pool, snap)
    owner.snapshots = [s for s in owner.snapshots if s is not snap]
    node.txg(pool)
    trees.remove(node.path(snap.tree))


def rename(
    node: Node, name: str, new: str, *, parents: bool = False, force: bool = False, unmounted: bool = False
) -> None:
    """``zfs rename`` of a file system or volume with everything below it.

    :param unmounted: -u: leaves what is mounted where it is
    :raises CommandError: refused
    """
    dataset = node.dataset(name)
    pool = node.pool_of(dataset)
    action = f"cannot rename '{name}'"
    check_name(new, f"cannot rename to '{new}'")
    if new.split("/")[0] != pool.name:
        raise CommandError(f"cannot rename to '{new}': datasets must be within same pool")
    if "/" not in name or "/" not in new:
        raise CommandError(
            f"{action}: operation does not apply to pools"
            if "/" not in name
            else f"cannot create '{new}': missing dataset name"
        )
    above = new.rpartition("/")[0]
    if above not in pool.datasets:
        if not parents:
            raise CommandError(f"cannot create '{new}': parent does not exist")
        create(node, above, "filesystem", {}, None, parents=True)
    if new == name or new.startswith(name + "/"):
        raise CommandError(f"{action}: New dataset name cannot be a descendant of current dataset name")
    if new in pool.datasets:
        raise CommandError(f"{action}: dataset already exists")
    parent = pool.datasets[above]
    inherits = dataset.crypt and dataset.crypt.root != dataset.id and above != dataset.parent
    if dataset.crypt and inherits and (parent.crypt is None or parent.crypt.root != dataset.crypt.root):
        raise CommandError(f"{action}: cannot move encrypted child outside of its encryption root")
    moving = node.below(dataset)
    mounted = (
        [] if unmounted else mounting.unmount_all(node, [d for d in moving if d.kind == "filesystem"], force=force)
    )
    places = [] if unmounted else [values.mountpoint(node, d) for d in moving if d.kind == "filesystem"]
    for each in moving:
        old = each.name
        del pool.datasets[old]
        each.name = new + old[len(name) :]
        pool.datasets[each.name] = each
        if old in node.state.busy:
            node.state.busy[each.name] = node.state.busy.pop(old)
        for entry in node.host.mounts:
            if entry.fstype == "zfs" and entry.device == old:
                entry.device = each.name
    node.txg(pool)
    kept = [values.mountpoint(node, d)[0] for d in moving if d.kind == "filesystem"]
    for place, _ in sorted(places, reverse=True):
        if place not in (*kept, "none", "legacy"):
            mounting.remove_directory(node, place)
    for each in mounted:
        mounting.mount(node, each)
    mounting.link_volumes(node)
