"""Which program of a simulated host is played by which function: path -> ``module:function``.

A function takes a `lab.core.Context` and returns the exit status. ``FREEBSD`` and ``ROCKY`` are there from the
installation on, ``PACKAGES`` (platform, package) come with ``pkg install`` or ``dnf install``.
"""

from __future__ import annotations

from lab import tools

FREEBSD: dict[str, str] = {
    "/.lab/bin/meet": "lab.commands.unreadable:meet",
    "/bin/pgrep": "lab.commands.processes:pgrep",
    "/bin/pkill": "lab.commands.signals:pkill",
    "/bin/ps": "lab.commands.processes:ps",
    "/sbin/dmesg": "lab.commands.processes:dmesg",
    "/sbin/ifconfig": "lab.commands.ifconfig:main",
    "/usr/bin/fetch": "lab.zrepl.command:fetch",
    "/usr/bin/lockf": "lab.rc.programs:lockf",
    "/bin/kill": "lab.commands.signals:kill",
    "/sbin/rcorder": "lab.rc.order:rcorder",
    "/usr/bin/nfsstat": "lab.rc.nfs:nfsstat",
    "/usr/bin/showmount": "lab.rc.nfs:showmount",
    "/usr/bin/sockstat": "lab.commands.sockets:sockstat",
    "/usr/sbin/mountd": "lab.rc.nfs:mountd",
    "/usr/sbin/daemon": "lab.rc.programs:daemon",
    "/sbin/kldload": "lab.commands.system:kldload",
    "/sbin/sysctl": "lab.commands.system:sysctl",
    "/usr/bin/crontab": "lab.commands.system:crontab",
    "/usr/bin/logger": "lab.commands.system:logger",
    "/usr/sbin/ntpd": "lab.commands.base:ntpd",
    "/usr/sbin/pkg": "lab.commands.system:pkg",
    "/usr/sbin/sysrc": "lab.commands.system:sysrc",
    "/sbin/fsck_ffs": "lab.commands.disks:fsck",
    "/sbin/fsck_ufs": "lab.commands.disks:fsck",
    "/sbin/geom": "lab.commands.disks:geom",
    "/sbin/glabel": "lab.commands.disks:glabel",
    "/sbin/gpart": "lab.commands.disks:gpart",
    "/sbin/mount": "lab.commands.mounting:mount",
    "/sbin/newfs": "lab.commands.disks:newfs",
    "/sbin/umount": "lab.commands.mounting:umount",
    "/sbin/swapctl": "lab.commands.disks:swapctl",
    "/usr/sbin/zdb": "lab.commands.disks:zdb",
    "/usr/sbin/diskinfo": "lab.commands.disks:diskinfo",
    "/usr/sbin/fstyp": "lab.commands.disks:fstyp",
    "/bin/chflags": "lab.commands.files:chflags",
    "/bin/ls": "lab.commands.files:ls",
    "/usr/bin/chgrp": "lab.commands.files:chown",
    "/usr/bin/install": "lab.commands.files:install",
    "/usr/bin/stat": "lab.commands.files:stat",
    "/usr/bin/touch": "lab.commands.files:touch",
    "/usr/sbin/chown": "lab.commands.files:chown",
    "/bin/date": "lab.commands.base:date",
    "/bin/freebsd-version": "lab.commands.base:freebsd_version",
    "/bin/sleep": "lab.commands.base:sleep",
    "/sbin/zfs": "lab.zfs.zfs_cmd:main",
    "/sbin/zpool": "lab.zfs.zpool_cmd:main",
    "/usr/bin/uname": "lab.commands.base:uname",
}

ROCKY: dict[str, str] = {
    "/usr/bin/date": "lab.commands.base:date",
    "/usr/bin/dnf": "lab.linux.packages:dnf",
    "/usr/bin/journalctl": "lab.linux.journal:journalctl",
    "/usr/bin/logger": "lab.linux.journal:logger",
    "/usr/bin/mount": "lab.linux.mounting:mount",
    "/usr/bin/openssl": "lab.linux.openssl:main",
    "/usr/bin/python3": "lab.linux.python:main",
    "/usr/bin/rpm": "lab.linux.packages:rpm",
    "/usr/bin/sleep": "lab.linux.waiting:sleep",
    "/usr/bin/systemctl": "lab.linux.systemctl:main",
    "/usr/bin/umount": "lab.linux.mounting:umount",
    "/usr/bin/uname": "lab.commands.base:uname",
    "/usr/sbin/getenforce": "lab.linux.selinux:getenforce",
    "/usr/sbin/selinuxenabled": "lab.linux.selinux:selinuxenabled",
    "/usr/sbin/ss": "lab.linux.mounting:ss",
    **{f"/usr/bin/{name}": "lab.linux.files:main" for name in tools.ROCKY_WRAPPED},
    "/usr/bin/chown": "lab.linux.owners:chown",
    "/usr/bin/ls": "lab.linux.owners:ls",
    "/usr/bin/stat": "lab.linux.files:stat",
}
"""In /usr/bin and /usr/sbin, to which /bin and /sbin lead."""

PACKAGES: dict[tuple[str, str], dict[str, str]] = {
    ("freebsd", "stunnel"): {},
    ("rocky", "stunnel"): {"/usr/bin/stunnel": "lab.linux.tunnel:main"},
    ("rocky", "nfs-utils"): {
        "/usr/sbin/mount.nfs4": "lab.linux.mounting:mount_nfs",
        "/usr/sbin/nfsidmap": "lab.linux.mounting:nfsidmap",
    },
    ("rocky", "policycoreutils-python-utils"): {"/usr/sbin/semanage": "lab.linux.selinux:semanage"},
    ("freebsd", "zrepl"): {"/usr/local/bin/zrepl": "lab.zrepl.command:main"},
    ("freebsd", "vm-bhyve"): {"/usr/local/sbin/vm": "lab.commands.vm:main"},
}

PACKAGE_FOLDERS: dict[str, tuple[str, ...]] = {
    "stunnel": ("/usr/local/etc/stunnel",),
    "zrepl": ("/usr/local/etc/zrepl",),
}
"""Folders that a package makes."""


def played(path: str, platform: str) -> str | None:
    """The function that plays the program at that path on hosts of that platform; None if there is none."""
    if platform == "freebsd" and path.startswith(("/etc/rc.d/", "/usr/local/etc/rc.d/")):
        return "lab.rc.scripts:main"
    if platform == "rocky":
        path = path if path.startswith("/usr/") else f"/usr{path}"
    packages = (programs for (owner, _), programs in PACKAGES.items() if owner == platform)
    for table in (FREEBSD if platform == "freebsd" else ROCKY, *packages):
        if path in table:
            return table[path]
    return None
