"""Replicas: fresh, and holding only what they received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from f3s.clock import LIMIT
from f3s.conditions import REPLICA_LATE
from f3s.pruning import destroyed
from f3s.quoting import command
from f3s.replication import PROMOTED as MARK
from f3s.replication import allowed_age, newest_common, sent
from f3s.settings import HostSettings, Job
from f3s.settings.model import is_within
from f3s.verify.clocks import SET_IT
from f3s.verify.model import ClusterView, Row, State, right, unknown, wrong
from f3s.verify.storage import ASK_AGAIN, RUN
from f3s.zfs import Snapshot
from f3s.zrepl import keep_rules, left_over

MEANWHILE = 180
"""Seconds that may pass between two hosts' answers: each question has a bound of 90 (operations.base.LOOK_SECONDS)."""
PILED_UP = 100
"""So many snapshots that no rule keeps are not there by chance: zrepl prunes after each replication."""
PROMOTED = (
    "docs/runbook.md, host dead: what clients wrote since is nowhere else; tasks/return_primary.py brings it over"
)
MACHINE = (
    "docs/runbook.md, virtual machine of a dead host: what it wrote since is nowhere else; tasks/return_vm.py "
    "brings it back"
)


def replication_rows(cluster: ClusterView) -> Iterator[Row]:
    """zrepl on each host that replicates, then two rows for each job, under the host that receives."""
    for host in cluster.site.freebsd_hosts:
        if host.name in cluster.hosts:
            yield from _daemon(cluster, host)
    for job in cluster.site.jobs:
        yield fresh(cluster, job)
        yield undiverged(cluster, job)


def _daemon(cluster: ClusterView, host: HostSettings) -> Iterator[Row]:
    """zrepl runs where it has jobs, and keeps nothing for jobs that are gone, which would keep history for ever."""
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
    elif piled_up := [*_piled_up(cluster, host)]:
        yield wrong("zrepl", host.name, "; ".join(piled_up), "doas zrepl status on the source says why, below Pruning")
    elif wanted and not known:
        yield unknown("zrepl", host.name, "not known whether it keeps anything for jobs that are gone", ASK_AGAIN)
    elif wanted:
        yield right("zrepl", host.name, "; ".join(["running", *_of_others(cluster, host)]))


def _of_others(cluster: ClusterView, host: HostSettings) -> Iterator[str]:
    """Snapshots that somebody else takes of what is replicated. They are replicated, too, and no rule of ours deletes
    them: whoever takes them prunes them on the source alone (f3s.zrepl: _keep)."""
    site = cluster.site
    trees = [job.dataset for job in site.jobs_from(host)] + [site.replica(job) for job in site.jobs_to(host)]
    ours = (site.primary.zrepl.snapshot_prefix, "f3s", *(each.bhyve.snapshot for each in site.freebsd_hosts))
    found: dict[str, list[str]] = {}
    for each in cluster.of(host).snapshots or ():
        if not each.short_name.startswith(ours) and any(is_within(each.dataset, tree) for tree in trees):
            found.setdefault(each.dataset, []).append(each.short_name)
    for dataset, names in found.items():
        yield f"{len(names)} snapshots of {dataset} are not zrepl's, which deletes none of them ({names[-1]})"


def _piled_up(cluster: ClusterView, host: HostSettings) -> Iterator[str]:
    """Datasets with snapshots that the keep rules would have destroyed, had zrepl pruned."""
    site = cluster.site
    for job in (*site.jobs_from(host), *site.jobs_to(host)):
        source, target = (cluster.of(site.host(name)).snapshots or () for name in (job.source, job.target))
        rules = keep_rules(job, site)
        for dataset, replica in replicas(cluster, job).items():
            own, received = _of(source, dataset), _of(target, replica)
            common = newest_common(own, received)
            if common is None:
                continue
            name, found, keep = (
                (dataset, own, "keep_sender") if job.source == host.name else (replica, received, "keep_receiver")
            )
            # what was not replicated yet is kept
            late = [each for each in destroyed(rules[keep], found) if each.creation < common.creation]
            if len(late) >= PILED_UP:
                yield f"{len(late)} snapshots of {name} are there which no rule of {job.name} keeps any more"


def replicas(cluster: ClusterView, job: Job) -> dict[str, str]:
    """The datasets of a job and where they arrive; only the job's own if nothing is known of the source."""
    return sent(job.dataset, cluster.site.replica(job), cluster.of(cluster.site.host(job.source)).datasets or ())


