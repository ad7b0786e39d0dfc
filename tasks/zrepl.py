"""Replication: snapshots of the sources go to their targets, whose replicas are open read-only.

The source pushes raw streams: data arrives as encrypted as it was, and the target needs the key only to mount the
replica. Replicas with a mount point are opened here, once their first replication is complete.
"""

from __future__ import annotations

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import files

from bridge.settings import site, this_host
from f3s import zrepl as config
from f3s.controller import STORAGE_CONF, served_dataset, wanted_values
from operations import clock, order, packages, rcconf, reasons, replicas, returning, textfile, zfs, zrepl
from tasks.shared import keep_role

RUN, AT_START = "/var/run/zrepl", "/etc/rc.conf.d/zrepl"

whole = site()
settings = this_host()
content = config.host_config(settings, whole) if settings.is_freebsd else None

keep_role()
if content is not None:
    sends, receives = whole.jobs_from(settings), whole.jobs_to(settings)
    # a primary without its data sends nothing yet, and the job is there for when they are back
    here = tuple(job for job in sends if job.dataset != settings.nfs.dataset or not returning.owed(whole))
    replace = config.CONFIG in settings.replace.files
    served = {served_dataset(settings, whole): settings.short_name} if settings.is_storage else {}
    opened = [(job, path) for job in receives if (path := job.replica_mountpoint) is not None]

    # zrepl takes no snapshot of a dataset that has one from the future
    clock.compared(name="zrepl: the clock is that of the controller")
    if sends:
        # zrepl does not complain about a missing dataset, it just replicates nothing
        zrepl.sources(
            name="zrepl: what is sent is there and encrypted",
            jobs={job.name: job.dataset for job in here},
            made=[settings.nfs.dataset] if settings.is_primary else [],
            machines=(settings.bhyve.dataset, settings.bhyve.old_dataset),
        )
        zrepl.room(
            name="zrepl: there is room for what was never replicated",
            jobs={job.name: (job.dataset, job.target, whole.replica(job)) for job in here},
        )
        zrepl.history_kept(
            name="zrepl: new keep rules delete nothing that is kept now",
            path=config.CONFIG,
            ours=content,
            jobs={job.name: (job.dataset, job.target, whole.replica(job)) for job in sends},
            allowed=settings.zrepl.prune_history,
        )

    packages.installed(name="zrepl: package", names=["zrepl"])

    if receives:
        zfs.dataset(
            name="zrepl: the dataset of the sink is there",
            dataset=settings.zrepl.sink_root,
            properties={"mountpoint": "none"},
        )

    files.directory(name="zrepl: configuration folder", path="/usr/local/etc/zrepl", mode="755")
    # The rc script of the package makes these with mode 755, and then zrepl refuses to make its control socket there
    # (internal/daemon/nethelpers). It leaves existing folders alone, and reads this file first (load_rc_config in
    # rc.subr): at each start, because /var/run may be in memory.
    files.directory(name="zrepl: /etc/rc.conf.d", path="/etc/rc.conf.d", mode="755", user="root", group="wheel")
    textfile.put(
        name="zrepl: its folders are closed to others",
        path=AT_START,
        text=f"# Installed as {AT_START} by the f3s deploy.\n"
        f'[ "$(id -u)" -ne 0 ] || install -d -m 700 -o root -g wheel {RUN} {RUN}/stdinserver\n',
        mode="0644",
        replace=AT_START in settings.replace.files,
    )
    zrepl.config(name="zrepl: configuration", path=config.CONFIG, ours=content, replace=replace)

    rcconf.variables(name="zrepl: starts at boot", values={"zrepl_enable": "YES", "zrepl_config": config.CONFIG})
    zrepl.running(name="zrepl: service runs with this configuration", path=config.CONFIG, ours=content, replace=replace)

    # -- together with the jobs: by this one the primary moves the address. tasks/carp.py makes the file
    if settings.is_storage and host.get_fact(File, path=STORAGE_CONF):
        for variable, value in host.loop(wanted_values(settings, whole).replication.items()):
            files.line(
                name=f"zrepl: {variable} of f3s_storage",
                path=STORAGE_CONF,
                line=f"^{variable}=.*",
                replace=f"{variable}='{value}'",
            )

    # a job that is woken before its sink listens waits for the next interval
    order.barrier(name="zrepl: sources and sinks run")
    if sends:
        zrepl.woken(
            name="zrepl: what was never replicated is sent now",
            jobs={job.name: (job.dataset, job.target, whole.replica(job)) for job in here},
        )
    order.barrier(name="zrepl: replications are on their way")
    if receives:
        received = {whole.replica(job): job.name for job in receives}
        replicas.arrived(
            name="zrepl: every replica has arrived",
            jobs={whole.replica(job): (job.source, job.dataset) for job in receives},
            seconds=settings.zrepl.first_replication_timeout,
        )
        replicas.undiverged(
            name="zrepl: nothing was written to a replica",
            replicas=received,
            sink=settings.zrepl.sink_root,
            sources={job.name: (job.source, job.dataset) for job in receives},
            rollback=settings.zrepl.rollback_replicas,
            served=served,
        )

        replicas.keys_named(
            name="zrepl: every replica names its key",
            replicas={whole.replica(job): whole.replica_key_location(job) for job in receives},
            opened=[whole.replica(job) for job, _ in opened],
        )

    for job, path in host.loop(opened):
        # before it is mounted: afterwards the directory below cannot be seen
        zfs.guarded_mountpoint(
            name=f"zrepl: {path} takes no writes while nothing is mounted",
            path=path,
            datasets=[whole.replica(job)],
            parent=settings.pool.name,
            parent_mountpoint=settings.pool.mountpoint,
        )
        replicas.mounted(
            name=f"zrepl: the replica of {job.name} is mounted",
            dataset=whole.replica(job),
            keylocation=whole.replica_key_location(job),
            mountpoint=path,
            serves=served.get(whole.replica(job)),
        )
    if opened:
        zfs.keys_loaded_at_boot(
            name="zrepl: the keys of the replicas are loaded at boot",
            datasets=[whole.replica(job) for job, _ in opened],
            sink=settings.zrepl.sink_root,
        )

    if sends:
        zrepl.jobs_reported(name="zrepl: failed jobs are reported", jobs=tuple(job.name for job in sends))

reasons.none_left()
