"""May the virtual IP be moved, and has it arrived? Planned failover to the standby, and failback to the primary."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from f3s.carp import CarpState
from f3s.controller import HOLD, wanted_services
from f3s.replication import allowed_age
from f3s.settings import HostSettings, Job
from f3s.verify import clocks, replication, serving, storage
from f3s.verify.model import CLUSTER, ClusterView, Row, State, right, unknown, wrong
from f3s.verify.tls import Outcome, TlsAnswer


class Left(enum.Enum):
    """What is left to do for a move."""

    ALL = "all of it"
    PROOF = "the address is there: prove that it is served, and in a failover the last write"
    HOLD = "the address is there, unplanned: only the hold is missing"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Move:
    """What is to be done.

    + left: which steps
    + why: of NOTHING
    + refusals: why it must not be done now
    """

    left: Left
    why: str = ""
    refusals: tuple[str, ...] = ()


def catch_up_seconds(job: Job) -> int:
    """How long to wait until the receiver has a new snapshot: the bound that verify has, too."""
    return allowed_age(job.interval_seconds)


def plan_failover(cluster: ClusterView) -> Move:
    """From the primary to the standby, on purpose. Nothing is moved unless both hosts answer."""
    primary, standby = cluster.site.storage_hosts
    job = cluster.site.served_job
    witness = _witness(cluster)
    if _states(cluster) == (CarpState.BACKUP, CarpState.MASTER):
        hold = serving.held(cluster)
        missing = serves_not(cluster, standby)
        both = (serving.address(cluster, primary), serving.address(cluster, standby))
        if hold is None:
            # an unplanned one becomes planned: the hold keeps automatic failback off. It is never undone: somebody may
            # have made the standby writable, and then the primary has older data
            return Move(Left.HOLD, refusals=(*_refusals(cluster, (*both, witness)), *missing))
        if not missing and last_write_arrived(cluster, job):
            return Move(Left.NOTHING, f"{standby.short_name} serves already: planned failover {hold}")
        # a run ended before its proof. The move may be undone, so the primary must have everything that the standby has
        rows = (witness, *both, storage.mounts(cluster, standby), *_replication(cluster, job))
        return Move(Left.PROOF, refusals=_refusals(cluster, rows))
    return Move(
        Left.ALL,
        refusals=_refusals(
            cluster,
            (
                serving.one_master(cluster),
                *(
                    check(cluster, host)
                    for host in (primary, standby)
                    for check in (clocks.clock, storage.pools, serving.address)
                ),
                storage.keys(cluster, standby),
                storage.mounts(cluster, standby),
                serving.services(cluster, standby),
                serving.tunnel_files(cluster, standby),
                witness,
                *_nothing_else(cluster),
                *_replication(cluster, job),
            ),
        ),
    )


def plan_failback(cluster: ClusterView) -> Move:
    """From the standby back to the primary, which must have everything that its replica has."""
    primary, standby = cluster.site.storage_hosts
    states = _states(cluster)
    there = states == (CarpState.MASTER, CarpState.BACKUP) and serving.held(cluster) is None
    if there and not serves_not(cluster, primary):
        return Move(Left.NOTHING, f"{primary.short_name} serves already")
    # both MASTER or both BACKUP: a person has to look first
    together = (
        ()
        if states in ((CarpState.BACKUP, CarpState.MASTER), (CarpState.MASTER, CarpState.BACKUP))
        else (serving.one_master(cluster),)
    )
    return Move(
        Left.ALL,
        refusals=_refusals(
            cluster,
            (
                *together,
                *(clocks.clock(cluster, host) for host in (primary, standby)),
                *(check(cluster, primary) for check in (storage.pools, storage.keys, storage.mounts, serving.address)),
                # the move itself shows whether a service starts now that did not start before
                serving.services(cluster, primary, tried_anew=True),
                serving.tunnel_files(cluster, primary),
                storage.mounts(cluster, standby),
                _witness(cluster),
                *_replication(cluster, cluster.site.served_job),
            ),
        ),
    )


def serves_not(cluster: ClusterView, host: HostSettings) -> tuple[str, ...]:
    """Why it is not proven now that `host` serves; empty when it is."""
    states = dict(zip((each.name for each in cluster.site.storage_hosts), _states(cluster), strict=True))
    running = cluster.of(host).running
    missing = None if running is None else [name for name in wanted_services(host) if not running.get(name)]
    answers = {client.name: cluster.of(client).tls for client in cluster.site.clients if client.name in cluster.hosts}
    return tuple(unproven(host, states, missing, answers))


def last_write_arrived(cluster: ClusterView, job: Job) -> bool:
    """The standby has a snapshot that was made after the primary had stopped to serve; False where it is not known.

    The controller notes the newest snapshot as soon as it sees the primary as BACKUP; createtxg only grows.
    """
    source, target = (cluster.of(cluster.site.host(name)) for name in (job.source, job.target))
    floor = source.controller.floor if source.controller else None
    arrived = {s.guid for s in target.snapshots or () if s.dataset == cluster.site.replica(job)}
    return floor is not None and any(
        s.dataset == job.dataset and s.createtxg > floor and s.guid in arrived for s in source.snapshots or ()
    )


def _states(cluster: ClusterView) -> tuple[CarpState | None, ...]:
    return tuple(serving.carp_state(cluster.of(host), host) for host in cluster.site.storage_hosts)


def _witness(cluster: ClusterView) -> Row:
    """A client takes part in the run and can ask the virtual IP. It does not matter if nothing answers there yet."""
    answers = [cluster.of(client).tls for client in cluster.site.clients]
    if any(answer and answer.known in (Outcome.ACCEPTED, Outcome.UNREACHABLE) for answer in answers):
        return right("witness", CLUSTER, "a client can see who serves")
    reason = "no client in this run can ask the virtual IP, so nobody could see whether the move succeeded"
    return unknown("witness", CLUSTER, reason, "run it without --limit; see the rows TLS of verify")


def _nothing_else(cluster: ClusterView) -> Iterator[Row]:
    """Nothing else is about to move the address. The row pools reports a resilver; a replication is waited for."""
    primary, standby = cluster.site.storage_hosts
    view = cluster.of(primary)
    state = serving.carp_state(view, primary)
    if view.controller is None or state is None or view.controller.decided_as is not state:
        last = view.controller.decision if view.controller else None
        reason = f"f3s_storage is about to decide; last decision: {last or 'not known'}"
        yield unknown("in progress", primary.name, reason, "run it again in a minute")
    theirs = cluster.of(standby).controller
    if theirs is not None and theirs.hold is not None:
        reason = f"held there by carp backup {theirs.hold}"
        yield wrong("in progress", standby.name, reason, f"find out by whom; then: doas rm {HOLD}")


def _replication(cluster: ClusterView, job: Job) -> tuple[Row, ...]:
    # other jobs and targets do not concern the move
    ends = (job.source, job.target)
    zrepl = tuple(row for row in replication.replication_rows(cluster) if row.check == "zrepl" and row.host in ends)
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
    + answers: what clients in the run got from the virtual IP. One that was let in is enough, since another may have a
      bad certificate of its own. Without any, nothing is proven
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
    if not answers:
        problems.append(f"no client of this run could ask {target.vip.address}:{target.stunnel.port}")
    elif not any(answer and answer.known is Outcome.ACCEPTED for answer in answers.values()):
        problems.append(f"no client is let in at {target.vip.address}:{target.stunnel.port}")
    if any(answer and answer.stranger is Outcome.ACCEPTED for answer in answers.values()):
        problems.append(f"{target.vip.address}:{target.stunnel.port} lets in anybody without a certificate")
    return problems
