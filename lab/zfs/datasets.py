"""Making, renaming and destroying file systems and volumes."""

from __future__ import annotations

import re
import shutil
from typing import BinaryIO

from lab import mounts
from lab.core import CommandError, Context, inside
from lab.zfs import crypt, mounting, settings, space, values
from lab.zfs.arguments import Arguments
from lab.zfs.model import Crypt, Dataset, Node, Pool, Snapshot, guid, only


def check_name(name: str) -> None:
    """Names of file systems, volumes and snapshots (zfs_validate_name)."""
    only(re.fullmatch(r"[A-Za-z0-9_.: -]+(/[A-Za-z0-9_.: -]+)*", name) is not None, f"the name {name!r} of a dataset")


def attach(node: Node, pool: Pool, name: str, kind: str, props: dict[str, str], key: Crypt | None) -> Dataset:
    """Puts a new, empty dataset into a pool.

    :param key: its encryption; with root 0 it becomes an encryption root, whose key is loaded
    """
    number = node.cluster.next_id()
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
) -> None:
    """``zfs create``.

    :param parents: -p: makes missing parents, and is content with what is there
    """
    action = f"cannot create '{name}'"
    check_name(name)
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
    only(pool.datasets[above].kind == "filesystem", f"zfs create {name}, below a volume")
    props = settings.validated(kind, given, creating=True)
    if kind == "volume":
        size, block = int(props["volsize"]), int(props.setdefault("volblocksize", "8192"))
        only(size > 0 and size % block == 0, f"zfs create -V {size}")
        wanted = props.get("refreservation", "none")
        if wanted != "none" and int(wanted) > space.Space(node).free(pool):
            raise CommandError(f"{action}: out of space")
    key = crypt.for_new(node, name, props, stdin)
    dataset = attach(node, pool, name, kind, props, key)
    if kind == "volume":
        mounting.link_volumes(node)
    elif values.effective(node, dataset, "canmount") == "on":
        try:
            mounting.mount(node, dataset)
        except CommandError as error:
            raise CommandError(f"{error.message}\nfilesystem successfully created, but not mounted") from None


def dependents(node: Node, dataset: Dataset) -> list[Dataset | Snapshot]:
    """What has to go before a dataset can: children and snapshots, the innermost first, then the dataset itself."""
    found: list[Dataset | Snapshot] = []
    for child in node.children(dataset):
        found += dependents(node, child)
    return [*found, *dataset.snapshots, dataset]


def plan_destroy(node: Node, dataset: Dataset, *, recursive: bool) -> list[Dataset | Snapshot]:
    """What ``zfs destroy`` would destroy, in order."""
    pool = node.pool_of(dataset)
    items = dependents(node, dataset)
    clones = [c for s in items if isinstance(s, Snapshot) for c in node.clones(pool, s) if c not in items]
    only(not clones and dataset.name != pool.name, f"zfs destroy {dataset.name}, which has clones or is the pool")
    only(len(items) == 1 or recursive, f"zfs destroy {dataset.name}, which has children, without -r")
    return items


def destroy(node: Node, items: list[Dataset | Snapshot]) -> None:
    """Destroys datasets and snapshots in order; unmounts first."""
    for item in items:
        if isinstance(item, Snapshot) and item.holds:
            raise CommandError(
                f"cannot destroy snapshot {item.full}: it's being held. Run 'zfs holds -r {item.full}' to see holders."
            )
    datasets = [d for d in items if isinstance(d, Dataset)]
    for dataset in datasets:
        if dataset.kind == "volume" and dataset.name in node.state.busy:
            raise CommandError(f"cannot destroy '{dataset.name}': dataset is busy")
    mounting.unmount_all(node, datasets)
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
    shutil.rmtree(node.path(dataset.tree))


def remove_snapshot(node: Node, snap: Snapshot) -> None:
    """Destroys a snapshot that nothing depends on."""
    snap.of.snapshots = [s for s in snap.of.snapshots if s is not snap]
    node.txg(node.pool_of(snap.of))
    shutil.rmtree(node.path(snap.tree))


def rename(ctx: Context, node: Node, args: Arguments) -> None:
    """``zfs rename`` of a file system or volume with everything below it.

    With -u nothing is unmounted, and the mount table has the new name at once (zfsvfs_update_fromname in FreeBSD's
    zfs_vfsops.c, called by dsl_dir_rename_sync).
    """
    name, new = args.operands
    only("@" not in name, "zfs rename of a snapshot")
    dataset = node.dataset(name)
    only(dataset.kind == "filesystem" or not args.has("u"), "zfs rename -u of a volume")
    pool = node.pool_of(dataset)
    check_name(new)
    above = new.rpartition("/")[0]
    only("/" in name and above in pool.datasets and new not in pool.datasets, f"zfs rename {name} {new}")
    only(not new.startswith(name + "/"), f"zfs rename {name} {new}, which is below it")
    key, theirs = dataset.crypt, pool.datasets[above].crypt
    moves = key is not None and key.root != dataset.id and above != dataset.parent
    stays = key is not None and theirs is not None and theirs.root == key.root
    only(stays or not moves, f"zfs rename {name} {new}: an encrypted child leaves its encryption root")
    moving = node.below(dataset)
    systems = [d for d in moving if d.kind == "filesystem"]
    mounted = [] if args.has("u") else mounting.unmount_all(node, systems)
    places = [values.mountpoint(node, d)[0] for d in systems]
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
    if args.has("u"):
        return
    kept = [values.mountpoint(node, d)[0] for d in systems]
    for place in sorted(places, reverse=True):
        if place not in (*kept, "none", "legacy"):
            mounting.remove_directory(node, place)
    for each in mounted:
        mounting.mount(node, each)
    mounting.link_volumes(node)
