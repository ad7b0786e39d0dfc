"""mount, umount and the host's fstab, for UFS and for what ZFS has mounted."""

from __future__ import annotations

import os
from pathlib import Path

from f3s.fstab import entries
from lab import disks
from lab.commands import unreadable
from lab.commands.options import parse
from lab.core import Cluster, CommandError, Context, Host, Mount
from lab.mounts import KEEPS_READ_ONLY, below, fsid, is_read_only, mounted_at, new_fsid

NULLFS = 0x29
"""vfc_typenum of nullfs."""


def mount(ctx: Context) -> int:
    """mount(8): the list (also -p or -v, of one type), ``[-r|-w] [-u] [-o OPTIONS] [-t ufs] DEVICE DIR``, ``DIR`` of
    fstab, and ``[-r|-w] [-o OPTIONS] -t nullfs MOUNTPOINT DIR``."""
    options, names = parse(ctx, "pruvwo:t:")
    words = [word for word in options.get("o", "").split(",") if word]
    if not names and not options.keys() - {"p", "v", "t"} and len(options.keys() & {"p", "v"}) < 2:
        host = ctx.host(ctx.store.read())
        for entry in host.mounts:
            if KEEPS_READ_ONLY in host.parts:
                entry.read_only = is_read_only(host, entry)
            if options.get("t", entry.fstype) == entry.fstype:
                ctx.out(_fstab_line(entry) if "p" in options else _line(entry, verbose="v" in options))
        return 0
    kind = options.get("t", "ufs")
    known = {"ufs": {"ro", "rw", "noatime", "failok"}, "nullfs": {"ro", "rw"}}
    forbidden = {"p", "v"} if kind == "ufs" else {"p", "v", "u"}
    if not names or kind not in known or set(words) - known[kind] or forbidden & options.keys():
        raise ctx.not_simulated()
    read_only = "r" in options or "ro" in words
    if len(names) == 2 and "u" not in options and kind == "ufs":
        unreadable.read_device(ctx, names[0])
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        if kind == "nullfs":
            _mount_null(ctx, host, names, read_only)
        elif "u" in options:
            _update(ctx, cluster, host, names[-1], read_only)
        elif len(names) == 1:
            found = [e for e in entries(Path("/etc/fstab").read_text()) if names[0] in (e.source, e.mountpoint)]
            if not found:
                raise CommandError(f"mount: {names[0]}: unknown special file or file system")
            if found[0].fstype != "ufs":
                raise ctx.not_simulated(f"{found[0].fstype} from fstab")
            read_only = read_only or "ro" in found[0].options
            mount_ufs(ctx, cluster, host, found[0].source, found[0].mountpoint, read_only=read_only)
        elif len(names) == 2:
            mount_ufs(ctx, cluster, host, *names, read_only=read_only)
        else:
            raise ctx.not_simulated()
    return 0


def mount_nullfs(ctx: Context) -> int:
    """mount_nullfs(8): ``MOUNTPOINT DIR``. Unlike mount(8) it does not tell mountd (mount.c, restart_mountd)."""
    _, names = parse(ctx, "")
    with ctx.cluster() as cluster:
        _mount_null(ctx, ctx.host(cluster), names, read_only=False)
    return 0


def mount_ufs(ctx: Context, cluster: Cluster, host: Host, device: str, target: str, *, read_only: bool) -> None:
    """Mounts a UFS file system."""
    disk = disks.resolve(ctx.store, cluster, host, device)
    if disk is None:
        raise CommandError(f"mount: {device}: No such file or directory")
    if not os.path.isdir(target):
        raise CommandError(f"mount: {target}: No such file or directory")
    system = disks.ufs_on(ctx.store, cluster, disk)
    if system is None:
        raise CommandError(f"mount: {device}: Invalid argument")
    if disks.user(ctx.store, cluster, host, disk):
        raise CommandError(f"mount: {device}: Device busy")
    shown = device if device.startswith("/dev/") else f"/dev/{device}"
    number = fsid(system.tree, 0)
    host.mounts.append(Mount(shown, os.path.normpath(target), "ufs", system.tree, read_only, fsid=number))


def _mount_null(ctx: Context, host: Host, names: list[str], read_only: bool) -> None:
    """A second view of one file system, bare of what is mounted in it (freebsd-fs, December 2021)."""
    found = mounted_at(host, os.path.normpath(names[0])) if len(names) == 2 else None
    if found is None or (found.tree == "root" and found.target != "/"):
        raise ctx.not_simulated("nullfs of anything but a mount point")
    if not os.path.isdir(names[1]):
        raise CommandError(f"mount_nullfs: {names[1]}: No such file or directory")
    number = new_fsid(host, NULLFS)
    host.mounts.append(Mount(found.target, os.path.normpath(names[1]), "nullfs", found.tree, read_only, fsid=number))


def _update(ctx: Context, cluster: Cluster, host: Host, name: str, read_only: bool) -> None:
    found = [entry for entry in host.mounts if name in (entry.target, entry.device)]
    if not found:
        raise CommandError(f"mount: not currently mounted {name}")
    if found[-1].fstype != "ufs":
        raise ctx.not_simulated(f"-u of {found[-1].fstype}")
    if found[-1].dead:
        raise ctx.not_simulated("an update of a mount whose medium is gone: the kernel may panic (ffs_mount, g_access)")
    found[-1].read_only = read_only


def umount(ctx: Context) -> int:
    """umount(8) with -f of a mount point or a device."""
    _, names = parse(ctx, "f")
    if not names:
        raise ctx.not_simulated()
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        for name in names:
            found = mounted_at(host, os.path.normpath(name)) or next(
                (entry for entry in host.mounts if entry.device == name), None
            )
            if found is None:
                if not os.path.exists(name):
                    raise CommandError(f"umount: {name}: statfs: No such file or directory")
                raise CommandError(f"umount: {name}: not a file system root directory")
            inner = found.target.rstrip("/") + "/"
            if (found.tree == "root" and found.fstype != "nullfs") or any(
                entry.target.startswith(inner) or below(host, entry) is found for entry in host.mounts
            ):
                raise CommandError(f"umount: unmount of {found.target} failed: Device busy")
            host.mounts.remove(found)
    return 0


def _words(entry: Mount) -> list[str]:
    """What is in the brackets behind the type: nothing tells whether a nullfs mount is exported (seen)."""
    words = ["NFS exported"] if "NFS exported" in entry.options and entry.fstype != "nullfs" else []
    if entry.fstype != "devfs":
        words.append("local")
    if entry.read_only:
        words.append("read-only")
    return words + [word for word in entry.options if word != "NFS exported"]


def _line(entry: Mount, *, verbose: bool = False) -> str:
    words = [entry.fstype, *_words(entry)]
    if verbose:
        words += [f"fsid {entry.fsid}", "vnodes: count 1 "]
    return f"{entry.device} on {entry.target} ({', '.join(words)})\n"


def _fstab_line(entry: Mount) -> str:
    def padded(text: str, width: int) -> str:
        # what fills its column is followed by a blank (sbin/mount/mount.c; recorded on 15.1)
        return text + ("\t" * -(-(width - len(text)) // 8) or " ")

    mode = "ro" if entry.read_only else "rw"
    if extra := [word for word in entry.options if word != "NFS exported"]:
        mode = ",".join([mode, *extra]) + " "
    passes = "0 0" if entry.fstype != "ufs" else "1 1" if entry.target == "/" else "2 2"
    return padded(entry.device, 24) + padded(entry.target, 24) + f"{entry.fstype}\t" + padded(mode, 16) + passes + "\n"
