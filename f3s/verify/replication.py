"""Replicas: fresh, and what they received and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from f3s.quoting import command
from f3s.replication import allowed_age, newest_common
from f3s.settings import HostSettings, Job
from f3s.settings.model import is_within
from f3s.verify.model import ClusterView, Row, right, unknown, wrong
from f3s.verify.storage import ASK_AGAIN, RUN
from f3s.zfs import Snapshot
from f3s.zrepl import left_over

PROMOTED = "docs/runbook.md, host dead: what clients wrote since is nowhere else, and the way back brings it over"


def replication_rows(cluster: ClusterView) -> Iterator[Row]:
    """zrepl on each host that replicates, then two rows for each job, under the host that receives."""
    for host in cluster.site.freebsd_hosts:
        if host.name in cluster.hosts:
            yield from _daemon(cluster, host)
    for job in cluster.site.jobs:
        yield fresh(cluster, job)
        yield undiverged(cluster, job)


def _daemon(cluster: ClusterView, host: HostSettings) -> Iterator[Row]:
    """zrepl runs where it has jobs, and keeps nothing for jobs that are gone: that holds history back for ever."""
    view = cluster.of(host)
    wanted = bool(cluster.site.jobs_from(host) or cluster.site.jobs_to(host))
    known = view.marks is not None and view.configured_jobs is not None
    left = left_over(view.marks, view.configured_jobs) if view.marks and view.configured_jobs is not None else {}
    if wanted and view.running is None:
        yield unknown("zrepl", host.name, "the services could not be listed", ASK_AGAIN)
    elif wanted and "zrepl" not in (view.running or {}):
        yield wrong("zrepl", host.name, "zrepl is not installed", RUN.format("zrepl"))
    elif wanted and not (view.running or {}).get("zrepl"):
        yield wrong("zrepl", host.name, "zrepl is not running", "doas service zrepl onestart")
    elif left:
        reasons = [
            f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''} of the job {job}, which zrepl.yml does not have"
            for job, names in left.items()
        ]
        release = "; ".join(command("doas zrepl zfs-abstraction release-all --job {}", job) for job in left)
        yield wrong("zrepl", host.name, f"history is kept by {'; '.join(reasons)}", release)
    elif wanted and not known:
        yield unknown("zrepl", host.name, "not known whether it keeps anything for jobs that are gone", ASK_AGAIN)
    elif wanted:
        yield right("zrepl", host.name, "running")


def lag(cluster: ClusterView, job: Job) -> tuple[int, Snapshot] | None:
    """Age of the newest snapshot that both sides have, in seconds of the source's clock; None: none, or not known."""
    source, target = (cluster.of(cluster.site.host(name)) for name in (job.source, job.target))
    if source.now is None or source.snapshots is None or target.snapshots is None:
        return None
    replica = cluster.site.replica(job)
    common = newest_common(
        _of(source.snapshots, job.dataset),
        _of(target.snapshots, replica),
    )
    return None if common is None else (source.now - common.creation, common)


