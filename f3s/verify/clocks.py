"""The clocks of the hosts. Certificates, snapshots and their ages depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from f3s.clock import LIMIT
from f3s.settings import HostSettings
from f3s.verify.model import ClusterView, Row, judged, unknown

SET_IT = "docs/runbook.md, clock off"


def clock_rows(cluster: ClusterView) -> Iterator[Row]:
    """A row for each host that was reached."""
    return (clock(cluster, host) for host in cluster.site.hosts if host.name in cluster.hosts)


def clock(cluster: ClusterView, host: HostSettings) -> Row:
    """The clock of a host is that of the controller and, on a storage host, that of the other one."""
    own = cluster.of(host).clock
    if own is None:
        return unknown("clock", host.name, "the time could not be asked", "see the error above; run verify again")
    compared = {"the controller's": own}
    for peer in cluster.site.storage_hosts if host.is_storage else ():
        theirs = cluster.of(peer).clock
        if peer != host and theirs is not None:
            compared[f"{peer.short_name}'s"] = own.against(theirs)
    slow = {name: found for name, found in compared.items() if found.off is None}
    wrong = [f"{found} {name}" for name, found in compared.items() if found.off]
    if slow and not wrong:
        reason = ", ".join(f"the answer took too long to compare it with {name}" for name in slow)
        return unknown("clock", host.name, reason, "run verify again")
    keeper = cluster.of(host).time_keeper
    kept = f"kept by {keeper}" if keeper else "no NTP daemon runs"
    fine = "as " + " and ".join(f"{name} (±{ceil(found.error)} s)" for name, found in compared.items()) + f"; {kept}"
    problems = [f"more than {LIMIT} s off: {' and '.join(wrong)}"] if wrong else []
    if wrong and (same := [name for name, found in compared.items() if found.off is False]):
        problems.append(f"right by {' and '.join(same)}")
    return judged("clock", host.name, [*problems, kept] if wrong else [], fine, SET_IT)
