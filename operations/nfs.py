"""What clients see of the served dataset."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.facts.files import File

from f3s.exports import merged, others
from f3s.mounts import below_export
from f3s.quoting import Shell, command
from f3s.replication import newest_common
from f3s.services import ServiceState
from facts.base import script
from facts.mounts import Mounts
from facts.newer import Newer
from facts.nfs import ShareEntries
from facts.rcconf import Variables
from facts.services import Services
from facts.textfile import TextFileOf
from facts.zfs import Snapshots
from operations.base import Commands, executing, known, known_of, told
from operations.reasons import operation
from operations.textfile import two_owners, written

EXPORTS, ZFS_EXPORTS = "/etc/exports", "/etc/zfs/exports"
_PID_FILE = "/var/run/mountd.pid"
_FLAGS = "nfsuserd_flags"
FLAGS_UNREAD = "/var/run/f3s-nfsuserd-flags"
"""Exists while nfsuserd may run with other flags than rc.conf has. Every boot removes it (rc.d/cleanvar)."""

# The dataset may go away between the fact and the change, so the change itself looks, too.
_MOUNTED = "mount | awk -v fs={} -v on={} '$2 == \"on\" && $3 == on {{ top = $1 }} END {{ exit top != fs }}' && "


@operation()
def shares(
    dataset: str, mountpoint: str, directories: Mapping[str, str], marker: str, replicas: Mapping[str, str]
) -> Commands:
    """The dataset has its shared directories and the marker file; the bare mount point never gets them.

    Nor does a dataset that was made anew while a replica has the data of the old one: without the marker it is not
    served (docs/controller.md).

    + dataset: what has to be mounted
    + mountpoint: where
    + directories: octal mode of each directory
    + marker: name of the marker file
    + replicas: host -> dataset there which the dataset is replicated to

    Raises OperationError if the dataset is not mounted when it should be written to, if something is mounted below it,
    which clients would not see, if an entry is not of the kind
    that it should be, or if the marker is missing and a replica is not known to be of this dataset.

    **Example:** `nfs.shares("zdata/enc/nfsdata", "/data/nfs", {"k3svolumes": "0755"}, "nfs.DO_NOT_REMOVE",
    {"f1.lan.buetow.org": "zdata/sink/f0/zdata/enc/nfsdata"})`
    """
    names = (*directories, marker)
    found = known(ShareEntries, dataset=dataset, mountpoint=mountpoint, names=names)
    if isinstance(found, bool):
        if executing():
            raise OperationError(
                f"{host.name}: {dataset} is not mounted on {mountpoint}: run tasks/zfs_encrypt.py, look at the stick"
            )
        found = dict.fromkeys(names, "absent")
    if hidden := below_export(known(Mounts, directories=()), mountpoint):
        raise OperationError(f"{host.name}: {hidden}")
    mounted = command(_MOUNTED, dataset, mountpoint)
    changes = list(_directory_changes(mountpoint, directories, found))
    if found[marker] not in ("absent", "file"):
        raise OperationError(f"{host.name}: {mountpoint}/{marker} is not a file: move it away, then run this again")
    # last: nothing is served without the marker, and the marker promises that the rest is there
    if found[marker] == "absent":
        _refuse_other_data(dataset, marker, replicas)
        changes.append(command("touch {}", f"{mountpoint}/{marker}"))
    if not changes:
        host.noop(f"{', '.join(names)} are in {dataset}")
    for change in changes:
        yield Shell(mounted + change)


def _refuse_other_data(dataset: str, marker: str, replicas: Mapping[str, str]) -> None:
    """Raise if a replica has, or may have, data that the dataset never had."""
    own = [snapshot for snapshot in known(Snapshots) if snapshot.dataset == dataset] if replicas else []
    for target, replica in replicas.items():
        theirs = known_of(target, Snapshots)
        if theirs is None:
            if executing():
                raise OperationError(
                    f"{host.name}: {dataset} got no {marker}, without which it is not served: {target} cannot be asked "
                    f"whether its replica {replica} has other data. Run this again when {target} answers"
                )
            continue
        received = [snapshot for snapshot in theirs if snapshot.dataset == replica]
        if received and newest_common(own, received) is None:
            raise OperationError(
                f"{host.name}: {dataset} has no {marker}, and no snapshot in common with its replica {replica} on "
                f"{target}, the newest of which is {received[-1].short_name}: that replica may be all that is left of "
                f"the data. Send it back (docs/runbook.md, Disk dead), or, if nobody needs anything in it, run "
                f"`zfs destroy -r {replica}` on {target}"
            )


def _directory_changes(mountpoint: str, directories: Mapping[str, str], found: Mapping[str, str]) -> Commands:
    for name, mode in directories.items():
        path = f"{mountpoint}/{name}"
        if found[name] in ("file", "other"):
            raise OperationError(f"{host.name}: {path} is not a directory: move it away, then run this again")
        if found[name] == "absent":
            yield command("mkdir -m {} {}", mode, path)
        elif int(found[name], 8) != int(mode, 8):
            yield command("chmod {} {}", mode, path)


@operation()
def nothing_else(export: str, mountpoint: str, replace: bool) -> Commands:
    """This host exports nothing but what this deploy does. Changes nothing.

    mountd reads /etc/zfs/exports as well, which sharenfs writes.

    + export, mountpoint, replace: as in `exports`

    Raises OperationError where it exports more.

    **Example:** `nfs.nothing_else("/export/nfs", "/data/nfs", replace=False)`
    """
    _, text, _ = two_owners(EXPORTS, lambda before: merged(before, export, mountpoint), replace)
    for path, shared in ((EXPORTS, others(text)), (ZFS_EXPORTS, others(known(TextFileOf, path=ZFS_EXPORTS).text))):
        if shared:
            raise OperationError(
                f"{host.name}: {path} exports more than this deploy: {'; '.join(shared)}. It would let nfsd listen on "
                "loopback alone, and stop it while this host is not ready. Nothing of NFS was changed. Set "
                "nfs_for_others = True, or take that out"
            )
    host.noop(f"{export} is all that is exported, or will be")
    yield from ()


@operation()
def exports(export: str, mountpoint: str, replace: bool) -> Generator[StringCommand]:
    """/etc/exports has our block; other lines stay.

    + export: what is exported, the root of NFSv4
    + mountpoint: of the dataset that is seen there
    + replace: whether a file in which our lines have no place may be replaced whole

    Raises OperationError where the operator has another root.

    **Example:** `nfs.exports("/export/nfs", "/data/nfs", replace=False)`
    """
    found, text, whole = two_owners(EXPORTS, lambda before: merged(before, export, mountpoint), replace)
    yield from written(EXPORTS, found, text, "0644", whole=whole)


@operation()
def exports_read() -> Commands:
    """A running mountd has read /etc/exports. One that does not run reads it when it starts.

    SIGHUP applies changed exports. The pid file is then made as new as what mountd has read. (A dataset that was
    mounted after mountd started needs a restart: f3s_storage does that.)

    **Example:** `nfs.exports_read()`
    """
    if known(Services, names=("mountd",))["mountd"] is not ServiceState.RUNNING:
        host.noop("mountd is not running")
    elif not known(Newer, path=EXPORTS, marks=(_PID_FILE,)):
        host.noop(f"mountd has read {EXPORTS} since it changed")
    else:
        yield command("service mountd onereload && touch {}", _PID_FILE)


@operation()
def nfsuserd_flags(flags: str) -> Commands:
    """rc.conf has these flags for nfsuserd. Before they change it is recorded that nfsuserd has not read them.

    A running nfsuserd does not show its flags, because it uses setproctitle(3) (usr.sbin/nfsuserd/nfsuserd.c).

    + flags: its arguments

    **Example:** `nfs.nfsuserd_flags("-domain lan.buetow.org")`
    """
    if _flags_are(flags):
        host.noop(f"{_FLAGS}={flags} in rc.conf")
        return
    yield command("touch {} && sysrc {}={}", FLAGS_UNREAD, _FLAGS, flags)


@operation()
def nfsuserd_restarted(flags: str) -> Commands:
    """A running nfsuserd was started with the flags of rc.conf. Clients wait for its restart and lose nothing.

    + flags: as in `nfsuserd_flags`; for the plan, when rc.conf does not have them yet

    **Example:** `nfs.nfsuserd_restarted("-domain lan.buetow.org")`
    """
    unread = bool(told(File, path=FLAGS_UNREAD)) or not _flags_are(flags)
    if not unread:
        host.noop("nfsuserd's flags have not changed since it was started")
        return
    if known(Services, names=("nfsuserd",))["nfsuserd"] is ServiceState.RUNNING:
        stop, start = script("stop-service", "nfsuserd"), script("run-service", "nfsuserd", "onestart")
        yield command("{} && {} && rm -f {}", stop, start, FLAGS_UNREAD)
    else:
        yield command("rm -f {}", FLAGS_UNREAD)


def _flags_are(flags: str) -> bool:
    return known(Variables, names=(_FLAGS,))[_FLAGS] == flags
