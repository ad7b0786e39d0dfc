"""What the installation of FreeBSD leaves on a new host."""

from __future__ import annotations

from pathlib import Path

from lab import disks, rootfs
from lab.core import Cluster, Host, Store
from lab.net import model
from lab.rc import boot, cron, scripts, table
from lab.zfs import mounting, pools
from lab.zfs.model import Node

BOOT_POOL_SECTOR = 4195368
"""Where ada0p3 begins, behind the boot code and 2 GiB of swap."""
ACCOUNTS = {"root": 0, "daemon": 1, "operator": 2, "stunnel": 341, "www": 80, "nobody": 65534}


def install(store: Store, cluster: Cluster, host: Host) -> None:
    """Accounts, host name and the links of /dev for the disks that are plugged in."""
    root = store.root(host.name)
    passwd = "".join(f"{n}:*:{u}:{u}:{n}:/:/usr/sbin/nologin\n" for n, u in ACCOUNTS.items())
    rootfs.write(root, "etc/passwd", passwd)
    rootfs.write(root, "etc/group", "wheel:*:0:root\noperator:*:5:root\nstunnel:*:341:\nnobody:*:65534:\n")
    lines = [f'hostname="{host.name}"', 'sshd_enable="YES"']
    if not host.parts["ufs root"]:
        lines.append('zfs_enable="YES"')  # usr.sbin/bsdinstall/scripts/zfsboot; an installation on UFS leaves it out
    for interface in model.interfaces(host).values():
        for address, length, _ in interface.addresses if interface.ether else ():
            lines.append(f'ifconfig_{interface.name}="inet {address}/{length}"')
    rootfs.write(root, "etc/rc.conf", "".join(f"{line}\n" for line in lines))
    rootfs.write(root, "etc/fstab", "# Device\tMountpoint\tFStype\tOptions\tDump\tPass#\n")
    rootfs.write(root, "etc/sysctl.conf", "#\n#  This file is read when going to multi-user.\n#\n")
    rootfs.write(root, "etc/hosts", "::1\t\tlocalhost\n127.0.0.1\tlocalhost\n")
    disks.link_devices(store, cluster, host)
    host.mounts = boot.boot_mounts(host)
    _boot_pool(store, cluster, host)
    files = Path(__file__).with_name("rootfiles")
    rootfs.write(root, "etc/rc.subr", (files / "rc.subr").read_text())
    rootfs.write(root, "etc/defaults/rc.conf", (files / "rc.conf.defaults").read_text())
    rootfs.write(root, "etc/defaults/periodic.conf", (files / "periodic.conf.defaults").read_text())
    rootfs.write(root, "usr/sbin/service", (files / "service").read_text(), 0o755)
    for script in (files / "rc.d").iterdir():
        rootfs.write(root, f"etc/rc.d/{script.name}", script.read_text(), 0o755)
    # scripts that are there for the order only, as others name them (freebsd-src, libexec/rc/rc.d)
    for line in (files / "rc.order").read_text().splitlines():
        name, *header = line.split(" | ")
        comments = "".join(f"# {each}\n" for each in header)
        rootfs.write(root, f"etc/rc.d/{name}", f"#!/bin/sh\n{comments}exit 0\n", 0o755)
    for service in table.BASE:
        rootfs.write(root, service.path, f"#!/.lab/bin/play\n{service.header}", 0o755)
    processes = scripts.processes(host)
    for name in ("devd", "syslogd", "sshd", "cron"):
        processes[name] = scripts.new_pids(host, 1)
        rootfs.write(root, next(s.pid_file for s in table.BASE if s.name == name), str(processes[name][0]))
    cron.arm(cluster, host)


def _boot_pool(store: Store, cluster: Cluster, host: Host) -> None:
    """zroot on ada0p3, as bsdinstall partitions the first disk (see gpart in lab.commands.disks)."""
    if "ada0" not in host.slots or host.parts["ufs root"]:
        return
    disk = cluster.disks[host.slots["ada0"]]
    if not disks.has_gpt(store, disk):
        disks.make_gpt(store, disk)
    start = BOOT_POOL_SECTOR * 512
    node = Node(store, cluster, host)
    mounting.mount_pool(node, pools.install_boot_pool(node, "ada0p3", disk.id, start, disk.size - start - disks.MIB))
