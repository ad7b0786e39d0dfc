"""May the virtual IP be moved, and has it arrived? Planned failover to the standby, and failback to the primary."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from f3s.carp import CarpState
from f3s.controller import HOLD, Status
from f3s.settings import HostSettings, Job
from f3s.verify import clocks, replication, serving, storage
from f3s.verify.model import CLUSTER, ClusterView, Row, State, right, unknown, wrong
from f3s.verify.tls import Outcome, TlsAnswer


class Left(enum.Enum):
    """What is left to do for a move."""

    ALL = "all of it"
    PROOF = "the address is there: prove that it is served"
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


def plan_failover(cluster: ClusterView) -> Move:
    """From the primary to the standby, on purpose. Nothing is moved unless both hosts answer."""
    primary, standby = cluster.site.storage_hosts
    witness = _witness(cluster)
    both = (serving.address(cluster, primary), serving.address(cluster, standby))
    if _states(cluster) == (CarpState.BACKUP, CarpState.MASTER):
        hold = serving.held(cluster)
        missing = serves_not(cluster, standby)
        if hold is None:
            # an unplanned one becomes planned: the hold keeps automatic failback off. It is never undone: somebody may
            # have made the standby writable, and then the primary has older data
            return Move(Left.HOLD, refusals=(*_refusals(cluster, (*both, witness)), *missing))
        if not missing:
            return Move(Left.NOTHING, f"{standby.short_name} serves already: planned failover {hold}")
        # a run ended before its proof. The move may be undone, so the primary must have everything that the standby has
        rows = (witness, *both, storage.mounts(cluster, standby), *_replication(cluster, cluster.site.served_job))
        return Move(Left.PROOF, refusals=_refusals(cluster, rows))
    rows = (
        serving.one_master(cluster),
        *(check(cluster, host) for host in (primary, standby) for check in (clocks.clock, storage.pools)),
        *both,
        storage.keys(cluster, standby),
        storage.mounts(cluster, standby),
        serving.services(cluster, standby),
        serving.tunnel_files(cluster, standby),
        witness,
        *_nothing_else(cluster),
        *_replication(cluster, cluster.site.served_job),
    )
    return Move(Left.ALL, refusals=_refusals(cluster, rows))


def plan_failback(cluster: ClusterView) -> Move:
    """From the standby back to the primary, which must have everything that its replica has."""
    primary, standby = cluster.site.storage_hosts
    states = _states(cluster)
    there = states == (CarpState.MASTER, CarpState.BACKUP) and serving.held(cluster) is None
    if there and not serves_not(cluster, primary):
        return Move(Left.NOTHING, f"{primary.short_name} serves already")
    # both MASTER or both BACKUP: a person has to look first
    apart = set(states) == {CarpState.MASTER, CarpState.BACKUP}
    rows = (
        *(() if apart else (serving.one_master(cluster),)),
        *(clocks.clock(cluster, host) for host in (primary, standby)),
        *(check(cluster, primary) for check in (storage.pools, storage.keys, storage.mounts, serving.address)),
        serving.services(cluster, primary),
        serving.tunnel_files(cluster, primary),
        storage.mounts(cluster, standby),
        _witness(cluster),
        *_replication(cluster, cluster.site.served_job),
    )
    return Move(Left.ALL, refusals=_refusals(cluster, rows))


def serves_not(cluster: ClusterView, host: HostSettings) -> tuple[str, ...]:
    """Why it is not proven now that `host` serves; empty when it is."""
    states = dict(zip((each.name for each in cluster.site.storage_hosts), _states(cluster), strict=True))
    answers = {client.name: cluster.of(client).tls for client in cluster.site.clients if client.name in cluster.hosts}
    return tuple(unproven(host, states, cluster.of(host).controller, answers))


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
    """Nothing else keeps the address here. The row pools reports a resilver; a replication is waited for."""
    standby = cluster.site.standby
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
    absent = [host for host in cluster.site.storage_hosts if host.name not in cluster.hosts]
    return tuple(not_in_run(cluster, host) for host in absent) or not_right(rows)


def not_in_run(cluster: ClusterView, host: HostSettings) -> str:
    """That a host takes no part, and why."""
    return f"{host.name} is not part of this run: {cluster.absent.get(host.name, 'not asked')}"


def not_right(rows: Iterable[Row]) -> tuple[str, ...]:
    """What has to be right first, with what to do."""
    return tuple(
        f"{row.check} on {row.host}: {row.reason} -> {row.next_step}" for row in rows if row.state is not State.RIGHT
    )


def unproven(
    target: HostSettings,
    states: Mapping[str, CarpState | None],
    controller: Status | None,
    answers: Mapping[str, TlsAnswer | None],
) -> list[str]:
    """Why it is not proven that `target` serves; empty when it is.

    + states: the CARP state of both storage hosts, by name
    + controller: what f3s_storage of the target says; None: not known
    + answers: what clients in the run got from the virtual IP. One that was let in is enough, since another may have a
      bad certificate of its own. Without any, nothing is proven
    """
    problems = []
    for name, state in states.items():
        wanted = CarpState.MASTER if name == target.name else CarpState.BACKUP
        if state is not wanted:
            problems.append(f"{name} is {state.value if state else 'not known'} instead of {wanted.value}")
    if controller is None or not controller.ready:
        why = controller.reason if controller else "f3s_storage did not answer"
        problems.append(f"{target.name} is not ready: {why}")
    if not answers:
        problems.append(f"no client of this run could ask {target.vip.address}:{target.stunnel.port}")
    elif not any(answer and answer.known is Outcome.ACCEPTED for answer in answers.values()):
        problems.append(f"no client is let in at {target.vip.address}:{target.stunnel.port}")
    if any(answer and answer.stranger is Outcome.ACCEPTED for answer in answers.values()):
        problems.append(f"{target.vip.address}:{target.stunnel.port} lets in anybody without a certificate")
    return problems
