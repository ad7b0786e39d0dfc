"""What the installation of FreeBSD leaves on a new host."""

from __future__ import annotations

from pathlib import Path

from lab import disks, rootfs
from lab.core import Cluster, Host, Store
from lab.net import model
from lab.rc import boot, cron, scripts, table

ACCOUNTS = {"root": 0, "daemon": 1, "operator": 2, "stunnel": 341, "www": 80, "nobody": 65534}


def install(store: Store, cluster: Cluster, host: Host) -> None:
    """Accounts, host name and the links of /dev for the disks that are plugged in."""
    root = store.root(host.name)
    passwd = "".join(f"{n}:*:{u}:{u}:{n}:/:/usr/sbin/nologin\n" for n, u in ACCOUNTS.items())
    rootfs.write(root, "etc/passwd", passwd)
    rootfs.write(root, "etc/group", "wheel:*:0:root\noperator:*:5:root\nstunnel:*:341:\nnobody:*:65534:\n")
    lines = [f'hostname="{host.name}"', 'zfs_enable="YES"', 'sshd_enable="YES"']
    for interface in model.interfaces(host).values():
        for address, length, _ in interface.addresses if interface.ether else ():
            lines.append(f'ifconfig_{interface.name}="inet {address}/{length}"')
    rootfs.write(root, "etc/rc.conf", "".join(f"{line}\n" for line in lines))
    rootfs.write(root, "etc/fstab", "# Device\tMountpoint\tFStype\tOptions\tDump\tPass#\n")
    rootfs.write(root, "etc/hosts", "::1\t\tlocalhost\n127.0.0.1\tlocalhost\n")
    disks.link_devices(store, cluster, host)
    host.mounts = boot.boot_mounts()
    files = Path(__file__).with_name("rootfiles")
    rootfs.write(root, "etc/rc.subr", (files / "rc.subr").read_text())
    rootfs.write(root, "etc/defaults/rc.conf", (files / "rc.conf.defaults").read_text())
    rootfs.write(root, "etc/defaults/periodic.conf", (files / "periodic.conf.defaults").read_text())
    rootfs.write(root, "usr/sbin/service", (files / "service").read_text(), 0o755)
    for script in (files / "rc.d").iterdir():
        rootfs.write(root, f"etc/rc.d/{script.name}", script.read_text(), 0o755)
    for service in table.BASE:
        rootfs.write(root, service.path, f"#!/.lab/bin/play\n{service.header}", 0o755)
    processes = scripts.processes(host)
    for name in ("devd", "syslogd", "sshd", "cron"):
        processes[name] = scripts.new_pids(host, 1)
    cron.arm(cluster, host)
