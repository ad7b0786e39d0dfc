"""Boots, shutdowns and power cuts of a simulated FreeBSD host."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from lab import clock, disks, zfs
from lab.commands import sysctls
from lab.core import Host, LabError, Mount, Store
from lab.linux import boot as linux
from lab.mounts import fsid
from lab.net import model
from lab.rc.order import Script, read_header, sort
from lab.rc.scripts import processes

FOLDERS = ("etc/rc.d", "usr/local/etc/rc.d")
SINGLE_USER = ".lab/single-user"
IN_MEMORY = (
    *("modules", "sysctl", "sockets", "dmesg", "exports", "devd rules", "vm", "mount ids", "stopped", "v4 root"),
    *("grace", "systemd", "idle", "connection", "closed port", "tls"),
)
"""Parts of a host that a power cut takes with it."""
BOOT_SECONDS = 60.0
"""Virtual seconds from power-on to the first rc script; the observed machines took 40 to 75 s for a whole reboot."""


def scripts_of(store: Store, host: Host) -> list[Script]:
    """The host's rc.d scripts in boot order."""
    root = store.root(host.name)
    found = []
    for folder in FOLDERS:
        for file in sorted((root / folder).iterdir()):
            if file.stat().st_mode & 0o111:
                found.append(read_header("/" + str(file.relative_to(root)), file.read_text()))
    return sort(found)


def console(store: Store, host: str, text: str) -> None:
    """What the boot says: /var/log/console.log of the host."""
    with open(store.root(host) / "var/log/console.log", "a") as log:
        log.write(text)


def _is_barrier(text: str) -> bool:
    """Whether a script is there for the order only, so that it need not be run."""
    return [line for line in text.splitlines() if line and not line.startswith("#")] == ["exit 0"]


def _run(store: Store, host: Host, script: Script, verb: str) -> None:
    line = f"HOME=/ PATH=/sbin:/bin:/usr/sbin:/usr/bin; export HOME PATH; cd /; exec {script.path} {verb} 2>&1"
    done = clock.run(store, host.name, ["/bin/sh", "-c", line])
    console(store, host.name, done.stdout.decode())


def boot(store: Store, name: str) -> None:
    """Power on: /var/run is emptied, then the rc.d scripts start in their order.

    A script that finds no stick where fstab wants one ends it in single-user mode: no network, no services.

    :raises LabError: the host is up already
    """
    host = store.read().host(name)
    if host.up:
        raise LabError(f"{host.name} is up already")
    if host.platform == "rocky":
        linux.boot(store, name)
        return
    clock.advance(store, BOOT_SECONDS)
    with store.edit() as cluster:
        host = cluster.host(name)
        host.boot_time = cluster.now
        host.mounts = boot_mounts(host)
        processes(host).clear()
        disks.link_devices(store, cluster, host)
        host.parts["modules"] = [*sysctls.boot_modules(), *_loader_modules(store, host)]
        host.up = True
    root = store.root(host.name)
    for folder, _, files in os.walk(root / "var/run"):
        # rc.d/cleanvar (purgedir) removes files at any depth and keeps folders, as seen with /var/run/stunnel
        for file in files:
            Path(folder, file).unlink()
    shutil.rmtree(root / "dev/vmm", ignore_errors=True)
    (root / SINGLE_USER).unlink(missing_ok=True)
    for script in scripts_of(store, host):
        if _is_barrier((root / script.path[1:]).read_text()):
            continue
        _run(store, host, script, "faststart")
        if (root / SINGLE_USER).exists():
            console(store, host.name, "Enter full pathname of shell or RETURN for /bin/sh: \n")
            with store.edit() as cluster:
                cluster.host(name).up = False
                cluster.host(name).parts["single user"] = True
            return
    with store.edit() as cluster:
        cluster.host(name).parts.pop("single user", None)


def _loader_modules(store: Store, host: Host) -> list[str]:
    """What loader(8) loads with the kernel: NAME_load="YES" of loader.conf; a name without a module is skipped."""
    file = store.root(host.name) / "boot/loader.conf"
    text = file.read_text() if file.exists() else ""
    names = re.findall(r'^([a-z0-9_]+)_load="(?:YES|yes)"', text, re.MULTILINE)
    return [name for name in dict.fromkeys(names) if name in sysctls.MODULES and name not in sysctls.boot_modules()]


def boot_mounts(host: Host) -> list[Mount]:
    """What the kernel has mounted before rc runs."""
    number = fsid(host.name, 0xDE)
    root = Mount("zroot/ROOT/default", "/", "zfs", "root", options=("noatime", "nfsv4acls"), fsid=number)
    if host.parts["ufs root"]:
        root = Mount("/dev/ada0p2", "/", "ufs", "root", fsid=number)
    return [root, Mount("devfs", "/dev", "devfs", "root", fsid="00ff007171000000")]


def shutdown(store: Store, name: str) -> None:
    """shutdown -r: the scripts with KEYWORD: shutdown stop in reverse order, then the power goes."""
    host = store.read().host(name)
    if host.platform == "rocky":
        crash(store, name)  # what systemd stops in order loses nothing that the lab knows of
        return
    for script in reversed(scripts_of(store, host)):
        if "shutdown" in script.keyword:
            _run(store, host, script, "faststop")
    crash(store, name)


def crash(store: Store, name: str) -> None:
    """Power cut: processes, mounts, loaded keys and everything that was only in memory are gone.

    :raises LabError: the host is down already
    """
    with store.edit() as cluster:
        host = cluster.host(name)
        if not host.up and not host.parts.pop("single user", False):
            raise LabError(f"{host.name} is down already")
        model.hear(cluster)
        host.up, host.mounts = False, []
        processes(host).clear()
        zfs.power_off(cluster, host)
        for forget in IN_MEMORY:
            host.parts.pop(forget, None)
        clock.stop_programs(cluster, host.name)
        clock.cancel(cluster, lambda event: event.host != host.name)
        for interface in model.interfaces(host).values():
            interface.carps.clear()
            if not interface.name.startswith("lo"):
                interface.addresses.clear()
        model.settle(store, cluster)


def reboot(store: Store, name: str) -> None:
    """shutdown -r now."""
    shutdown(store, name)
    boot(store, name)
