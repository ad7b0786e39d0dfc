"""Snapshots, bookmarks, holds, clones and what goes back to them."""

from __future__ import annotations

from lab.core import CommandError, Context, NotSimulatedError
from lab.zfs import crypt, datasets, mounting, settings, space, trees, values
from lab.zfs.arguments import Arguments
from lab.zfs.model import Bookmark, Crypt, Dataset, Node, Snapshot, guid, only

CLONED = 8192
"""Bytes that an encrypted clone shows as written where its source was written to with fsync(2); seen on 15.1."""


def take(node: Node, names: list[str], *, recursive: bool = False) -> None:
    """``zfs snapshot``: all of them or none, in one transaction group.

    :param names: ``DATASET@NAME``
    """
    wanted: list[tuple[Dataset, str]] = []
    for name in names:
        owner, _, short = name.partition("@")
        datasets.check_name(f"x/{short}")
        top = node.dataset(owner)
        # a name given twice counts once (zfs_do_snapshot collects them in an nvlist of unique names)
        wanted += [(d, short) for d in (node.below(top) if recursive else [top]) if (d, short) not in wanted]
    owners = {d.name for d, _ in wanted}
    only(len(owners) == len(wanted) and len({n.split("/")[0] for n in owners}) == 1, "zfs snapshot of two pools")
    for dataset, short in wanted:
        if dataset.snapshot(short):
            raise CommandError(f"cannot create snapshot '{dataset.name}@{short}': dataset already exists")
    numbers = {p.guid: node.txg(p) for p in node.imported() if any(node.pool_of(d) is p for d, _ in wanted)}
    for dataset, short in wanted:
        add(node, dataset, short, txg=numbers[node.pool_of(dataset).guid])


def add(
    node: Node,
    dataset: Dataset,
    name: str,
    *,
    txg: int,
    number: int | None = None,
    creation: float | None = None,
    ivset: int | None = None,
) -> Snapshot:
    """A snapshot of the present contents.

    :param number: its guid, when it came with a stream
    """
    sizes = space.Space(node)
    written = sizes.written(dataset)
    if dataset.snapshots:
        last = dataset.snapshots[-1]
        last.unique = sizes.only_in(last.tree, dataset.tree)
    tree = node.store.new_tree(node.cluster)
    trees.copy(node.path(dataset.tree), node.path(tree))
    snap = Snapshot(
        name,
        number or guid(),
        txg,
        node.cluster.time_on(node.host) if creation is None else creation,
        sizes.referenced(dataset),
        (guid() if dataset.crypt else 0) if ivset is None else ivset,
        tree,
        written,
        volsize=int(dataset.props.get("volsize", 0)),
        of=dataset,
    )
    dataset.snapshots.append(snap)
    dataset.log = 0
    return snap


def rollback(ctx: Context, node: Node, args: Arguments) -> None:
    """``zfs rollback``: the contents of a snapshot again, in place, so that a mount stays; -r: those after it go."""
    (name,) = args.operands
    dataset, snap = node.snapshot(name)
    after = dataset.snapshots[dataset.snapshots.index(snap) + 1 :]
    marks = [b for b in dataset.bookmarks if b.createtxg > snap.createtxg]
    if (after or marks) and not args.has("r"):
        names = [f"{dataset.name}@{s.name}" for s in after] + [f"{dataset.name}#{b.name}" for b in marks]
        raise CommandError(
            f"cannot rollback to '{name}': more recent snapshots or bookmarks exist\n"
            "use '-r' to force deletion of the following snapshots and bookmarks:\n" + "\n".join(names)
        )
    only(not any(node.clones(node.pool_of(dataset), s) for s in after), f"zfs rollback {name}, with clones")
    # one after the other: a hold keeps one, and the rollback from happening, not the others from going
    # (libzfs_dataset.c, rollback_destroy; seen)
    held = [s for s in after if s.holds]
    datasets.destroy(node, [s for s in after if not s.holds])
    if held:
        raise CommandError("\n".join(f"cannot destroy '{dataset.name}@{s.name}': dataset is busy" for s in held))
    dataset.bookmarks = [b for b in dataset.bookmarks if b not in marks]
    trees.mirror(node.path(snap.tree), node.path(dataset.tree))
    if snap.volsize:
        dataset.props["volsize"] = str(snap.volsize)
    node.txg(node.pool_of(dataset))


