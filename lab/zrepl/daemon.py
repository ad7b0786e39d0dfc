"""zrepl's service on the virtual clock: snapshots on their beat, each followed by a replication and by pruning."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from lab import clock
from lab.core import Cluster, CommandError, Context, Event, Host, NotSimulatedError, Store, part
from lab.rc.scripts import keep_output, rc_conf
from lab.zfs import snapshots
from lab.zfs.model import Node
from lab.zrepl import config, prune, replicate
from lab.zrepl.config import ConfigError, Push
from lab.zrepl.state import CONTROL, Daemon, Job, running

DEFAULT_CONFIG = "/usr/local/etc/zrepl/zrepl.yml"
REPLICATION_SECONDS = 1.0
"""Virtual seconds between the snapshots of a beat and the end of their replication."""

FIRST_SECONDS = 8.0
"""Virtual seconds between the arrival of a whole file system and that of the next one: longer than anybody polls."""


def read(path: str) -> config.Config:
    """A configuration file of the host.

    :raises ConfigError: zrepl refuses it
    """
    try:
        text = Path(path).read_text()
    except OSError:
        # without --config it looks for several, and names none (seen)
        raise ConfigError(f"open {'' if path == DEFAULT_CONFIG else path}: no such file or directory") from None
    return config.read(text)


def start(ctx: Context) -> bool:
    """The package's rc.d script starts the daemon (FreeBSD ports, sysutils/zrepl/files/zrepl.in)."""
    path = rc_conf(["zrepl_config"])["zrepl_config"] or DEFAULT_CONFIG
    folder = Path(CONTROL).parent
    if not (folder / "stdinserver").is_dir():
        for each in (folder, folder / "stdinserver"):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
    ctx.out("Performing sanity check on zrepl configuration:\n")
    try:
        found = read(path)
    except ConfigError as error:
        ctx.err(f"could not parse config: {error}\n")
        return False
    if not stat.S_IMODE(os.stat(folder).st_mode) & 0o007:
        # zrepl refuses to make its control socket in a folder that others can enter, and runs without it
        Path(CONTROL).touch(mode=0o700)
    keep_output()
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        daemon = Daemon(found, cluster.next_id())
        host.parts["zrepl"] = daemon
        daemon.jobs = {push.name: Job() for push in found.pushes}
        listening = part(host, "sockets", dict[str, tuple[str, int]])
        for address in filter(None, (found.metrics, *(sink.listen for sink in found.sinks))):
            ip, _, port = address.rpartition(":")
            listening[f"zrepl {address}"] = (ip, int(port))
    return True


def stop(ctx: Context) -> bool:
    """The daemon ends; what it had planned is forgotten."""
    Path(CONTROL).unlink(missing_ok=True)
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        host.parts.pop("zrepl", None)
        clock.cancel(cluster, lambda event: event.host != host.name or not event.kind.startswith("zrepl "))
        sockets = part(host, "sockets", dict[str, tuple[str, int]])
        for name in [name for name in sockets if name.startswith("zrepl ")]:
            del sockets[name]
    return True


def plan_beats(store: Store, cluster: Cluster, host: Host) -> None:
    """When each job takes its next snapshots; also decided anew after the host's clock was set.

    A daemon that runs sleeps until an interval after its newest ones, by the clock: it takes none while those are from
    the future (seen). One that is started then waits an interval (daemon/snapper, periodicStateWait; seen).
    """
    daemon = host.parts.get("zrepl")
    if not isinstance(daemon, Daemon):
        return
    started = all(event.host != host.name or event.kind != "zrepl snapshot" for event in cluster.events)
    clock.cancel(cluster, lambda event: event.host != host.name or event.kind != "zrepl snapshot")
    for push in daemon.config.pushes:
        due = _first_beat(Node(store, cluster, host), push, started=started)
        _schedule(cluster, host, daemon, "zrepl snapshot", push.name, due - cluster.time_on(host))


def _first_beat(node: Node, push: Push, *, started: bool) -> float:
    """When a job takes its first snapshots: an interval after its newest one, or at once (daemon/snapper)."""
    now = node.cluster.time_on(node.host)
    newest = [
        max(mine)
        for dataset in replicate.selected(push, node)
        if (mine := [snap.creation for snap in dataset.snapshots if snap.name.startswith(push.prefix)])
    ]
    past = [each for each in newest if each <= now]
    if newest and started and not past:
        return now + push.interval
    return max(now, min(past if started else newest, default=-push.interval) + push.interval)


def _schedule(cluster: Cluster, host: Host, daemon: Daemon, kind: str, job: str, after: float) -> None:
    lane = f"{host.name} zrepl {job}"
    clock.schedule(cluster, max(0.0, after), kind, host.name, lane=lane, job=job, number=daemon.number)


def _of(cluster: Cluster, event: Event) -> tuple[Host, Daemon, Push] | None:
    """The job of an event, unless the daemon that planned it has ended."""
    host = cluster.hosts[event.host]
    daemon = running(host)
    if daemon is None or daemon.number != event.payload["number"]:
        return None
    return host, daemon, next(push for push in daemon.config.pushes if push.name == event.payload["job"])


def snapshot(store: Store, event: Event) -> None:
    """A beat: snapshots of everything that the job sends, then its replication."""
    with store.edit() as cluster:
        found = _of(cluster, event)
        if found is None:
            return
        host, daemon, push = found
        job = daemon.jobs[push.name]
        node = Node(store, cluster, host)
        stamp = time.strftime("%Y%m%d_%H%M%S_000", time.gmtime(cluster.time_on(host)))
        job.snapshot_error = ""
        for dataset in replicate.selected(push, node):
            try:
                snapshots.take(node, [f"{dataset.name}@{push.prefix}{stamp}"])
            except CommandError:
                job.snapshot_error = "one or more snapshots could not be created, check logs for details"
        _schedule(cluster, host, daemon, "zrepl snapshot", push.name, push.interval)
        _schedule(cluster, host, daemon, "zrepl replicate", push.name, REPLICATION_SECONDS)


def replicate_and_prune(store: Store, event: Event) -> None:
    """A run of a job."""
    with store.edit() as cluster:
        found = _of(cluster, event)
        if found is None:
            return
        host, daemon, push = found
        job = daemon.jobs[push.name]
        begun = job.run if job.run and job.run.paused else None
        if begun and cluster.now < begun.finished:
            return  # one replication at a time
        job.run = replicate.run(store, cluster, host, push, begun)
        if job.run.paused:
            job.run.finished = cluster.now + FIRST_SECONDS
            _schedule(cluster, host, daemon, "zrepl replicate", push.name, FIRST_SECONDS)
            return
        if not job.run.error:
            prune.both(replicate.connect(store, cluster, host, push))


def wake(cluster: Cluster, host: Host, daemon: Daemon, job: str) -> None:
    """`zrepl signal wakeup`."""
    if job in daemon.config.idle:
        raise NotSimulatedError(f"zrepl signal wakeup of {job}, which is a job of the operator's own")
    if job not in daemon.jobs:
        raise CommandError(f"Job {job} does not exist")
    soon = [e for e in cluster.events if e.kind == "zrepl replicate" and e.host == host.name]
    if any(event.payload["job"] == job for event in soon):
        raise CommandError("already woken up")
    _schedule(cluster, host, daemon, "zrepl replicate", job, REPLICATION_SECONDS)
