"""What ``zpool status``, ``zpool list`` and ``zpool import`` print about pools."""

from __future__ import annotations

from lab.zfs import pool_properties, units
from lab.zfs.model import Node, Pool

SUSPENDED = """status: One or more devices are faulted in response to IO failures.
action: Make sure the affected devices are connected, then run 'zpool clear'.
   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-HC
"""


def _rows(pool: Pool, paths: bool) -> list[tuple[str, str, str]]:
    root = "ONLINE" if pool.health == "ONLINE" else "UNAVAIL"
    rows = [(pool.name, root, "  insufficient replicas" if root == "UNAVAIL" else "")]
    prefix = "/dev/" if paths else ""
    return rows + [(f"  {prefix}{v.device}", v.state, "") for v in pool.vdevs]


def status(node: Node, pool: Pool, *, paths: bool) -> str:
    """``zpool status`` of one pool.

    :param paths: devices with ``/dev/`` (-P, -L)
    """
    rows = _rows(pool, paths)
    width = max(10, *(len(name) for name, _, _ in rows))
    text = f"  pool: {pool.name}\n state: {pool.health}\n"
    text += "" if pool.health == "ONLINE" else SUSPENDED
    if pool.scrubbed is not None:
        text += f"  scan: scrub repaired 0B in 00:00:00 with 0 errors on {units.asctime(pool.scrubbed)}\n"
    text += f"config:\n\n\t{'NAME':<{width}}  {'STATE':<8} {'READ':>5} {'WRITE':>5} {'CKSUM':>5}\n"
    for name, state, note in rows:
        text += f"\t{name:<{width}}  {state:<8} {0:>5} {0:>5} {0:>5}{note}\n"
    return text + "\nerrors: No known data errors\n"


def importable(node: Node, pool: Pool) -> str:
    """What ``zpool import`` says about a pool that it finds."""
    rows = _rows(pool, False)
    width = max(10, *(len(name) for name, _, _ in rows))
    text = f"   pool: {pool.name}\n     id: {pool.guid}\n  state: ONLINE\n"
    if pool.exported or pool.host == node.host.name:
        text += " action: The pool can be imported using its name or numeric identifier.\n"
    else:
        text += " status: The pool was last accessed by another system.\n"
        text += " action: The pool can be imported using its name or numeric identifier and\n\tthe '-f' flag.\n"
        text += "   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-EY\n"
    return text + " config:\n\n" + "".join(f"\t{n:<{width}}  ONLINE\n" for n, _, _ in rows)


def table(node: Node, chosen: list[Pool], names: list[str], *, scripted: bool, exact: bool) -> str:
    """``zpool list``."""
    rows = [[pool_properties.get(node, pool, name, exact)[0] for name in names] for pool in chosen]
    known = [pool_properties.PROPERTIES[name] for name in names]
    heads = [each.column for each in known]
    return units.table(
        [heads, *rows], [each.width for each in known], [each.right for each in known], scripted=scripted
    )
