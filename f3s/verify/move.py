"""May the virtual IP be moved, and has it arrived? Planned failover to the standby, and failback to the primary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from f3s.carp import CarpState
from f3s.replication import allowed_age
from f3s.settings import HostSettings, Job, Site
from f3s.verify import replication, serving, storage
from f3s.verify.model import ClusterView, Row, State
from f3s.verify.tls import Outcome, TlsAnswer


@dataclass(frozen=True)
class Move:
    """What is to be done.

    + done: why there is nothing to do, else empty
    + refusals: why it must not be done now
    + moves: the address is moved; False where it is there already and only the hold is missing
    """

    done: str = ""
    refusals: tuple[str, ...] = ()
    moves: bool = False


def served_job(site: Site) -> Job:
    """The job whose replica the standby serves."""
    return next(job for job in site.jobs_from(site.primary) if job.dataset == site.primary.nfs.dataset)


def catch_up_seconds(job: Job) -> int:
    """How long to wait until the receiver has a new snapshot: the bound that verify has, too."""
    return allowed_age(job.interval_seconds)


def plan_failover(cluster: ClusterView) -> Move:
    """From the primary to the standby, on purpose. With no answer from either host nothing is moved."""
    primary, standby = cluster.site.storage_hosts
    states = _states(cluster)
    if states == (CarpState.BACKUP, CarpState.MASTER):
        hold = serving.held(cluster)
        if hold is not None:
            return Move(done=f"{standby.short_name} serves already: planned failover {hold}")
        # an unplanned one becomes planned: the hold keeps automatic failback off
        return Move(refusals=_refusals(cluster, (serving.address(cluster, primary), serving.address(cluster, standby))))
    job = served_job(cluster.site)
    return Move(
        refusals=_refusals(
            cluster,
            (
                serving.one_master(cluster),
                *(check(cluster, host) for host in (primary, standby) for check in (storage.pools, serving.address)),
                storage.keys(cluster, standby),
                storage.mounts(cluster, standby),
                serving.services(cluster, standby),
                *_replication(cluster, job),
            ),
        ),
        moves=True,
    )


def plan_failback(cluster: ClusterView) -> Move:
    """From the standby back to the primary, which must have everything that its replica has."""
    primary, standby = cluster.site.storage_hosts
    states = _states(cluster)
    if states == (CarpState.MASTER, CarpState.BACKUP) and serving.held(cluster) is None:
        return Move(done=f"{primary.short_name} serves already")
    # both MASTER or both BACKUP: somebody has to look first
    together = (
        ()
        if states in ((CarpState.BACKUP, CarpState.MASTER), (CarpState.MASTER, CarpState.BACKUP))
        else (serving.one_master(cluster),)
    )
    return Move(
        refusals=_refusals(
            cluster,
            (
                *together,
                *(check(cluster, primary) for check in (storage.pools, storage.keys, storage.mounts, serving.address)),
                _services_without_record(cluster, primary),
                storage.mounts(cluster, standby),
                *_replication(cluster, served_job(cluster.site)),
            ),
        ),
        moves=True,
    )


def _states(cluster: ClusterView) -> tuple[CarpState | None, ...]:
    return tuple(serving.carp_state(cluster.of(host), host) for host in cluster.site.storage_hosts)


def _services_without_record(cluster: ClusterView, host: HostSettings) -> Row:
    """The services of a host, whatever did not start there before: whether it does now, the move itself shows."""
    view = cluster.of(host)
    if view.controller is not None:
        view = replace(view, controller=replace(view.controller, failed=None))
        cluster = replace(cluster, hosts={**cluster.hosts, host.name: view})
    return serving.services(cluster, host)


def _replication(cluster: ClusterView, job: Job) -> tuple[Row, ...]:
    zrepl = tuple(row for row in replication.replication_rows(cluster) if row.check == "zrepl")
    return (*zrepl, replication.fresh(cluster, job), replication.undiverged(cluster, job))


def _refusals(cluster: ClusterView, rows: Iterable[Row]) -> tuple[str, ...]:
    absent = [host.name for host in cluster.site.storage_hosts if host.name not in cluster.hosts]
    if absent:
        return tuple(f"{name} is not part of this run: {cluster.absent.get(name, 'not asked')}" for name in absent)
    return tuple(
        f"{row.check} on {row.host}: {row.reason} -> {row.next_step}" for row in rows if row.state is not State.RIGHT
    )


def unproven(
    target: HostSettings,
    states: Mapping[str, CarpState | None],
    missing: Iterable[str] | None,
    answers: Mapping[str, TlsAnswer | None],
) -> list[str]:
    """Why it is not proven that `target` serves; empty when it is.

    + states: the CARP state of both storage hosts, by name
    + missing: services that do not run on the target; None: not known
    + answers: what clients that take part in the run got from the virtual IP; one that was let in is enough, since
      another may have a certificate of its own that is no good
    """
    problems = []
    for name, state in states.items():
        wanted = CarpState.MASTER if name == target.name else CarpState.BACKUP
        if state is not wanted:
            problems.append(f"{name} is {state.value if state else 'not known'} instead of {wanted.value}")
    if missing is None:
        problems.append(f"the services of {target.name} are not known")
    elif names := list(missing):
        problems.append(f"not running on {target.name}: {', '.join(names)}")
    if answers and not any(answer and answer.known is Outcome.ACCEPTED for answer in answers.values()):
        problems.append(f"no client is let in at {target.vip.address}:{target.stunnel.port}")
    if any(answer and answer.stranger is Outcome.ACCEPTED for answer in answers.values()):
        problems.append(f"{target.vip.address}:{target.stunnel.port} lets in anybody without a certificate")
    return problems
