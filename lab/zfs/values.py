"""What the properties of a dataset are, and where each value comes from."""

from __future__ import annotations

from lab.zfs import space
from lab.zfs.model import Bookmark, Dataset, Node, Snapshot, only
from lab.zfs.properties import PROPERTIES, shown
from lab.zfs.stream import token

LOCAL, DEFAULT, NONE = "local", "default", "-"
Value = tuple[str, str]
"""(value in the ``-p`` form, source as `zfs get` prints it)"""


def setting(node: Node, dataset: Dataset, prop: str) -> Value | None:
    """A property that can be set: its own value or an ancestor's; None if nowhere set."""
    if prop in dataset.props:
        return dataset.props[prop], LOCAL
    known = PROPERTIES.get(prop)
    if known is None or known.inheritable:
        above = node.find(dataset.parent) if dataset.parent else None
        while above is not None:
            value = above.props.get(prop)
            if value is not None:
                if prop == "mountpoint":
                    value = _extended(value, above.name, dataset.name)
                return value, f"inherited from {above.name}"
            above = node.find(above.parent) if above.parent else None
    return None


def _extended(mountpoint: str, owner: str, name: str) -> str:
    if mountpoint in ("none", "legacy"):
        return mountpoint
    return mountpoint.rstrip("/") + name[len(owner) :]


def mountpoint(node: Node, dataset: Dataset) -> Value:
    """Where a file system belongs: a path, ``none`` or ``legacy``."""
    return setting(node, dataset, "mountpoint") or (f"/{dataset.name}", DEFAULT)


def effective(node: Node, dataset: Dataset, prop: str) -> str:
    """The value of a settable property that has a default."""
    found = setting(node, dataset, prop)
    return found[0] if found else PROPERTIES[prop].default or "-"


def get(sizes: space.Space, item: Dataset | Bookmark, name: str) -> Value | None:
    """The value and source of a property of a dataset, snapshot or bookmark; None where it has no such property."""
    prop = PROPERTIES.get(name)
    node = sizes.node
    if isinstance(item, Snapshot):
        if prop is None:
            return setting(node, item.of, name)
        return _snapshot(sizes, item, name) if "snapshot" in prop.types else None
    if isinstance(item, Bookmark):
        found = _version(item).get(name)
        return None if found is None else (found, NONE)
    if prop is None:
        return setting(node, item, name)
    if item.kind not in prop.types:
        return None
    if name == "mountpoint":
        return mountpoint(node, item)
    if name in ("volsize", "volblocksize") and item.partial and item.partial.new:
        return None  # zfs_ioctl.c, zfs_ioc_objset_stats_impl: those of a volume are not read while it is inconsistent
    if name == "volblocksize" and prop.default and item.props.get(name) == prop.default:
        return prop.default, DEFAULT  # dsl_prop.c, dsl_prop_nvlist_add_uint64
    if name in ("encryption", "keyformat", "keylocation", "encryptionroot", "keystatus"):
        return _encryption(node, item, name)
    own = _own(sizes, item, name)
    if own is not None:
        return own, LOCAL if name == "volsize" else NONE
    if prop.default is not None:
        return setting(node, item, name) or (prop.default, DEFAULT)
    return None


def _encryption(node: Node, dataset: Dataset, name: str) -> Value | None:
    crypt = dataset.crypt
    if crypt is None:
        return {"encryption": ("off", DEFAULT), "keyformat": ("none", DEFAULT), "keylocation": ("none", DEFAULT)}.get(
            name
        )
    if name == "encryption":
        return crypt.suite, NONE
    if name == "keyformat":
        return "raw", NONE
    if name == "keylocation":
        return (crypt.keylocation, LOCAL) if crypt.root == dataset.id else ("none", DEFAULT)
    if name == "encryptionroot":
        root = node.encryption_root(dataset)
        return (root.name, NONE) if root else None
    return "available" if node.key_loaded(dataset) else "unavailable", NONE


def _own(sizes: space.Space, dataset: Dataset, name: str) -> str | None:
    """Values that are measured or given by the system, not set; None if it is none of them or there is none."""
    node = sizes.node
    if measure := space.MEASURES.get(name):
        return str(measure(sizes, dataset))
    if name == "receive_resume_token":
        return token(dataset.partial) if dataset.partial else None
    if name == "origin":
        return dataset.origin.full if dataset.origin else None
    fixed = {
        "type": dataset.kind,
        "name": dataset.name,
        "creation": str(int(dataset.creation)),
        "createtxg": str(dataset.createtxg),
        "guid": str(dataset.guid),
        "objsetid": str(dataset.id),
        "mounted": "yes" if node.mount(dataset) else "no",
        "compressratio": "1.00",
        "refcompressratio": "1.00",
        "version": "5",
        "utf8only": "off",
        "normalization": "none",
        "casesensitivity": "sensitive",
    }
    if name == "volsize":
        return dataset.props.get("volsize")
    return fixed.get(name)


def _version(item: Bookmark) -> dict[str, str]:
    """What a snapshot and a bookmark both have."""
    return {
        "type": item.kind,
        "name": item.full,
        "creation": str(int(item.creation)),
        "createtxg": str(item.createtxg),
        "guid": str(item.guid),
        "referenced": str(item.referenced),
    }


def _snapshot(sizes: space.Space, snap: Snapshot, name: str) -> Value | None:
    fixed = _version(snap) | {"written": str(snap.written), "userrefs": str(len(snap.holds))}
    if name == "used":
        return str(sizes.unique(snap)), NONE
    if name in fixed:
        return fixed[name], NONE
    if name == "volsize":
        return (str(snap.volsize), NONE) if snap.of.kind == "volume" else None
    only(name in ("encryption", "encryptionroot", "keystatus"), f"the property {name} of a snapshot")
    return _encryption(sizes.node, snap.of, name)


def text(name: str, value: Value | None, exact: bool) -> str:
    """A value as it is printed; ``-`` where there is none."""
    if value is None:
        return "-"
    prop = PROPERTIES.get(name)
    return shown(prop, value[0], exact) if prop else value[0]
