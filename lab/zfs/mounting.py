"""Mounting file systems, and the links of volumes in /dev/zvol. Rules of libzfs_mount.c and libzfs_changelist.c."""

from __future__ import annotations

import errno
import os

from lab.core import CommandError, Mount, inside
from lab.mounts import below, fsid, is_read_only
from lab.zfs import values
from lab.zfs.model import Dataset, Node, Pool, only

CANNOT_READ = "encryption key not loaded"


def mountable(node: Node, dataset: Dataset) -> bool:
    """Whether it has a mount point and may be mounted at all (zfs_is_mountable)."""
    if dataset.kind != "filesystem" or values.effective(node, dataset, "canmount") == "off":
        return False
    return values.mountpoint(node, dataset)[0] not in ("none", "legacy")


def mount(node: Node, dataset: Dataset) -> None:
    """Mounts a file system; does nothing where it is not mountable, as zfs_mount()."""
    if not mountable(node, dataset) or node.mount(dataset):
        return
    target = values.mountpoint(node, dataset)[0]
    if not node.key_loaded(dataset):
        raise CommandError(f"cannot mount '{dataset.name}': {CANNOT_READ}")
    only(not (dataset.partial and dataset.partial.new), f"zfs mount {dataset.name}, which has not arrived")
    place = node.file(target)
    if place.exists() and not place.is_dir():
        raise CommandError(f"cannot mount '{target}': mountpoint or dataset is not a directory")
    if not place.is_dir():
        _make(node, target)
    read_only = values.effective(node, dataset, "readonly") == "on"
    words = options(node, dataset)
    number = fsid(f"{node.pool_of(dataset).guid} {dataset.id}", 0xDE)
    node.host.mounts.append(Mount(dataset.name, target, "zfs", dataset.tree, read_only, words, fsid=number))


def options(node: Node, dataset: Dataset) -> tuple[str, ...]:
    """Mount options other than ro, in the words of mount(8), of a file system with its present properties."""
    found = [
        word
        for prop, word in (("exec", "noexec"), ("setuid", "nosuid"), ("atime", "noatime"))
        if values.effective(node, dataset, prop) == "off"
    ]
    return (*found, "nfsv4acls")


def _make(node: Node, target: str) -> None:
    """Makes a mount point with its parents, as the kernel would allow it."""
    path = ""
    for name in target.strip("/").split("/"):
        above, path = path or "/", f"{path}/{name}"
        if node.file(path).is_dir():
            continue
        cover = [m for m in node.host.mounts if above == m.target or above.startswith(m.target.rstrip("/") + "/")]
        problem = 0
        if cover and is_read_only(node.host, cover[-1]):
            problem = errno.EROFS
        elif node.immutable(above):
            problem = errno.EPERM
        if problem:
            raise CommandError(f"cannot mount '{target}': failed to create mountpoint: {os.strerror(problem)}")
        node.file(path).mkdir()


def unmount(node: Node, entry: Mount) -> None:
    """Takes one entry out of the mount table."""
    if busy(node, entry):
        raise CommandError(f"cannot unmount '{entry.target}': pool or dataset is busy")
    node.host.mounts.remove(entry)


def busy(node: Node, entry: Mount) -> bool:
    """Whether another file system is mounted below or shows this one, something is open, or this shell stands in it."""
    inner = entry.target.rstrip("/") + "/"
    later = node.host.mounts[node.host.mounts.index(entry) + 1 :]
    if any(m.target.startswith(inner) or m.target == entry.target or below(node.host, m) is entry for m in later):
        return True
    if inside() and (os.getcwd() + "/").startswith(inner):
        return True
    return entry.device in node.state.busy


def affected(node: Node, dataset: Dataset) -> list[Dataset]:
    """What a change of the mount point reaches: the dataset and those below that inherit it."""
    found = [dataset]
    for child in node.children(dataset):
        if "mountpoint" not in child.props:
            found += affected(node, child)
    return found


def unmount_all(node: Node, datasets: list[Dataset]) -> list[Dataset]:
    """Unmounts what is mounted of these, the newest first; all or nothing.

    :returns: what was mounted, oldest first
    """
    names = {d.name: d for d in datasets}
    before = list(node.host.mounts)
    entries = [m for m in before if m.fstype == "zfs" and m.device in names]
    try:
        for entry in reversed(entries):
            unmount(node, entry)
    except CommandError:
        node.host.mounts = before
        raise
    return [names[m.device] for m in entries]


def refresh(node: Node, dataset: Dataset) -> None:
    """Mounted file systems follow ``readonly`` and the like at once."""
    for each in node.below(dataset):
        entry = node.mount(each)
        if entry is not None:
            entry.read_only = values.effective(node, each, "readonly") == "on"
            kept = tuple(o for o in entry.options if o not in ("noexec", "nosuid", "noatime", "nfsv4acls"))
            entry.options = (*kept, *options(node, each))


def remove_directory(node: Node, target: str) -> None:
    """Removes a mount point that ZFS made, if it is empty (remove_mountpoint())."""
    if not node.immutable(os.path.dirname(target)):
        try:
            node.file(target).rmdir()
        except OSError:
            return


def mount_pool(node: Node, pool: Pool) -> list[CommandError]:
    """Mounts what belongs to be mounted of a pool, by mount point; returns what went wrong.

    Like ``zfs mount -a``, it passes over what has no key and what is ``canmount=noauto``.
    """
    wanted = [d for d in pool.datasets.values() if mountable(node, d) and not node.mount(d)]
    problems = []
    for dataset in sorted(wanted, key=lambda d: values.mountpoint(node, d)[0]):
        skip = dataset.partial is not None and dataset.partial.new
        if not skip and values.effective(node, dataset, "canmount") == "on" and node.key_loaded(dataset):
            try:
                mount(node, dataset)
            except CommandError as error:
                problems.append(error)
    return problems


def link_volumes(node: Node) -> None:
    """Makes /dev/zvol show the volumes of the imported pools that can be read."""
    top = node.store.root(node.host.name) / "dev/zvol"
    if not top.is_dir():
        return
    wanted = {
        d.name: f"/.lab/state/{d.tree}/data"
        for d in node.all()
        if d.kind == "volume" and node.key_loaded(d) and not (d.partial and d.partial.new)
    }
    for folder, folders, files in os.walk(top, topdown=False):
        for name in [*files, *folders]:
            path = os.path.join(folder, name)
            link = os.path.relpath(path, top)
            if os.path.islink(path):
                if os.readlink(path) != wanted.get(link):
                    os.unlink(path)
            elif not os.listdir(path):
                os.rmdir(path)
    for name, target in wanted.items():
        place = top / name
        if not place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
