"""What the installation of FreeBSD leaves on a new host."""

from __future__ import annotations

from lab import disks, rootfs
from lab.core import Cluster, Host, Mount, Store

ACCOUNTS = {"root": 0, "daemon": 1, "operator": 2, "stunnel": 341, "www": 80, "nobody": 65534}


def install(store: Store, cluster: Cluster, host: Host) -> None:
    """Accounts, host name and the links of /dev for the disks that are plugged in."""
    root = store.root(host.name)
    passwd = "".join(f"{n}:*:{u}:{u}:{n}:/:/usr/sbin/nologin\n" for n, u in ACCOUNTS.items())
    rootfs.write(root, "etc/passwd", passwd)
    rootfs.write(root, "etc/group", "wheel:*:0:root\noperator:*:5:root\nstunnel:*:341:\nnobody:*:65534:\n")
    rootfs.write(root, "etc/rc.conf", f'hostname="{host.name}"\n')
    rootfs.write(root, "etc/fstab", "# Device\tMountpoint\tFStype\tOptions\tDump\tPass#\n")
    rootfs.write(root, "etc/hosts", "::1\t\tlocalhost\n127.0.0.1\tlocalhost\n")
    disks.link_devices(store, cluster, host)
    host.mounts = [
        Mount("zroot/ROOT/default", "/", "zfs", "root", options=("noatime", "nfsv4acls")),
        Mount("devfs", "/dev", "devfs", "root"),
    ]
