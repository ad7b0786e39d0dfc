"""Makes a Linux host's namespace show its mounts as they are (contents, stale, dead), and the kernel's table."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

from f3s.fstab import escape
from lab import mounts
from lab.core import INSIDE, Cluster, Host, Mount, Store
from lab.linux import nfs

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
NS = INSIDE / "ns"
FOREIGN = 1
"""All trees of the lab are on one file system of the machine: the device of a mount has a number higher by so much."""
TABLE = NS / "mounts"
"""What /proc/self/mounts leads to."""
INFO = NS / "mountinfo"
"""What /proc/self/mountinfo leads to."""
STATS = NS / "mountstats"
"""What /proc/self/mountstats leads to. Data never flows beside a call that hangs: no line is slow here."""
ANY, SICK = NS / "nfs", NS / "sick"
"""There while something is mounted by NFS, and while an access to such a mount would not simply work: the wrapped
programs (lab/wrappers/rocky) look at them."""


def table_line(entry: Mount) -> str:
    """A line of /proc/self/mounts (proc(5)); the options of all but NFS are what such a system shows."""
    return " ".join([escape(entry.device), escape(entry.target), entry.fstype, _options(entry), "0 0"]) + "\n"


def info_line(number: int, entry: Mount) -> str:
    """A line of /proc/self/mountinfo (proc(5)), with what a fresh system gives as IDs: the lowest that is free."""
    root = 22  # its ID on such a system
    parent = 1 if number == 0 else root
    device = f"0:{root + number}"
    if isinstance(entry, nfs.NfsMount):
        own = os.stat(INSIDE / "state").st_dev + FOREIGN
        device = f"{os.major(own)}:{os.minor(own)}"
    first = [str(root + number), str(parent), device, "/", escape(entry.target), _options(entry)]
    return " ".join([*first, "shared:1", "-", entry.fstype, escape(entry.device), _options(entry)]) + "\n"


def stats_lines(entry: Mount) -> str:
    """The lines of a mount in /proc/self/mountstats (nfs_show_stats in fs/nfs/super.c), those that are read."""
    head = f"device {escape(entry.device)} mounted on {escape(entry.target)} with fstype {entry.fstype}"
    if entry.fstype != "nfs4":
        return f"{head}\n"
    return f"{head} statvers=1.1\n\topts:\t{_options(entry)},local_lock=none\n\tbytes:\t0 0 0 0 0 0 0 0 \n"


def _options(entry: Mount) -> str:
    mode = () if set(entry.options) & {"rw", "ro"} else ("ro" if entry.read_only else "rw",)
    return ",".join([*mode, *entry.options])


def base_mounts() -> list[Mount]:
    """What is mounted once the local file systems are."""
    return [
        Mount("/dev/mapper/rl-root", "/", "xfs", "root", options=("rw", "seclabel", "relatime", "attr2", "inode64")),
        Mount("proc", "/proc", "proc", "root", options=("rw", "nosuid", "nodev", "noexec", "relatime")),
        Mount("tmpfs", "/run", "tmpfs", "root", options=("rw", "seclabel", "nosuid", "nodev", "size=1555152k")),
    ]


def follow(store: Store, cluster: Cluster, host: Host) -> None:
    """Brings this process's namespace up to date; nothing but what changed is touched.

    A mount that does not answer shows an empty file system that takes no file: for the programs that are not wrapped,
    a shell's redirection among them, an access fails there, and not as on a read-only server.
    """
    nfs.refresh(store, cluster, host)
    _binds(host)
    TABLE.write_text("".join(table_line(entry) for entry in host.mounts))
    INFO.write_text("".join(info_line(number, entry) for number, entry in enumerate(host.mounts)))
    STATS.write_text("".join(map(stats_lines, host.mounts)))
    found = nfs.mounts(host)
    for flag, up in ((ANY, bool(found)), (SICK, any(entry.condition != nfs.FINE for entry in found))):
        if up:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)


def loopback_up() -> None:
    """Switches on lo in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def _binds(host: Host) -> None:
    # an immutable folder takes no new files; it may get a mount all the same
    want = [[f"/{path}", str(Path("/", path)), "ro"] for _, path in host.immutable]
    for entry in nfs.mounts(host):
        tree = str(INSIDE / "state" / entry.tree) if entry.condition in (nfs.FINE, nfs.GRACE) else ""
        want.append([entry.target, tree, "ro" if entry.read_only or entry.condition == nfs.GRACE else "rw"])

    def show(target: str, tree: str, mode: str) -> None:
        if tree:
            mounts.bind(tree, target, read_only=mode == "ro")
        else:
            # a file system with no inode to spare: it cannot be written, and what was in it is not there
            mounts.mount("lab", target, "tmpfs", data="nr_inodes=1,mode=755")

    mounts.follow(NS / "nfs.json", want, show)


def covering(host: Host, path: str) -> nfs.NfsMount | None:
    """The NFS mount that an absolute path is in, None where it is in none."""
    inside = [m for m in nfs.mounts(host) if f"{path}/".startswith(m.target.rstrip("/") + "/")]
    return inside[-1] if inside else None


def absolute(path: str) -> str:
    """An operand as an absolute path, without asking the file system."""
    return os.path.normpath(Path(os.getcwd(), path))
