"""Checks of disks, datasets, replication jobs and mount points, see checks.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from f3s.settings.lookup import accepted, get, is_none, jobs_of, variable
from f3s.settings.model import Job, is_within
from f3s.settings.problems import SITE, Problem
from f3s.settings.site import HostSettings, Site


def _disks(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts:
        stick, disk = get(host, "usb.device"), get(host, "pool.disk")
        if disk is not None and disk == stick:
            yield Problem(host.name, "pool_disk", repr(disk), "is usb_device, too", "another disk")
        if host.is_storage and is_none(host, "pool.disk"):
            wrong = "is missing on a storage host"
            yield Problem(host.name, "pool_disk", "None", wrong, "the name of the data disk, such as ada1")
        for device in get(host, "usb.format_allow") or ():
            if disk is not None and device == disk:
                yield Problem(host.name, "usb_format_allow", repr(device), "is pool_disk", "a key stick")


def _datasets(site: Site) -> Iterator[Problem]:
    targets = [job.target for job in jobs_of(site)]
    for host in site.freebsd_hosts:
        pool, enc = get(host, "pool.name"), get(host, "enc.dataset")
        nfs, sink = get(host, "nfs.dataset"), get(host, "zrepl.sink_root")
        bhyve, old = get(host, "bhyve.dataset"), get(host, "bhyve.old_dataset")
        if pool and enc and not is_within(enc, pool):
            yield Problem(host.name, "enc_dataset", repr(enc), "is not in the data pool", f"below {pool}")
        elif pool and enc and get(host, "pool.disk"):
            yield from _directly_below(host, "enc_dataset", enc, "pool_name", pool)
        # all hosts name it, but only the primary has it: the others may have pools with other names
        if host.is_primary and enc and nfs and (nfs == enc or not is_within(nfs, enc)):
            yield Problem(host.name, "nfs_dataset", repr(nfs), "would not be encrypted", f"below {enc}")
        elif host.is_primary and enc and nfs:
            yield from _directly_below(host, "nfs_dataset", nfs, "enc_dataset", enc)
        if bhyve and old and (is_within(old, bhyve) or is_within(bhyve, old)):
            wrong = f"and bhyve_dataset {bhyve} lie in one another"
            yield Problem(host.name, "bhyve_old_dataset", repr(old), wrong, f"a dataset beside {bhyve}")
        if bhyve and old and old.split("/")[0] != bhyve.split("/")[0]:
            wrong = "is in another pool, where a rename cannot put it"
            yield Problem(host.name, "bhyve_old_dataset", repr(old), wrong, f"in {bhyve.split('/')[0]}")
        if enc and bhyve and (is_within(enc, bhyve) or is_within(bhyve, enc)):
            wrong = f"and enc_dataset {enc} lie in one another"
            yield Problem(host.name, "bhyve_dataset", repr(bhyve), wrong, f"a dataset outside {enc}")
        trees = [(name, tree) for name, tree in (("enc_dataset", enc), ("bhyve_dataset", bhyve)) if sink and tree]
        around = [(name, tree) for name, tree in trees if is_within(sink, tree) or is_within(tree, sink)]
        for name, tree in around:
            wrong = f"and {name} {tree} lie in one another"
            yield Problem(host.name, "zrepl_sink_root", repr(sink), wrong, f"a dataset outside {tree}")
        if sink and not around and host.name in targets:
            yield from _directly_below(host, "zrepl_sink_root", sink, "its pool", sink.split("/")[0])


def _directly_below(host: HostSettings, name: str, dataset: str, what: str, parent: str) -> Iterator[Problem]:
    """`zfs create` makes no parents (zfs-create(8)), and no setting says which properties those should have."""
    between = dataset.rpartition("/")[0]
    if between != parent:
        wrong = f"is not directly below {what}, and nothing makes {between}"
        yield Problem(host.name, name, repr(dataset), wrong, f"{parent}/{dataset.rpartition('/')[2]}")


def _zrepl_jobs(site: Site) -> Iterator[Problem]:
    jobs = jobs_of(site)
    hosts = {host.name: host for host in site.freebsd_hosts}
    for index, job in enumerate(jobs):
        where = f"zrepl_jobs[{job.name}]"
        if any(job.name == other.name for other in jobs[:index]):
            yield Problem(SITE, f"{where}.name", repr(job.name), "is the name of two jobs", "one name for each job")
        for end, name in (("source", job.source), ("target", job.target)):
            if name not in hosts:
                wrong = "is not a FreeBSD host of the inventory"
                yield Problem(SITE, f"{where}.{end}", repr(name), wrong, " or ".join(sorted(hosts)))
        if job.source == job.target:
            yield Problem(SITE, f"{where}.target", repr(job.target), "is the source, too", "another host")
        for other in jobs[:index]:
            if (other.source, other.target, other.dataset) == (job.source, job.target, job.dataset):
                wrong = f"goes from the same source to the same target in {other.name}"
                yield Problem(SITE, f"{where}.dataset", repr(job.dataset), wrong, "one job for it")
        if source := hosts.get(job.source):
            trees = [tree for name in ("enc.dataset", "bhyve.dataset") if (tree := get(source, name))]
            if len(trees) == 2 and not any(is_within(job.dataset, tree) for tree in trees):
                wrong = "would not be encrypted, and only encrypted datasets are sent"
                yield Problem(SITE, f"{where}.dataset", repr(job.dataset), wrong, f"below {' or '.join(trees)}")
            if trees and is_within(job.dataset, trees[0]) and is_none(source, "pool.disk"):
                wrong = f"has no pool for {job.dataset}: its pool_disk is not set"
                yield Problem(SITE, f"{where}.source", repr(job.source), wrong, "a host with a pool_disk")
        if target := hosts.get(job.target):
            sink, pool = get(target, "zrepl.sink_root"), get(target, "pool.name")
            if sink and pool and is_within(sink, pool) and is_none(target, "pool.disk"):
                wrong = f"has no pool {pool} for the sink {sink}: its pool_disk is not set"
                yield Problem(SITE, f"{where}.target", repr(job.target), wrong, "a host with a pool_disk")
    yield from _served_job(site, jobs)
    names = [job.name for job in jobs]
    for host in site.freebsd_hosts[:1]:
        for switch in ("zrepl.rollback_replicas", "zrepl.prune_history"):
            for name in get(host, switch) or ():
                if name not in names:
                    wrong = "is not the name of a job"
                    yield Problem(SITE, variable(switch), repr(name), wrong, " or ".join(names) or "none")


def _served_job(site: Site, jobs: tuple[Job, ...]) -> Iterator[Problem]:
    """The standby serves what one job brings it. That there are not two of them is checked above, for all jobs."""
    pair = _pair(site)
    if pair is None or not all(accepted(host, "zrepl.jobs") for host in site.hosts):
        return
    primary, standby = pair
    dataset, mountpoint = get(primary, "nfs.dataset"), get(primary, "nfs.mountpoint")
    if dataset is None:
        return
    found = [job for job in jobs if _is_served(job, primary, standby)]
    if not found:
        wrong = (
            f"has no job for nfs_dataset from the primary {primary.name} to the standby {standby.name}, which would "
            "have nothing to serve"
        )
        allowed = f"with a job of source {primary.name}, target {standby.name}, dataset {dataset}"
        if mountpoint is not None:
            allowed += f", replica_mountpoint {mountpoint}"
        yield Problem(SITE, "zrepl_jobs", repr([job.name for job in jobs]), wrong, allowed)
    for job in found:
        if mountpoint is not None and job.replica_mountpoint != mountpoint:
            where = f"zrepl_jobs[{job.name}].replica_mountpoint"
            wrong = f"is not nfs_mountpoint, where the standby {standby.name} has to serve this replica"
            yield Problem(SITE, where, repr(job.replica_mountpoint), wrong, mountpoint)


def _pair(site: Site) -> tuple[HostSettings, HostSettings] | None:
    """The primary and the standby; None where the groups do not say which they are."""
    primary = next((host for host in site.hosts if host.is_primary), None)
    standby = next((host for host in site.hosts if host.is_standby), None)
    return None if primary is None or standby is None or primary is standby else (primary, standby)


def _is_served(job: Job, primary: HostSettings, standby: HostSettings) -> bool:
    """As Site.served_job looks for it."""
    return (job.source, job.target, job.dataset) == (primary.name, standby.name, get(primary, "nfs.dataset"))


def _bhyve_switch(site: Site) -> Iterator[Problem]:
    hosts = sorted(host.name for host in site.freebsd_hosts)
    named = {name for host in site.freebsd_hosts for name in get(host, "bhyve.destroy_old") or ()}
    for name in sorted(named - set(hosts)):
        wrong = "is not a FreeBSD host of the inventory"
        yield Problem(SITE, "bhyve_destroy_old", repr(name), wrong, " or ".join(hosts))


def _mountpoints(site: Site) -> Iterator[Problem]:
    jobs, pair = jobs_of(site), _pair(site)
    for host in site.freebsd_hosts:
        pool, pool_name, enc = (get(host, name) for name in ("pool.mountpoint", "pool.name", "enc.dataset"))
        taken: dict[str, str] = {}
        if pool and pool_name and enc:
            taken[pool + enc.removeprefix(pool_name)] = "the mount point of enc_dataset"
        for name in ("pool.mountpoint", "usb.mountpoint", "nfs.mountpoint", "nfs.export"):
            path = get(host, name)
            if path in taken:
                wrong = f"is {taken[path]}, too"
                yield Problem(host.name, variable(name), repr(path), wrong, "a directory of its own")
            elif path is not None:
                taken[path] = variable(name)
        for job in jobs:
            path = job.replica_mountpoint
            if job.target != host.name or path is None:
                continue
            serves = pair is None or _is_served(job, *pair) or not accepted(pair[0], "nfs.dataset")
            if path in taken and not (taken[path] == "nfs_mountpoint" and serves):
                wrong = f"is {taken[path]} of {host.name}, too"
                where = f"zrepl_jobs[{job.name}].replica_mountpoint"
                yield Problem(SITE, where, repr(path), wrong, "a directory of its own, or None")
            taken[path] = f"the replica_mountpoint of {job.name}"
        # clients would see another file system there; mount_nullfs(8) refuses paths that are not distinct
        for name in ("usb.mountpoint", "nfs.mountpoint", "nfs.export"):
            outer = get(host, name)
            within = {path: what for path, what in taken.items() if outer != path and is_within(path, str(outer))}
            if within and outer != pool:  # which is reported above
                wrong = f"has {', '.join(f'{what} {path}' for path, what in within.items())} in it"
                yield Problem(host.name, variable(name), repr(outer), wrong, "a directory without a mount point in it")


def _nfs_files(site: Site) -> Iterator[Problem]:
    for host in site.freebsd_hosts[:1]:
        names = [share.directory for share in get(host, "nfs.shares") or ()]
        for field in ("nfs.marker", "nfs.failback_block"):
            name = get(host, field)
            if name in names:
                wrong = "is the name of another file or share in nfs_mountpoint"
                yield Problem(SITE, variable(field), repr(name), wrong, "a name of its own")
            if name is not None:
                names.append(name)
        for name, count in sorted(Counter(share.directory for share in get(host, "nfs.shares") or ()).items()):
            if count > 1:
                yield Problem(SITE, "nfs_shares", repr(name), f"is there {count} times", "each directory once")


STORAGE_CHECKS: tuple[Callable[[Site], Iterator[Problem]], ...] = (
    _disks,
    _datasets,
    _zrepl_jobs,
    _bhyve_switch,
    _mountpoints,
    _nfs_files,
)
