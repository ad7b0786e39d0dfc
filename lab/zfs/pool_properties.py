"""The properties of pools, in the order of ``zpool get all`` (OpenZFS 2.1.9 as FreeBSD 13.2 has it)."""

from __future__ import annotations

from dataclasses import dataclass

from lab.core import CommandError
from lab.zfs import space
from lab.zfs.model import Node, Pool, only
from lab.zfs.units import nice


@dataclass(frozen=True)
class PoolProperty:
    """One property.

    :param default: None for those that are measured
    :param values: what it may be set to; empty where any text goes, None where it cannot be set
    """

    name: str
    column: str
    width: int
    default: str | None = None
    values: tuple[str, ...] | None = None
    right: bool = True


ON_OFF = ("off", "on")


def _setting(name: str, column: str, default: str, values: tuple[str, ...] | None) -> PoolProperty:
    return PoolProperty(name, column, len(column), default, values, False)


PROPERTIES = {
    p.name: p
    for p in (
        PoolProperty("name", "NAME", 4, right=False),
        PoolProperty("size", "SIZE", 5),
        PoolProperty("capacity", "CAP", 5),
        PoolProperty("altroot", "ALTROOT", 7, "-", None, False),
        PoolProperty("health", "HEALTH", 8),
        PoolProperty("guid", "GUID", 5),
        PoolProperty("version", "VERSION", 7, "-"),
        _setting("bootfs", "BOOTFS", "-", ()),
        _setting("delegation", "DELEGATION", "on", ON_OFF),
        _setting("autoreplace", "REPLACE", "off", ON_OFF),
        _setting("cachefile", "CACHEFILE", "-", None),
        _setting("failmode", "FAILMODE", "wait", ("wait", "continue", "panic")),
        _setting("listsnapshots", "LISTSNAPS", "off", ("off",)),
        _setting("autoexpand", "EXPAND", "off", ON_OFF),
        PoolProperty("dedupratio", "DEDUP", 5),
        PoolProperty("free", "FREE", 5),
        PoolProperty("allocated", "ALLOC", 5),
        PoolProperty("readonly", "RDONLY", 6, None, None, False),
        _setting("ashift", "ASHIFT", "0", tuple(str(n) for n in (0, *range(9, 17)))),
        _setting("comment", "COMMENT", "-", ()),
        PoolProperty("expandsize", "EXPANDSZ", 8),
        PoolProperty("freeing", "FREEING", 7),
        PoolProperty("fragmentation", "FRAG", 5),
        PoolProperty("leaked", "LEAKED", 6),
        _setting("multihost", "MULTIHOST", "off", ("off",)),
        PoolProperty("checkpoint", "CKPOINT", 7),
        PoolProperty("load_guid", "LOAD_GUID", 9),
        _setting("autotrim", "AUTOTRIM", "off", ON_OFF),
        _setting("compatibility", "COMPATIBILITY", "off", None),
    )
}
ACTIVE = "lz4_compress spacemap_histogram enabled_txg hole_birth embedded_data spacemap_v2 log_spacemap".split()
FEATURES = {
    f"feature@{name}": "active" if name in ACTIVE else "enabled"
    for name in """
        async_destroy empty_bpobj lz4_compress multi_vdev_crash_dump spacemap_histogram enabled_txg hole_birth
        extensible_dataset embedded_data bookmarks filesystem_limits large_blocks large_dnode sha512 skein
        userobj_accounting encryption project_quota device_removal obsolete_counts zpool_checkpoint spacemap_v2
        allocation_classes resilver_defer bookmark_v2 redaction_bookmarks redacted_datasets bookmark_written
        log_spacemap livelist device_rebuild zstd_compress draid
    """.split()
}
USED_FEATURES = {"feature@encryption": "crypt", "feature@bookmarks": "bookmarks"}
ALIASES = {
    "alloc": "allocated",
    "cap": "capacity",
    "dedup": "dedupratio",
    "frag": "fragmentation",
    "ckpoint": "checkpoint",
    "expandsz": "expandsize",
    "listsnaps": "listsnapshots",
}


def get(node: Node, pool: Pool, name: str, exact: bool) -> tuple[str, str] | None:
    """Value as printed, and source; None if there is no such property."""
    if name in FEATURES:
        attribute = USED_FEATURES.get(name)
        in_use = bool(attribute) and any(getattr(d, attribute or "") for d in pool.datasets.values())
        return "active" if in_use else FEATURES[name], "local"
    prop = PROPERTIES.get(name)
    if prop is None:
        return None
    if prop.default is not None:
        value = pool.props.get(name, prop.default)
        # whoever sets the default value gets the default (spa.c, spa_prop_get)
        return value, "default" if value == prop.default else "local"
    size = space.pool_size(pool)
    used = min(size, space.Space(node).used(pool.datasets[pool.name]))
    number = {"size": size, "allocated": used, "free": size - used, "freeing": 0, "leaked": 0}.get(name)
    if number is not None:
        return (str(number) if exact or (number == 0 and name in ("freeing", "leaked")) else nice(number)), "-"
    percent = "" if exact else "%"
    fixed = {
        "name": pool.name,
        "health": pool.health,
        "guid": str(pool.guid),
        "load_guid": str(pool.load_guid),
        "dedupratio": "1.00" if exact else "1.00x",
        "readonly": "off",
        "capacity": f"{used * 100 // size}{percent}",
        "fragmentation": f"0{percent}",
        "expandsize": "-",
        "checkpoint": "-",
    }
    return fixed[name], "-"


def put(pool: Pool, name: str, value: str, action: str) -> None:
    """Sets a property.

    :param action: start of the message
    :raises CommandError: there is no such property, or no such value
    """
    only(not name.startswith("feature@"), f"zpool {name}={value}")
    prop = PROPERTIES.get(ALIASES.get(name, name))
    if prop is None:
        raise CommandError(f"{action}: invalid property '{name}'")
    if prop.values is None:
        only(prop.default is None, f"zpool {name}={value}")
        raise CommandError(f"{action}: '{name}' is readonly")
    if prop.values and value not in prop.values:
        raise CommandError(f"{action}: '{name}' must be one of '{' | '.join(prop.values)}'")
    pool.props[prop.name] = value
