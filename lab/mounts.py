"""Makes the mount namespace of a process follow its host's mount table (Linux bind mounts, through libc)."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from lab.core import INSIDE, Host, Mount, part

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
SYS_PIDFD_GETFD = 438
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 0x1
APPLIED = INSIDE / "ns" / "mounts.json"

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, what: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {what}: {os.strerror(number)}")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2).

    :raises OSError: with the call and its arguments
    """
    args = (_bytes(source), _bytes(target), _bytes(fstype), ctypes.c_ulong(flags), _bytes(data))
    _call("mount", f"{source} on {target}", *args)


def bind(source: str, target: str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Makes a folder or file visible at another place."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))
    if read_only and recursive:
        _protect(target)
    elif read_only:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def _protect(target: str) -> None:
    """mount_setattr(2) (Linux 5.12): a whole tree of mounts becomes read-only; a remount is for one mount alone."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    number, flags = ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.c_uint(AT_RECURSIVE)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _call("syscall", f"mount_setattr {target}", number, AT_FDCWD, target.encode(), flags, attributes, size)


def unmount(target: str) -> None:
    """Takes away what is on top there, even if it is in use."""
    _call("umount2", target, target.encode(), MNT_DETACH)


def unshare(flags: int) -> None:
    """unshare(2); Python has it since 3.12 only."""
    _call("unshare", hex(flags), flags)


def die_with_parent(parent: int) -> None:
    """prctl(PR_SET_PDEATHSIG): this process is killed when the one that forked it ends."""
    _call("prctl", "PR_SET_PDEATHSIG", 1, signal.SIGKILL)
    if os.getppid() not in (0, parent):  # 0: the parent is outside of this process namespace
        os._exit(137)


def descriptor_of(process: int, number: int) -> int:
    """pidfd_getfd(2) (Linux 5.6): another process's file descriptor as one of this process; /dev/null if it is closed.

    :param process: from pidfd_open(2)
    """
    taken: int = _libc.syscall(ctypes.c_long(SYS_PIDFD_GETFD), process, number, ctypes.c_uint(0))
    if taken >= 0:
        return taken
    if (problem := ctypes.get_errno()) != errno.EBADF:
        raise OSError(problem, f"pidfd_getfd: {os.strerror(problem)}")
    return os.open(os.devnull, os.O_RDWR)


def fsid(what: str, kind: int) -> str:
    """A number of the form that ``mount -v`` shows, for a file system that brings its own.

    :param kind: of the file system, where ZFS has it (zfs_vfsops.c)
    """
    digits = hashlib.sha256(what.encode()).hexdigest()
    return f"{digits[:8]}{kind:02x}{digits[8:14]}"


def new_fsid(host: Host, kind: int) -> str:
    """A number of the kernel's counter, which skips what is in use (vfs_getnewfsid in sys/kern/vfs_subr.c).

    :param kind: of the file system (vfc_typenum)
    """
    counter = part(host, "mount ids", lambda: [1])  # devfs has taken 0
    used = {entry.fsid for entry in host.mounts}
    while True:
        number = counter[0]
        counter[0] = (number + 1) % 0x10000
        text = f"{number & 0xFF:02x}ff{number >> 8:02x}{kind:02x}{kind:02x}000000"
        if text not in used:
            return text


KEEPS_READ_ONLY = "keeps read-only"
"""A part of a host that is as 13.2, not as 15.1: nullfs shows read-only of the file system below, and what mountd
exports then stays read-only (seen)."""


def below(host: Host, entry: Mount) -> Mount | None:
    """The file system that a nullfs mount shows; None for another mount."""
    if entry.fstype != "nullfs":
        return None
    earlier = host.mounts[: host.mounts.index(entry)]
    return next(m for m in reversed(earlier) if (m.target, m.tree) == (entry.device, entry.tree))


def is_read_only(host: Host, entry: Mount) -> bool:
    """Whether writes through a mount fail, because of itself or of the file system below."""
    lower = below(host, entry)
    return entry.read_only or (lower is not None and is_read_only(host, lower))


def wanted(host: Host) -> list[list[str]]:
    """The bind mounts that show the host's mount table, oldest first: [target, folder, "ro" or "rw"].

    A directory with the schg flag refuses new entries, so it is bound read-only on top of itself, below whatever is
    mounted there later.
    """
    binds: list[list[str]] = []
    root = Mount("", "/", "", "root")
    apart = [entry for entry in host.mounts if entry.tree != "root" or entry.fstype == "nullfs"]
    for entry in [root, *(entry for entry in apart if not entry.dead)]:
        tree, target = entry.tree, entry.target
        if entry is not root:
            folder = f"hosts/{host.name}/root" if tree == "root" else tree
            binds.append([target, str(INSIDE / "state" / folder), "ro" if is_read_only(host, entry) else "rw"])
        for flagged_tree, path in host.immutable:
            if flagged_tree == tree:
                place = os.path.join(target, path)
                binds.append([place, place, "ro"])
    return binds


def sync(host: Host) -> None:
    """Applies the difference between the namespace and the host's mount table.

    A program that sleeps handles what is due on other hosts, too: their mounts are none of this namespace's.
    """
    if (INSIDE / "host").read_text().strip() != host.name:
        return

    def show(target: str, source: str, mode: str) -> None:
        if not Path(target).exists():
            os.makedirs(target)
        bind(source, target, read_only=mode == "ro")

    follow(APPLIED, wanted(host), show)


def follow(record: Path, want: list[list[str]], show: Callable[[str, str, str], None]) -> None:
    """Takes away from the first mount on that is another one than before, and shows the rest.

    :param record: what is there is kept in it
    """
    have: list[list[str]] = json.loads(record.read_text()) if record.exists() else []
    keep = 0
    while keep < min(len(want), len(have)) and want[keep] == have[keep]:
        keep += 1
    for target, _, _ in reversed(have[keep:]):
        unmount(target)
    for each in want[keep:]:
        show(*each)
    if want != have:
        record.write_text(json.dumps(want))


def locate(host: Host, path: str) -> tuple[str, str]:
    """Where a host's absolute path is kept: (tree, path in the tree); the newest mount that covers it counts."""
    path = os.path.normpath(path)
    for entry in reversed(host.mounts):
        if entry.fstype == "devfs" or entry.dead:
            continue
        if path == entry.target or path.startswith(entry.target.rstrip("/") + "/"):
            return entry.tree, os.path.relpath(path, entry.target)
    return "root", os.path.relpath(path, "/")


def mounted_at(host: Host, target: str) -> Mount | None:
    """The newest mount on exactly that directory."""
    found = [entry for entry in host.mounts if entry.target == target]
    return found[-1] if found else None
