"""Boots, shutdowns and power cuts of a simulated FreeBSD host."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab import clock, disks, zfs
from lab.core import Host, LabError, Mount, Store
from lab.linux import boot as linux
from lab.net import model
from lab.rc.scripts import processes

FOLDERS = ("etc/rc.d", "usr/local/etc/rc.d")
SINGLE_USER = ".lab/single-user"
BOOT_SECONDS = 60.0
"""Virtual seconds from power-on to the first rc script; the observed machines took 40 to 75 s for a whole reboot."""


@dataclass
class Script:
    """An rc.d script's header."""

    path: str
    provide: list[str] = field(default_factory=list)
    require: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    keyword: list[str] = field(default_factory=list)


def read_header(path: str, text: str) -> Script:
    """PROVIDE, REQUIRE, BEFORE and KEYWORD lines of a script, as rcorder(8) reads them."""
    script = Script(path)
    for word, values in re.findall(r"^# (PROVIDE|REQUIRE|BEFORE|KEYWORD)S?:[ \t]*(.*)$", text, re.MULTILINE):
        getattr(script, word.lower()).extend(values.split())
    return script


def rcorder(scripts: Iterable[Script]) -> list[Script]:
    """The scripts with each one behind what it requires; what nobody provides does not count.

    :raises LabError: the headers go in a circle (rcorder(8) only warns; a deploy should hear of it)
    """
    scripts = list(scripts)
    providers = {name: script for script in scripts for name in script.provide}
    needs: dict[str, list[str]] = {script.path: [] for script in scripts}
    for script in scripts:
        for name in script.before:
            if name in providers:
                needs[providers[name].path].append(script.path)
    for script in scripts:
        needs[script.path] += [providers[name].path for name in script.require if name in providers]
    by_path = {script.path: script for script in scripts}
    order: list[Script] = []
    state: dict[str, str] = {}

    def visit(path: str, trail: tuple[str, ...]) -> None:
        if state.get(path) == "done":
            return
        if path in trail:
            raise LabError(f"rcorder: a circle: {' -> '.join((*trail[trail.index(path) :], path))}")
        for needed in needs[path]:
            visit(needed, (*trail, path))
        state[path] = "done"
        order.append(by_path[path])

    for script in scripts:
        visit(script.path, ())
    return order


def scripts_of(store: Store, host: Host) -> list[Script]:
    """The host's rc.d scripts in boot order."""
    root = store.root(host.name)
    found = []
    for folder in FOLDERS:
        for file in sorted((root / folder).iterdir()):
            if file.stat().st_mode & 0o111:
                found.append(read_header("/" + str(file.relative_to(root)), file.read_text()))
    return rcorder(found)


def console(store: Store, host: str, text: str) -> None:
    """What the boot says: /var/log/console.log of the host."""
    with open(store.root(host) / "var/log/console.log", "a") as log:
        log.write(text)


def _run(store: Store, host: Host, script: Script, verb: str) -> None:
    line = f"HOME=/ PATH=/sbin:/bin:/usr/sbin:/usr/bin; export HOME PATH; cd /; exec {script.path} {verb} 2>&1"
    done = clock.run(store, host.name, ["/bin/sh", "-c", line], capture_output=True)
    console(store, host.name, done.stdout.decode())


def boot(store: Store, name: str) -> None:
    """Power on: /var/run is emptied, then the rc.d scripts start in their order.

    A script that finds no stick where fstab wants one ends it in single-user mode: no network, no services.

    :raises LabError: the host is up already
    """
    if store.read().host(name).platform == "rocky":
        linux.boot(store, name)
        return
    with store.edit() as cluster:
        host = cluster.host(name)
        if host.up:
            raise LabError(f"{host.name} is up already")
    clock.advance(store, BOOT_SECONDS)
    with store.edit() as cluster:
        host = cluster.host(name)
        host.boot_time = cluster.now
        host.mounts = boot_mounts(host)
        processes(host).clear()
        disks.link_devices(store, cluster, host)
        host.up = True
    root = store.root(host.name)
    for folder, _, files in os.walk(root / "var/run"):
        # rc.d/cleanvar (purgedir) removes files at any depth and keeps folders, as seen with /var/run/stunnel
        for file in files:
            Path(folder, file).unlink()
    shutil.rmtree(root / "dev/vmm", ignore_errors=True)
    (root / SINGLE_USER).unlink(missing_ok=True)
    for script in scripts_of(store, host):
        _run(store, host, script, "faststart")
        if (root / SINGLE_USER).exists():
            console(store, host.name, "Enter full pathname of shell or RETURN for /bin/sh: \n")
            with store.edit() as cluster:
                cluster.host(name).up = False
                cluster.host(name).parts["single user"] = True
            return
    with store.edit() as cluster:
        cluster.host(name).parts.pop("single user", None)


def boot_mounts(host: Host) -> list[Mount]:
    """What the kernel has mounted before rc runs."""
    root = Mount("zroot/ROOT/default", "/", "zfs", "root", options=("noatime", "nfsv4acls"))
    if host.parts["ufs root"]:
        root = Mount("/dev/ada0p2", "/", "ufs", "root")
    return [
        root,
        Mount("devfs", "/dev", "devfs", "root"),
    ]


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
    if store.read().host(name).platform == "rocky":
        linux.crash(store, name)
        return
    with store.edit() as cluster:
        host = cluster.host(name)
        if not host.up and not host.parts.pop("single user", False):
            raise LabError(f"{host.name} is down already")
        host.up = False
        host.mounts = []
        processes(host).clear()
        zfs.power_off(cluster, host)
        for forget in ("modules", "sysctl", "sockets", "dmesg", "exports", "devd rules", "vm"):
            host.parts.pop(forget, None)
        clock.stop_programs(cluster, host.name)
        clock.cancel(cluster, lambda event: event.host != host.name)
        for interface in model.interfaces(host).values():
            interface.carps.clear()
            if not interface.name.startswith("lo"):
                interface.addresses.clear()
        model.vanish(store, cluster, host)


def reboot(store: Store, name: str) -> None:
    """shutdown -r now."""
    shutdown(store, name)
    boot(store, name)
