"""Mounts in /etc/fstab of a Linux host, and the mounting of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.facts.files import Directory

from f3s.fstab import Entry, FstabConflict, mounted_at, with_entry
from f3s.monitor import USABLE
from f3s.mount_options import not_in_force
from f3s.quoting import command
from facts.clients import MountStates
from facts.fstab import LinuxMounts
from facts.textfile import TextFileOf
from operations.base import Commands, executing, known, told
from operations.reasons import operation
from operations.textfile import written

FSTAB = "/etc/fstab"


@operation()
def entry(source: str, mountpoint: str, options: Sequence[str]) -> Generator[StringCommand]:
    """One line for NFSv4 in /etc/fstab; all other lines stay byte for byte as they are, and the old file beside it.

    + source: what is mounted, such as 127.0.0.1:/k3svolumes
    + mountpoint: absolute path
    + options: in the order in which they are written

    :raises OperationError: /etc/fstab could not be read, or a foreign line claims the mount point

    **Example:** `fstab.entry("127.0.0.1:/k3svolumes", "/data/nfs/k3svolumes", ["hard", "port=2323"])`
    """
    wanted = Entry(source, mountpoint, "nfs4", tuple(options))
    found = known(TextFileOf, path=FSTAB)
    try:
        after = with_entry(found.text, wanted)
    except FstabConflict as error:
        raise OperationError(
            f"{host.name}: {FSTAB}: {error}; this line is not ours, so decide about it by hand"
        ) from None
    if after == found.text:
        host.noop(f"{FSTAB} has the line for {mountpoint} with these options")
        return
    if not found.text:
        raise OperationError(f"{host.name}: {FSTAB} is missing or empty; a host that boots has one")
    yield from written(FSTAB, found, after, found.state.mode, group="root")


@operation()
def mount_point(path: str) -> Commands:
    """A directory to mount on. While something is mounted there it is left alone, as a dead server would not answer.

    + path: absolute path

    **Example:** `fstab.mount_point("/data/nfs/k3svolumes")`
    """
    if mounted_at(known(LinuxMounts), path) is not None:
        host.noop(f"something is mounted at {path}")
    elif told(Directory, path=path) is not None:
        host.noop(f"{path} is there")
    else:
        yield command("mkdir -p -m 0755 -- {}", path)


@operation()
def mounted(mounts: Sequence[tuple[str, str]], options: Sequence[str], monitor: str) -> Commands:
    """Mounts of /etc/fstab are mounted now, by the monitor, which never mounts twice and never hangs.

    A server that does not answer is no error here: everything is configured, and the monitor's timer goes on trying.
    Mounts that are not usable in the end, and options that are not in force, are reported as warnings.

    + mounts: source and mount point of each
    + options: those of /etc/fstab; a mount that has others is left as it is
    + monitor: absolute path of check-nfs-mount.sh, which is configured already

    **Example:** `fstab.mounted([("127.0.0.1:/k3svolumes", "/data/nfs/k3svolumes")], ["hard"], PROGRAM)`
    """
    table = known(LinuxMounts)
    missing = [point for source, point in mounts if (top := mounted_at(table, point)) is None or top.source != source]
    if missing:
        # 1: not healthy, 75: the timer's own run is busy with it; both are results
        yield command("{} --once; case $? in 0|1|75) ;; *) exit 1 ;; esac", monitor)
    else:
        host.noop(f"mounted: {', '.join(point for _, point in mounts)}")
    if executing():
        _report(mounts, options, monitor if missing else None)


def _report(mounts: Sequence[tuple[str, str]], options: Sequence[str], monitor: str | None) -> None:
    """Warns of mounts that the monitor found unusable, and of options that are not in force."""
    for seen in known(MountStates, monitor=monitor) if monitor else ():
        if seen.state not in USABLE:
            why = "not checked yet" if seen.age is None else f"{seen.state}, {seen.detail}"
            then = "the monitor goes on trying"
            if seen.state == "foreign":
                then = f"the monitor mounts it after `umount {seen.mountpoint}`, when no program uses that any more"
            host.log(f"{seen.mountpoint}: {why}; it is configured, and {then}", logger.warning)
    table = known(LinuxMounts)
    for source, point in mounts:
        top = mounted_at(table, point)
        if top is not None and top.source == source and (differing := not_in_force(options, top.options)):
            host.log(
                f"{point} has {', '.join(differing)}: /etc/fstab is in force after the next mount. Unmount it while no "
                "program uses it; the monitor mounts it again",
                logger.warning,
            )
