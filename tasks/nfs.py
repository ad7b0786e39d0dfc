"""An NFSv4 server behind stunnel on both storage hosts; f3s_storage alone starts and stops it (docs/controller.md)."""

from __future__ import annotations

from pyinfra.context import host

from bridge.settings import site, this_host
from operations import nfs, reasons, returning, services, sysctl
from tasks.shared import controller_takes_up, keep_role, kernel_variable, nfs_variables

whole = site()
settings = this_host()

keep_role()
if settings.is_storage:
    mountpoint = settings.nfs.mountpoint
    numeric = settings.nfs.owners == "numeric"

    # -- rc variables: nothing of this starts at boot
    nfs_variables()
    # rc.d/nfsd sets it when it starts, and nfsd may have been running since before the deploy. Until the first start it
    # has the kernel's own value, 1 since FreeBSD 15 (seen)
    sysctl.values(wanted={"vfs.nfsd.nfs_privport": "0"}, set_by="nfsd", name="nfs: clients need no reserved port now")

    # -- owners: numbers as they are, or names through nfsuserd; with a mix, files appear to belong to nobody (seen)
    for variable in host.loop(("vfs.nfsd.enable_stringtouid", "vfs.nfs.enable_uidtostring")):
        kernel_variable(f"nfs: {variable}", variable, "1" if numeric else "0")
    if numeric:
        services.stopped(service="nfsuserd", name="nfs: no nfsuserd, as owners are numbers")

    # -- V4 makes the export the root that clients see: they mount 127.0.0.1:/k3svolumes (seen)
    exports = nfs.exports(
        name="nfs: exports",
        export=settings.nfs.export,
        mountpoint=mountpoint,
        replace=nfs.EXPORTS in settings.replace.files,
    )
    nfs.exports_read(name="nfs: mountd has read the exports")

    # -- on the primary, and never in the bare directory below the mount point; on a blank one the data bring them
    if settings.is_primary and not returning.owed(whole):
        nfs.shares(
            dataset=settings.nfs.dataset,
            mountpoint=mountpoint,
            directories={share.directory: share.mode for share in settings.nfs.shares},
            marker=settings.nfs.marker,
            replicas={
                job.target: whole.replica(job)
                for job in whole.jobs_from(settings)
                if job.dataset == settings.nfs.dataset
            },
            name="nfs: shared directories and the marker of the dataset",
        )

    controller_takes_up("nfs", exports)

reasons.none_left()
