"""df(1) of one path on an NFS mount: the room that the server's dataset has."""

from __future__ import annotations

import math

from lab.core import Context
from lab.linux import files, nfs, view
from lab.zfs.model import Node
from lab.zfs.space import Space


def main(ctx: Context) -> int:
    """``df -h PATH`` where something is mounted by NFS; everything else is GNU's own."""
    cluster = ctx.store.read()
    client = ctx.host(cluster)
    nfs.refresh(ctx.store, cluster, client)
    path = ctx.args[1] if len(ctx.args) == 2 else ""
    entry = view.covering(client, view.absolute(path)) if path and ctx.args[0] == "-h" else None
    if entry is None or entry.condition != nfs.FINE:
        return files.main(ctx)
    node = Node(ctx.store, cluster, cluster.hosts[entry.server])
    dataset = node.find(entry.dataset)
    if dataset is None:
        raise ctx.not_simulated("of a server's file system that is not ZFS")
    space = Space(node)
    used, free = space.referenced(dataset), space.available(dataset)
    size = used + free
    cells = [entry.device, human(size), human(used), human(free), f"{math.ceil(100 * used / size)}%", entry.target]
    width = max(len(entry.device), 14)
    for name, *numbers, share, where in (["Filesystem", "Size", "Used", "Avail", "Use%", "Mounted on"], cells):
        ctx.out(f"{name:<{width}} {' '.join(f'{number:>5}' for number in numbers)} {share:>4} {where}\n")
    return 0


def human(count: int) -> str:
    """A number of bytes as df -h has it: rounded up, with a fraction below 10."""
    power = 0
    while count >= 1024 ** (power + 1):
        power += 1
    unit = ("", "K", "M", "G", "T")[power]
    tenths = math.ceil(count * 10 / 1024**power)
    return f"{tenths / 10:.1f}{unit}" if tenths < 100 and unit else f"{math.ceil(count / 1024**power)}{unit}"