def fresh(cluster: ClusterView, job: Job) -> Row:
    """The newest common snapshot is not older than the job's interval lets it be."""
    source, target = (cluster.site.host(name) for name in (job.source, job.target))
    check = f"replica of {job.name}"
    missing = [host.name for host in (source, target) if cluster.of(host).snapshots is None]
    if missing or cluster.of(source).now is None:
        where = ", ".join(missing or [source.name])
        return unknown(check, target.name, f"nothing is known of {where}", "bring the host back, then run verify again")
    datasets = cluster.of(source).datasets
    if datasets is not None and job.dataset not in datasets:
        moving = is_within(job.dataset, source.bhyve.dataset) and source.bhyve.old_dataset in datasets
        step = RUN.format("bhyve_migrate") if moving else "correct zrepl_jobs"
        return wrong(check, target.name, f"there is no dataset {job.dataset} on {source.name}", step)
    status = (cluster.of(source).jobs or {}).get(job.name)
    cause = f"; zrepl says: {status.error}" if status is not None and status.error else ""
    found = lag(cluster, job)
    if found is None:
        reason = f"no snapshot of {job.dataset} has arrived in {cluster.site.replica(job)}{cause}"
        return wrong(check, target.name, reason, f"doas zrepl status on {source.name}; docs/runbook.md")
    age, common = found
    limit = allowed_age(job.interval_seconds)
    at = datetime.fromtimestamp(common.creation, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if age > limit:
        reason = f"the newest common snapshot {common.short_name} is {age} s old, at most {limit} s are right{cause}"
        return wrong(check, target.name, reason, f"doas zrepl status on {source.name}; the row below tells more")
    return right(check, target.name, f"{age} s behind ({at} UTC, every {job.interval}){cause}")


def undiverged(cluster: ClusterView, job: Job) -> Row:
    """Nothing was written to the replica and nothing came after what it received: both stop its replication.

    A bare write was observed to; of a snapshot zfs-receive(8) says so: the newest one of the destination has to be the
    one that the stream starts from.
    """
    source = cluster.site.host(job.source)
    target = cluster.site.host(job.target)
    replica = cluster.site.replica(job)
    check = f"replica of {job.name} untouched"
    view = cluster.of(target)
    if view.datasets is not None and replica not in view.datasets:
        return wrong(check, target.name, f"there is no dataset {replica}", RUN.format("zrepl"))
    written = None if view.written is None else view.written.get(replica)
    if written is None or view.snapshots is None:
        return unknown(check, target.name, f"nothing is known of {replica}", ASK_AGAIN)
    if written == 0:
        return _received_only(cluster, source, target, job)
    newest = max((s for s in view.snapshots if s.dataset == replica), key=lambda s: s.createtxg, default=None)
    since = newest.short_name if newest else "it was made"
    reason = f"{replica} has diverged: {written} bytes were written to it since {since}; no replication is accepted"
    if promoted(cluster, job):
        return wrong(check, target.name, f"{reason}. It is not read-only, so somebody promoted it", PROMOTED)
    return wrong(check, target.name, reason, _dropped(job))


def _dropped(job: Job) -> str:
    """Not the commands: holds come before the rollback, and what is lost is named (f3s.replication.WayBack)."""
    roll_back = f"--data 'zrepl_rollback_replicas=[\"{job.name}\"]'"
    return f"docs/runbook.md, replica diverged; to drop them: {RUN.format('zrepl')} {roll_back}"


def promoted(cluster: ClusterView, job: Job) -> bool:
    """The replica can be written: somebody made it the data that clients write to, and nobody else has those."""
    replica = (cluster.of(cluster.site.host(job.target)).datasets or {}).get(cluster.site.replica(job))
    return replica is not None and replica.get("readonly") == "off"


def _received_only(cluster: ClusterView, source: HostSettings, target: HostSettings, job: Job) -> Row:
    check, replica = f"replica of {job.name} untouched", cluster.site.replica(job)
    sent, now = cluster.of(source).snapshots, cluster.of(source).now
    if sent is None or now is None:
        reason = f"nothing was written to {replica}; nothing is known of the snapshots on {source.name}"
        return unknown(check, target.name, reason, "bring the host back, then run verify again")
    guids = {snapshot.guid for snapshot in sent if snapshot.dataset == job.dataset}
    prefix = source.zrepl.snapshot_prefix
    own: list[Snapshot] = []
    common = False
    for snapshot in sorted(_of(cluster.of(target).snapshots or (), replica), key=lambda s: s.createtxg, reverse=True):
        if snapshot.guid in guids:
            common = True
            break
        # the hosts are asked at the same time: what zrepl made and sent after the source had answered is no finding
        if not (snapshot.short_name.startswith(prefix) and snapshot.creation >= now):
            own.append(snapshot)
    if not own:
        return right(check, target.name, f"{replica} is as it was received")
    names = ", ".join(snapshot.short_name for snapshot in own[:3]) + (", ..." if len(own) > 3 else "")
    reason = f"{replica} has diverged: {source.name} has no snapshot {names}; no replication is accepted"
    return wrong(check, target.name, reason, _dropped(job) if common else "docs/runbook.md, replica diverged")


def _of(snapshots: Iterable[Snapshot], dataset: str) -> list[Snapshot]:
    return [snapshot for snapshot in snapshots if snapshot.dataset == dataset]
