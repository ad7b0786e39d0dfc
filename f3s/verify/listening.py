"""Who listens where on the storage hosts: NFS on loopback alone, and nobody but our stunnel on the tunnel's port."""

from __future__ import annotations

from collections.abc import Iterator

from f3s.nfs import PORT as NFS_PORT
from f3s.settings import HostSettings
from f3s.verify.model import ClusterView, Row, right, unknown, wrong
from f3s.verify.storage import ASK_AGAIN, RUN


def listening_rows(cluster: ClusterView) -> Iterator[Row]:
    """A row for each storage host that was asked."""
    yield from (listening(cluster, host) for host in cluster.site.storage_hosts if host.name in cluster.hosts)


def listening(cluster: ClusterView, host: HostSettings) -> Row:
    """A daemon that ran before the deploy keeps its old flags and sockets; rc.conf does not show that."""
    view = cluster.of(host)
    if view.listeners is None or view.running is None:
        return unknown("listening", host.name, "who listens could not be listed", ASK_AGAIN)
    problems, steps = [], []
    nfs = [each for each in view.listeners if each.port == NFS_PORT]
    if (exposed := [each for each in nfs if not each.loopback]) and not host.nfs.for_others:
        where = ", ".join(f"{each.protocol} {each.address}" for each in exposed)
        problems.append(f"{exposed[0].owner} takes NFS without TLS on port {NFS_PORT} of {where}")
        # rc.conf has its flags; its clients wait for as long as nfsd takes to come back
        steps.append(f"{RUN.format('nfs')}; then doas service nfsd onerestart")
    tunnel = [each for each in view.listeners if each.takes(host.vip.address, host.stunnel.port)]
    if tunnel and not view.running.get("stunnel", False):
        where = f"{host.vip.address}:{host.stunnel.port}"
        problems.append(f"{tunnel[0].owner} listens on {where}, unknown to its rc script")
        steps.append(f"doas kill {tunnel[0].pid}; then {RUN.format('stunnel')}")
    if problems:
        return wrong("listening", host.name, "; ".join(problems), "; ".join(steps))
    found = "NFS for others, too, as nfs_for_others says" if exposed else "NFS on loopback alone"
    return right("listening", host.name, found if nfs else "nobody takes NFS")