def lag(cluster: ClusterView, job: Job) -> tuple[int, Snapshot] | None:
    """Age of the newest snapshot that both sides have, in seconds of the source's clock; None: none, or not known.

    It is that of the dataset which is furthest behind; a dataset without a snapshot on the source is not behind.
    """
    source, target = (cluster.of(cluster.site.host(name)) for name in (job.source, job.target))
    if source.now is None or source.snapshots is None or target.snapshots is None:
        return None
    common = _common(cluster, job)
    taken = {job.dataset, *(each.dataset for each in source.snapshots)}
    if taken & replicas(cluster, job).keys() - common.keys():
        return None
    ages = [(source.now - each.creation, each) for each in common.values()]
    return max(ages, key=lambda found: (found[0] < -LIMIT, found[0]))


def fresh(cluster: ClusterView, job: Job) -> Row:
    """The newest common snapshots of all datasets of a job are not older than its interval allows."""
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
    error = (cluster.of(source).jobs or {}).get(job.name)
    cause = f"; zrepl says: {error}" if error else ""
    pairs = replicas(cluster, job)
    taken = {snapshot.dataset for snapshot in cluster.of(source).snapshots or ()}
    # a round takes snapshots of all datasets: one without was made since, unless zrepl failed
    new = [name for name in pairs if name not in taken and name != job.dataset]
    found = lag(cluster, job)
    if found is None or (new and error):
        arrived = _common(cluster, job)
        names = [name for name in pairs if name not in arrived]
        reason = "; ".join(f"no snapshot of {name} has arrived in {pairs[name]}" for name in names)
        return wrong(check, target.name, f"{reason}{cause}", f"doas zrepl status on {source.name}; docs/runbook.md")
    age, common = found
    limit = allowed_age(job.interval_seconds)
    at = datetime.fromtimestamp(common.creation, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if age < -LIMIT:
        reason = (
            f"the newest common snapshot {common.short_name} is {-age} s in the future of {source.short_name}'s clock, "
            f"and zrepl takes no snapshot until that has passed it, or it is restarted{cause}"
        )
        return wrong(check, target.name, reason, SET_IT)
    if age > limit:
        late = REPLICA_LATE.said(age, dataset=common.dataset)
        reason = f"{late}, at most {limit} s are allowed ({common.short_name}){cause}"
        return wrong(check, target.name, reason, f"doas zrepl status on {source.name}; the row below tells more")
    told = f"; not replicated yet, new since the last snapshots: {', '.join(new)}" if new else ""
    of = f" with {len(pairs) - 1} datasets below" if len(pairs) > 1 else ""
    return right(check, target.name, f"{max(age, 0)} s behind{of} ({at} UTC, every {job.interval}){told}{cause}")


def _common(cluster: ClusterView, job: Job) -> dict[str, Snapshot]:
    """The newest common snapshots of the datasets of a job that have one, as the target names them."""
    source, target = (cluster.of(cluster.site.host(name)).snapshots or () for name in (job.source, job.target))
    found = {
        dataset: newest_common(_of(source, dataset), _of(target, replica))
        for dataset, replica in replicas(cluster, job).items()
    }
    return {dataset: common for dataset, common in found.items() if common is not None}


def undiverged(cluster: ClusterView, job: Job) -> Row:
    """Nothing was written to the replicas, and nobody made a snapshot of them: either stops the replication.

    For a bare write this was observed. For a snapshot zfs-receive(8) says so: the stream has to start from the newest
    snapshot of the destination. `fresh` reports what has not arrived yet; for the job's own dataset this row does, too.
    """
    there = cluster.of(cluster.site.host(job.target)).datasets
    own = cluster.site.replica(job)
    found = [
        _untouched(cluster, job, dataset, replica)
        for dataset, replica in replicas(cluster, job).items()
        if replica == own or there is None or replica in there
    ]
    touched = [row for row in found if row.state is State.WRONG]
    if len(touched) > 1:
        return replace(touched[0], reason="; ".join(row.reason for row in touched))
    return next((row for row in found if row.state is not State.RIGHT), found[0]) if not touched else touched[0]


def _untouched(cluster: ClusterView, job: Job, dataset: str, replica: str) -> Row:
    target = cluster.site.host(job.target)
    check = f"replica of {job.name} untouched"
    view = cluster.of(target)
    if view.datasets is not None and replica not in view.datasets:
        return wrong(check, target.name, f"there is no dataset {replica}", RUN.format("zrepl"))
    written = None if view.written is None else view.written.get(replica)
    if written is None or view.snapshots is None:
        return unknown(check, target.name, f"nothing is known of {replica}", ASK_AGAIN)
    newest = max((s for s in view.snapshots if s.dataset == replica), key=lambda s: s.createtxg, default=None)
    served = replica == cluster.site.replica(job) and job.replica_mountpoint is not None  # see the row mounts
    back = PROMOTED if job == cluster.site.served_job else MACHINE
    writes = replica == cluster.site.replica(cluster.site.served_job) and promoted(cluster, job)
    if writes or _marked(cluster, job, dataset, replica):
        return wrong(check, target.name, f"{replica} was promoted, and no replication is accepted", back)
    if promoted(cluster, job, replica) and not written and not served:
        reason = f"{replica} is not read-only: one write to it, and no replication is accepted"
        return wrong(check, target.name, reason, f"doas zfs set readonly=on {replica}")
    if written == 0 or (newest is None and dataset != job.dataset):
        return _received_only(cluster, job, dataset, replica)
    since = newest.short_name if newest else "it was made"
    reason = f"{replica} has diverged: {written} bytes were written to it since {since}; no replication is accepted"
    if promoted(cluster, job, replica):
        return wrong(check, target.name, f"{reason}. It is not read-only: somebody made it writable", back)
    return wrong(check, target.name, reason, _dropped(job))


def _marked(cluster: ClusterView, job: Job, dataset: str, replica: str) -> bool:
    """It was promoted, whether it can be written or not, and its source has not got what came after that."""
    source, target = (cluster.of(cluster.site.host(name)) for name in (job.source, job.target))
    received = _of(target.snapshots or (), replica)
    common = newest_common(_of(source.snapshots or (), dataset), received)
    since = [each for each in received if common is None or each.createtxg > common.createtxg]
    known = source.snapshots is not None or promoted(cluster, job, replica)
    return known and any(each.short_name.startswith(MARK) for each in since)


def _dropped(job: Job) -> str:
    """The task, not the commands: it releases holds first, and names what is lost (f3s.replication.WayBack)."""
    roll_back = f"--data 'zrepl_rollback_replicas=[\"{job.name}\"]'"
    return f"docs/runbook.md, replica diverged; to drop them: {RUN.format('zrepl')} {roll_back}"


def promoted(cluster: ClusterView, job: Job, replica: str | None = None) -> bool:
    """What is written to the replica is nowhere else.

    For the served one f3s_storage's record of who writes says so, if it is known; another one can be written, as
    somebody made it by hand.

    + replica: of a dataset below; by default that of the job's own
    """
    target = cluster.site.host(job.target)
    controller = cluster.of(target).controller
    if job == cluster.site.served_job and replica in (None, cluster.site.replica(job)) and controller is not None:
        return controller.writer == target.short_name
    datasets = cluster.of(target).datasets or {}
    found = datasets.get(replica or cluster.site.replica(job))
    return found is not None and found.get("readonly") == "off"


def _received_only(cluster: ClusterView, job: Job, dataset: str, replica: str) -> Row:
    source, target = (cluster.site.host(name) for name in (job.source, job.target))
    check = f"replica of {job.name} untouched"
    sent, now = cluster.of(source).snapshots, cluster.of(source).now
    if sent is None or now is None:
        reason = f"nothing was written to {replica}; nothing is known of the snapshots on {source.name}"
        return unknown(check, target.name, reason, "bring the host back, then run verify again")
    guids = {snapshot.guid for snapshot in sent if snapshot.dataset == dataset}
    prefix = source.zrepl.snapshot_prefix
    own: list[Snapshot] = []
    common = False
    for snapshot in sorted(_of(cluster.of(target).snapshots or (), replica), key=lambda s: s.createtxg, reverse=True):
        if snapshot.guid in guids:
            common = True
            break
        # the hosts are asked at the same time: a snapshot that zrepl sent after the source had answered is no finding
        if not (snapshot.short_name.startswith(prefix) and 0 <= snapshot.creation - now <= MEANWHILE):
            own.append(snapshot)
    if not own:
        return right(check, target.name, f"{replica} is as it was received")
    names = ", ".join(snapshot.short_name for snapshot in own[:3]) + (", ..." if len(own) > 3 else "")
    reason = f"{replica} has diverged: {source.name} has no snapshot {names}; no replication is accepted"
    return wrong(check, target.name, reason, _dropped(job) if common else "docs/runbook.md, replica diverged")


def _of(snapshots: Iterable[Snapshot], dataset: str) -> list[Snapshot]:
    return [snapshot for snapshot in snapshots if snapshot.dataset == dataset]
