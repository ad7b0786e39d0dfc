"""What the properties of a dataset are, and where each value comes from."""

from __future__ import annotations

from lab.zfs import space
from lab.zfs.model import Bookmark, Dataset, Node, Snapshot
from lab.zfs.properties import PROPERTIES, Property, shown

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


def get(sizes: space.Space, item: Dataset | Snapshot | Bookmark, owner: Dataset, name: str) -> Value | None:
    """The value and source of a property of a dataset, snapshot or bookmark; None where it has no such property."""
    prop = PROPERTIES.get(name)
    node = sizes.node
    if isinstance(item, Bookmark):
        return _bookmark(item, owner, prop) if prop else None
    if isinstance(item, Snapshot):
        if prop is None:
            return setting(node, owner, name)
        if "snapshot" not in prop.types:
            return None
        return _snapshot(sizes, item, owner, prop)
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
    found = _own(sizes, item, name)
    if found is not None:
        return found, LOCAL if name == "volsize" else NONE
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
        return crypt.keyformat, NONE
    if name == "keylocation":
        return (crypt.keylocation, LOCAL) if crypt.root == dataset.id else ("none", DEFAULT)
    if name == "encryptionroot":
        root = node.encryption_root(dataset)
        return (root.name, NONE) if root else None
    return "available" if node.key_loaded(dataset) else "unavailable", NONE


def _own(sizes: space.Space, dataset: Dataset, name: str) -> str | None:
    """Values that are measured or given by the system, not set; None if it is none of them or there is none."""
    node = sizes.node
    if name in space.MEASURED:
        return str(sizes.measure(dataset, name))
    if name == "receive_resume_token":
        from lab.zfs.resume import token

        return token(dataset.partial) if dataset.partial else None
    if name == "origin":
        if dataset.origin is None:
            return None
        return f"{node.owner(node.pool_of(dataset), dataset.origin).name}@{dataset.origin.name}"
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


def _snapshot(sizes: space.Space, snap: Snapshot, owner: Dataset, prop: Property) -> Value | None:
    node = sizes.node
    name = prop.name
    fixed = {
        "type": "snapshot",
        "name": f"{owner.name}@{snap.name}",
        "creation": str(int(snap.creation)),
        "createtxg": str(snap.createtxg),
        "guid": str(snap.guid),
        "objsetid": str(snap.objsetid),
        "referenced": str(snap.referenced),
        "written": str(snap.written),
        "logicalreferenced": str(snap.referenced),
        "compressratio": "1.00",
        "refcompressratio": "1.00",
        "defer_destroy": "off",
        "userrefs": str(len(snap.holds)),
        "clones": ",".join(sorted(d.name for d in node.clones(node.pool_of(owner), snap))),
    }
    if name == "used":
        return str(sizes.unique(owner, snap)), NONE
    if name in fixed:
        return fixed[name], NONE
    if name == "volsize":
        return (str(snap.volsize), NONE) if owner.kind == "volume" else None
    if name in ("encryption", "encryptionroot", "keystatus"):
        return _encryption(node, owner, name)
    if owner.kind == "volume" and name in ("version", "utf8only", "normalization", "casesensitivity"):
        return None
    if name in ("version", "utf8only", "normalization", "casesensitivity"):
        return _own(sizes, owner, name) or "-", NONE
    if owner.kind not in prop.types or prop.default is None:
        return None
    found = setting(node, owner, name)
    if found is None:
        return prop.default, DEFAULT
    return (found[0], f"inherited from {owner.name}") if found[1] == LOCAL else found


def _bookmark(mark: Bookmark, owner: Dataset, prop: Property) -> Value | None:
    fixed = {
        "type": "bookmark",
        "name": f"{owner.name}#{mark.name}",
        "creation": str(int(mark.creation)),
        "createtxg": str(mark.createtxg),
        "guid": str(mark.guid),
        "referenced": str(mark.referenced),
    }
    return (fixed[prop.name], NONE) if prop.name in fixed else None


def text(name: str, value: Value | None, exact: bool) -> str:
    """A value as it is printed; ``-`` where there is none."""
    if value is None:
        return "-"
    prop = PROPERTIES.get(name)
    return shown(prop, value[0], exact) if prop else value[0]
