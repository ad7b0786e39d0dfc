"""May the standby become the host that writes, and what would be missing? May the primary again?

For tasks/promote.py and tasks/return_primary.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from f3s.carp import CarpState
from f3s.controller import WITH_ALL, peer
from f3s.replication import newest_common
from f3s.settings import HostSettings
from f3s.verify import clocks, serving, storage
from f3s.verify.model import ClusterView
from f3s.verify.move import not_in_run, not_right

WAY_BACK = "the other way is tasks/return_primary.py"


@dataclass(frozen=True)
class Promotion:
    """What is to be done.

    + stop: the old primary takes part in the run: f3s_storage is stopped there first
    + start: it is started there afterwards, and stays out
    + missing: what the promoted host does not have, for people; empty where it has everything
    + why: there is nothing to do, because
    + refusals: why it must not be done now
    """

    stop: bool = False
    start: bool = False
    missing: str = ""
    why: str = ""
    refusals: tuple[str, ...] = ()


def plan_promotion(cluster: ClusterView, target: str, powered_off: str | None, accepted: str | None) -> Promotion:
    """The standby takes over for good from a primary that is out.

    + target: the name of the host to promote, short or long
    + powered_off: the name of the old primary, from an operator who knows that it has no power
    + accepted: the short name of the snapshot from which on he gives up what the old primary wrote
    """
    standby, primary = cluster.site.standby, cluster.site.primary
    if target not in (standby.name, standby.short_name):
        return Promotion(refusals=(f"promote: {target!r} is not the standby {standby.short_name}; {WAY_BACK}",))
    if standby.name not in cluster.hosts:
        return Promotion(refusals=(not_in_run(cluster, standby),))
    mine = cluster.of(standby).controller
    if mine is not None and mine.writer == standby.short_name:
        theirs = cluster.of(primary).controller
        start = theirs is not None and not theirs.started  # an earlier run was interrupted before that
        if mine.ready and mine.carp is CarpState.MASTER:
            return Promotion(start=start, why=f"{standby.short_name} writes already, since epoch {mine.epoch}")
        return Promotion(start=start)  # interrupted after the record
    rows = (
        clocks.clock(cluster, standby),
        *(check(cluster, standby) for check in (storage.pools, storage.keys, storage.mounts)),
        serving.services(cluster, standby),
        serving.tunnel_files(cluster, standby),
    )
    stop = primary.name in cluster.hosts
    refusals = [*not_right(rows), *_not_out(cluster, primary, powered_off)]
    missing, snapshot = _missing(cluster, stop)
    if missing and accepted != snapshot:
        refusals.append(f"{missing}. If nobody needs that: --data promote_from={snapshot}")
    theirs = cluster.of(primary).controller
    if refusals and theirs is not None and not theirs.started:
        refusals.append(
            f"{primary.short_name} serves nobody, as f3s_storage is stopped there: `doas service f3s_storage start` on "
            f"it, if {standby.short_name} is not to be promoted"
        )
    return Promotion(stop, stop, missing, refusals=tuple(refusals))


def unfit_for_return(cluster: ClusterView) -> list[str]:
    """Why the two hosts could not change their roles whatever they have: see f3s.returning.refusals for the rest."""
    primary, standby = cluster.site.storage_hosts
    if absent := [host for host in (primary, standby) if host.name not in cluster.hosts]:
        return [not_in_run(cluster, host) for host in absent]
    rows = (
        *(check(cluster, host) for host in (primary, standby) for check in (clocks.clock, storage.pools)),
        storage.stick(cluster, primary),
        storage.keys(cluster, standby),
        serving.address(cluster, primary),
        serving.tunnel_files(cluster, primary),
    )
    return list(not_right(rows))


def _not_out(cluster: ClusterView, primary: HostSettings, powered_off: str | None) -> list[str]:
    """Why the old primary is not provably out. That it does not answer proves nothing."""
    name = primary.short_name
    if primary.name in cluster.hosts:
        if powered_off is not None:
            return [f"promote_powered_off: {name} answers, so it has power; leave that out"]
        if serving.carp_state(cluster.of(primary), primary) is not CarpState.BACKUP:
            return [f"{name} has the address: tasks/failover.py moves it without a loss, then run this again"]
        return []
    standby = peer(primary, cluster.site)
    problems = []
    if powered_off not in (name, primary.name):
        why = cluster.absent.get(primary.name, "not asked")
        problems.append(
            f"{name} is not part of this run ({why}), which does not prove that nobody writes "
            f"there: it may live behind a cut link, or stand still. Switch it off, then: "
            f"--data promote_powered_off={name}"
        )
    if serving.carp_state(cluster.of(standby), standby) is not CarpState.MASTER:
        problems.append(f"{standby.short_name} is not MASTER, so another host has the address: {name} is not out")
    return problems


def _missing(cluster: ClusterView, stop: bool) -> tuple[str, str]:
    """What the standby lacks, and its newest snapshot. Nothing, if the old primary is held, and all of it has arrived.

    The hold alone does not say that: where the address had moved before, `carp backup` replicates nothing. Then a
    snapshot has to be there that is newer than the floor (docs/controller.md, Automatic failback). The old primary has
    served nobody since the address left it. Its clock made the snapshot, and may be another's.
    """
    site = cluster.site
    standby, primary, replica = site.standby, site.primary, site.replica(site.served_job)
    received = [each for each in cluster.of(standby).snapshots or () if each.dataset == replica]
    newest = max(received, key=lambda each: each.createtxg, default=None)
    if newest is None:
        return f"{replica} has no snapshot, so there is nothing to promote", ""
    old, hold = cluster.of(primary), serving.held(cluster) if stop else None
    common = newest_common(received, [each for each in old.snapshots or () if each.dataset == primary.nfs.dataset])
    floor = old.controller.floor if old.controller else None
    proven = common is not None and floor is not None and common.createtxg > floor
    if hold is not None and (proven or hold.endswith(WITH_ALL)):
        return "", newest.short_name
    at, said = datetime.fromtimestamp(newest.creation, UTC), cluster.of(standby).controller
    until, when = round(cluster.now.timestamp()), "now"
    if said is not None and said.carp is CarpState.MASTER and said.moved is not None:
        until, when = said.moved, f"{standby.short_name} took the address"
    told = f"{until - newest.creation} s before {when}"
    if until < newest.creation:
        told = f"{newest.creation - until} s after {when}, so the clocks differ, or {primary.short_name} lived on"
    return (
        f"what {primary.short_name} wrote after {newest.short_name} ({at:%Y-%m-%d %H:%M:%S} UTC, {told}) is missing "
        f"on {standby.short_name}"
    ), newest.short_name