def to_destroy(node: Node, name: str) -> Snapshot:
    """The snapshot that ``zfs destroy DATASET@NAME`` means."""
    owner = node.dataset(name.partition("@")[0])
    found = owner.snapshot(name.partition("@")[2])
    if found is None:
        raise CommandError("could not find any snapshots to destroy; check snapshot names.")
    only(not node.clones(node.pool_of(owner), found), f"zfs destroy {name}, which has clones")
    return found


def bookmark(node: Node, source: str, new: str) -> None:
    """``zfs bookmark SNAPSHOT|BOOKMARK BOOKMARK``, which zrepl does; both are of one dataset."""
    owner_name, _, short = new.partition("#")
    mark = source[len(owner_name) :]
    only(source.startswith(owner_name), f"zfs bookmark {source} {new}")
    owner = node.dataset(owner_name)
    item = owner.version(mark)
    assert item is not None, source
    mine = (short, item.guid, item.createtxg, item.creation, item.referenced, item.ivset)
    owner.bookmarks.append(Bookmark(*mine, of=owner))
    node.txg(node.pool_of(owner))


def destroy_bookmark(node: Node, name: str) -> None:
    """``zfs destroy DATASET#NAME``."""
    owner = node.find(name.split("#")[0])
    short = name.partition("#")[2]
    if owner is None or all(b.name != short for b in owner.bookmarks):
        raise CommandError(f"bookmark '{name}' does not exist.")
    owner.bookmarks = [b for b in owner.bookmarks if b.name != short]
    node.txg(node.pool_of(owner))


def clone(ctx: Context, node: Node, args: Arguments) -> None:
    """``zfs clone``: a file system or volume with a snapshot's contents and its encryption."""
    source, name = args.operands
    given = args.assignments("o")
    origin_of, snap = node.snapshot(source)
    pool = node.pool_of(origin_of)
    datasets.check_name(name)
    only(name not in pool.datasets and name.rpartition("/")[0] in pool.datasets, f"zfs clone {source} {name}")
    only(not {"encryption", "keyformat", "keylocation"} & given.keys(), "zfs clone with properties of encryption")
    props = settings.validated(origin_of.kind, given, creating=True)
    if origin_of.kind == "volume":
        props |= {"volsize": str(snap.volsize), "volblocksize": origin_of.props["volblocksize"]}
    key = None
    if origin_of.crypt:
        key = Crypt(origin_of.crypt.root, origin_of.crypt.suite, origin_of.crypt.master)
    made = datasets.attach(node, pool, name, origin_of.kind, props, key)
    made.origin = snap
    made.log = CLONED if key else 0
    trees.mirror(node.path(snap.tree), node.path(made.tree))
    if made.kind == "filesystem" and values.effective(node, made, "canmount") == "on" and node.key_loaded(made):
        mounting.mount(node, made)


def promote(ctx: Context, node: Node, args: Arguments) -> None:
    """``zfs promote``: the snapshots up to the origin, and the role of the origin, go to the clone."""
    (name,) = args.operands
    made = node.dataset(name)
    pool = node.pool_of(made)
    if made.origin is None:
        raise NotSimulatedError(f"zfs promote {name}, which is no clone")
    origin = made.origin.of
    cut = origin.snapshots.index(made.origin) + 1
    moving, staying = origin.snapshots[:cut], origin.snapshots[cut:]
    only(not any(made.snapshot(snap.name) for snap in moving), f"zfs promote {name}: names of snapshots")
    if origin.crypt and origin.origin is None and origin.crypt.root != origin.id:
        above = [pool.datasets[each.parent or pool.name].crypt for each in (origin, made)]
        # dsl_dataset_promote_crypt_check
        only(len({each.root if each else None for each in above}) == 1, f"zfs promote {name}: another encryption root")
    for snap in moving:
        snap.of = made
    crypt.promote(origin, made, list(pool.datasets.values()))
    if (pool.guid, origin.id) in node.state.keys and made.crypt and made.crypt.root == made.id:
        node.state.keys.discard((pool.guid, origin.id))
        node.state.keys.add((pool.guid, made.id))
    made.snapshots, origin.snapshots = [*moving, *made.snapshots], staying
    made.origin, origin.origin = origin.origin, made.origin
    node.txg(pool)


def hold(node: Node, tag: str, name: str, *, release: bool = False) -> None:
    """``zfs hold``, which zrepl does, and ``zfs release``."""
    top, snap = node.snapshot(name)
    if release and tag not in snap.holds:
        raise CommandError(f"cannot release hold from snapshot '{name}': no such tag on this dataset")
    if release:
        del snap.holds[tag]
    else:
        snap.holds[tag] = node.cluster.now
    node.txg(node.pool_of(top))
