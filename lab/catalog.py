"""The one place that knows all parts of the lab, and gives their functions to the modules that call them.

``FREEBSD`` and ``ROCKY`` say which function plays a program that is there from the installation on; what is in
``PACKAGES`` (platform, package) comes with ``pkg install`` or ``dnf install``. At the end the functions are registered:
modules below this one have tables for them, and import no part. A process that needs one and has not imported this
module fails with a KeyError.
"""

from __future__ import annotations

from lab import clock, core, mounts, rootfs, tools
from lab.commands import (
    base,
    disks,
    files,
    ifconfig,
    mounting,
    netcat,
    processes,
    signals,
    sockets,
    system,
    unreadable,
    vm,
)
from lab.core import Cluster, Host, Program, Store
from lab.linux import (
    boot,
    firewall,
    journal,
    openssl,
    packages,
    python,
    selinux,
    systemctl,
    systemd,
    tunnel,
    view,
    waiting,
)
from lab.linux import files as linux_files
from lab.linux import mounting as linux_mounting
from lab.net import model
from lab.rc import cron, devd, nfs, order, programs, scripts, stunnel, table
from lab.rc.table import Actions
from lab.zfs import zfs_cmd, zpool_cmd
from lab.zrepl import command as zrepl
from lab.zrepl import daemon

FREEBSD: dict[str, Program] = {
    "/.lab/bin/meet": unreadable.meet,
    "/.lab/bin/openssl": openssl.plain_client,
    "/bin/pgrep": processes.pgrep,
    "/bin/pkill": signals.pkill,
    "/bin/ps": processes.ps,
    "/sbin/dmesg": processes.dmesg,
    "/sbin/ifconfig": ifconfig.main,
    "/sbin/ping": processes.ping,
    "/usr/bin/lockf": programs.lockf,
    "/usr/bin/nc": netcat.nc,
    "/bin/kill": signals.kill,
    "/sbin/rcorder": order.rcorder,
    "/usr/bin/showmount": nfs.showmount,
    "/usr/bin/sockstat": sockets.sockstat,
    "/usr/bin/netstat": sockets.netstat,
    "/usr/sbin/tcpdrop": sockets.tcpdrop,
    "/sbin/pfctl": sockets.pfctl,
    "/usr/sbin/daemon": programs.daemon,
    "/sbin/kldload": system.kldload,
    "/sbin/sysctl": system.sysctl,
    "/usr/bin/crontab": system.crontab,
    "/usr/bin/logger": system.logger,
    "/usr/sbin/ntpd": base.ntpd,
    "/usr/sbin/pkg": system.pkg,
    "/usr/sbin/sysrc": system.sysrc,
    "/sbin/fsck_ufs": disks.fsck,
    "/sbin/geom": disks.geom,
    "/sbin/glabel": disks.glabel,
    "/sbin/gpart": disks.gpart,
    "/sbin/mount": mounting.mount,
    "/sbin/mount_nullfs": mounting.mount_nullfs,
    "/sbin/newfs": disks.newfs,
    "/sbin/tunefs": disks.tunefs,
    "/sbin/umount": mounting.umount,
    "/sbin/swapctl": disks.swapctl,
    "/usr/sbin/zdb": disks.zdb,
    "/usr/sbin/diskinfo": disks.diskinfo,
    "/usr/sbin/fstyp": disks.fstyp,
    "/bin/chflags": files.chflags,
    "/bin/ls": files.ls,
    "/usr/bin/install": files.install,
    "/usr/bin/stat": files.stat,
    "/usr/bin/touch": files.touch,
    "/usr/sbin/chown": files.chown,
    "/bin/date": base.date,
    "/bin/sleep": base.sleep,
    "/sbin/zfs": zfs_cmd.main,
    "/sbin/zpool": zpool_cmd.main,
    "/usr/bin/uname": base.uname,
}

