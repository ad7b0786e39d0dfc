"""What ``zpool status``, ``zpool list`` and ``zpool import`` print about pools."""

from __future__ import annotations

from lab.zfs import pool_properties
from lab.zfs.model import Node, Pool
from lab.zfs.units import asctime

SUSPENDED = """status: One or more devices are faulted in response to IO failures.
action: Make sure the affected devices are connected, then run 'zpool clear'.
   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-HC
"""
DEGRADED = """status: One or more devices has experienced an unrecoverable error.
action: Replace the device using 'zpool replace'.
"""


def _rows(pool: Pool, paths: bool) -> list[tuple[str, str, str]]:
    root = {"ONLINE": "ONLINE", "DEGRADED": "DEGRADED"}.get(pool.health, "UNAVAIL")
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
    text += {"ONLINE": "", "DEGRADED": DEGRADED}.get(pool.health, SUSPENDED)
    if pool.scrubbed is not None:
        text += f"  scan: scrub repaired 0B in 00:00:00 with 0 errors on {asctime(pool.scrubbed)}\n"
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
    rows = []
    for pool in chosen:
        found = [pool_properties.get(node, pool, n, exact) for n in names]
        rows.append([value[0] if value else "-" for value in found])
    if scripted:
        return "".join("\t".join(r) + "\n" for r in rows)
    known = [pool_properties.PROPERTIES[n] for n in names]
    widths = [max([p.width, *(len(r[i]) for r in rows)]) for i, p in enumerate(known)]
    text = ""
    for row in [[p.column for p in known], *rows]:
        cells = []
        for i, (cell, prop) in enumerate(zip(row, known, strict=True)):
            last = i == len(row) - 1
            cells.append(cell.rjust(widths[i]) if prop.right else cell if last else cell.ljust(widths[i]))
        text += "  ".join(cells) + "\n"
    return text
