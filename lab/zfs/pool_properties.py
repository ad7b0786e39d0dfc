"""The properties of pools that are asked for or set (OpenZFS 2.1.9 as FreeBSD 13.2 has it)."""

from __future__ import annotations

from dataclasses import dataclass

from lab.zfs import space
from lab.zfs.model import Node, Pool, only
from lab.zfs.units import nice

ENCRYPTION = "feature@encryption"


@dataclass(frozen=True)
class PoolProperty:
    """One property.

    :param column: its heading, and ``width`` the least width of its column
    :param values: what it may be set to, the default first; none where it cannot be set
    """

    column: str
    width: int
    values: tuple[str, ...] = ()
    right: bool = True


PROPERTIES = {
    "name": PoolProperty("NAME", 4, right=False),
    "size": PoolProperty("SIZE", 5),
    "allocated": PoolProperty("ALLOC", 5),
    "free": PoolProperty("FREE", 5),
    "checkpoint": PoolProperty("CKPOINT", 7),
    "expandsize": PoolProperty("EXPANDSZ", 8),
    "fragmentation": PoolProperty("FRAG", 5),
    "capacity": PoolProperty("CAP", 5),
    "dedupratio": PoolProperty("DEDUP", 5),
    "health": PoolProperty("HEALTH", 8),
    "altroot": PoolProperty("ALTROOT", 7, right=False),
    "guid": PoolProperty("GUID", 5),
    "failmode": PoolProperty("FAILMODE", 8, ("wait", "continue", "panic"), right=False),
    "autotrim": PoolProperty("AUTOTRIM", 8, ("off", "on"), right=False),
    "ashift": PoolProperty("ASHIFT", 6, tuple(str(n) for n in (0, *range(9, 17))), right=False),
}


def get(node: Node, pool: Pool, name: str, exact: bool) -> tuple[str, str]:
    """Value as printed, and source."""
    if name == ENCRYPTION:
        return "active" if any(d.crypt for d in pool.datasets.values()) else "enabled", "local"
    if allowed := PROPERTIES[name].values:
        value = pool.props.get(name, allowed[0])
        # whoever sets the default value gets the default (spa.c, spa_prop_get)
        return value, "default" if value == allowed[0] else "local"
    size = space.pool_size(pool)
    used = min(size, space.Space(node).used(pool.datasets[pool.name]))
    numbers = {"size": size, "allocated": used, "free": size - used}
    if name in numbers:
        return str(numbers[name]) if exact else nice(numbers[name]), "-"
    percent = "" if exact else "%"
    fixed = {
        "name": pool.name,
        "health": pool.health,
        "guid": str(pool.guid),
        "dedupratio": "1.00" if exact else "1.00x",
        "capacity": f"{used * 100 // size}{percent}",
        "fragmentation": f"0{percent}",
    }
    return fixed.get(name, "-"), "-"


def put(pool: Pool, name: str, value: str) -> None:
    """Sets a property."""
    only(name in PROPERTIES and value in PROPERTIES[name].values, f"the property {name}={value} of a pool")
    pool.props[name] = value