ROCKY: dict[str, Program] = {
    "/usr/bin/chattr": linux_mounting.chattr,
    "/usr/bin/date": base.date,
    "/usr/bin/dnf": packages.dnf,
    "/usr/bin/journalctl": journal.journalctl,
    "/usr/bin/logger": journal.logger,
    "/usr/bin/mount": linux_mounting.mount,
    "/usr/bin/openssl": openssl.main,
    "/usr/bin/pgrep": processes.pgrep,
    "/usr/bin/python3": python.main,
    "/usr/bin/rpm": packages.rpm,
    "/usr/bin/sleep": waiting.sleep,
    "/usr/bin/systemctl": systemctl.main,
    "/usr/bin/umount": linux_mounting.umount,
    "/usr/bin/uname": base.uname,
    "/usr/sbin/ip": linux_mounting.ip,
    "/usr/sbin/getenforce": selinux.getenforce,
    "/usr/sbin/runuser": firewall.runuser,
    "/usr/sbin/selinuxenabled": selinux.selinuxenabled,
    "/usr/sbin/sysctl": boot.sysctl,
    **{f"/usr/bin/{name}": linux_files.main for name in tools.ROCKY_WRAPPED},
    **{f"/usr/bin/{name}": linux_files.asks_more for name in ("chown", "ls", "stat")},
}
"""In /usr/bin and /usr/sbin, to which /bin and /sbin lead."""

PACKAGES: dict[tuple[str, str], dict[str, Program]] = {
    ("freebsd", "stunnel"): {},
    ("rocky", "stunnel"): {"/usr/bin/stunnel": tunnel.main},
    ("rocky", "nfs-utils"): {"/usr/sbin/mount.nfs4": linux_mounting.mount_nfs},
    ("rocky", "nftables"): {"/usr/sbin/nft": firewall.nft},
    ("rocky", "policycoreutils-python-utils"): {"/usr/sbin/semanage": selinux.semanage},
    ("freebsd", "zrepl"): {"/usr/local/bin/zrepl": zrepl.main},
    ("freebsd", "vm-bhyve"): {"/usr/local/sbin/vm": vm.main},
}

rootfs.PROGRAMS.update({"freebsd": FREEBSD, "rocky": ROCKY})
rootfs.PACKAGES.update(PACKAGES)

clock.HANDLERS.update(
    {
        "carp timer": model.timer,
        "cron minute": cron.minute,
        "devd": devd.notify,
        "linux boot": boot.start,
        "linux mount": boot.mount,
        "program": programs.run,
        "systemd timer": systemd.timer,
        "zrepl replicate": daemon.replicate_and_prune,
        "zrepl snapshot": daemon.snapshot,
        "vm off": vm.power_off,
    }
)

table.ACTIONS.update(
    {
        "cron": Actions(cron.start),
        "devd": Actions(devd.start),
        "mountd": Actions(nfs.export, hangup=nfs.read_again),
        "nfsd": Actions(nfs.serve),
        "nfsuserd": Actions(nfs.map_owners),
        "rpcbind": Actions(),
        "sshd": Actions(),
        "stunnel": Actions(stunnel.start, stunnel.stop, stunnel.reload),
        "syslogd": Actions(),
        "vm": Actions(vm.boot, vm.shut_down),
        "zrepl": Actions(daemon.start, daemon.stop, started=daemon.plan_beats),
    }
)


def _follow_freebsd(_store: Store, _cluster: Cluster, host: Host) -> None:
    mounts.sync(host)


def _follow_rocky(store: Store, cluster: Cluster, host: Host) -> None:
    view.follow(store, cluster, host)
    tunnel.listen(host)


core.FOLLOW.update({"freebsd": _follow_freebsd, "rocky": _follow_rocky})


def played(path: str, platform: str) -> Program | None:
    """The function that plays the program at that path on hosts of that platform; None if there is none."""
    if platform == "freebsd" and path.startswith(("/etc/rc.d/", "/usr/local/etc/rc.d/")):
        return scripts.main
    if platform == "rocky":
        path = path if path.startswith("/usr/") else f"/usr{path}"
    packages = (programs for (owner, _), programs in PACKAGES.items() if owner == platform)
    for known in (FREEBSD if platform == "freebsd" else ROCKY, *packages):
        if path in known:
            return known[path]
    return None
