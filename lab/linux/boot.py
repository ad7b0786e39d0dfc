"""Installation and boot of a Linux host."""

from __future__ import annotations

import shutil

from f3s.fstab import NFS_TYPES, entries, mount_unit
from lab import clock, rootfs
from lab.core import Cluster, Context, Event, Host, Store
from lab.linux import journal, nfs, units, view
from lab.net import model

BOOT_SECONDS = 30.0
"""Virtual seconds from power-on to systemd."""
THIN = "net.ipv4.tcp_thin_linear_timeouts"
"""The one kernel variable that the deploy sets."""
THIN_FILE = f"proc/sys/{THIN.replace('.', '/')}"
ACCOUNTS = {"root": 0, "bin": 1, "daemon": 2, "operator": 11, "nobody": 65534}


def install(store: Store, cluster: Cluster, host: Host) -> None:
    """What the installation of Rocky Linux leaves on a new host."""
    root = store.root(host.name)
    shells = "".join(f"{n}:x:{u}:{u}:{n}:/{n}:/bin/sh\n" for n, u in ACCOUNTS.items())
    rootfs.write(root, "etc/passwd", shells)
    rootfs.write(root, "etc/group", "".join(f"{n}:x:{u}:\n" for n, u in ACCOUNTS.items()))
    rootfs.write(root, "etc/hosts", "127.0.0.1   localhost localhost.localdomain\n::1         localhost\n")
    rootfs.write(root, "etc/os-release", 'NAME="Rocky Linux"\nID="rocky"\nVERSION_ID="9.5"\n')
    rootfs.write(root, "etc/fstab", "/dev/mapper/rl-root     /       xfs     defaults        0 0\n")
    rootfs.write(root, THIN_FILE, "0\n")
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    rootfs.link(root, "proc/self/mounts", str(view.TABLE))
    rootfs.link(root, "proc/self/mountinfo", str(view.INFO))
    rootfs.link(root, "proc/self/mountstats", str(view.STATS))
    host.parts["lan"] = {i.name: list(i.addresses) for i in model.interfaces(host).values()}
    host.mounts = view.base_mounts()
    units.reload(root, host)


def boot(store: Store, name: str) -> None:
    """Power on: /run is empty, what is enabled starts, the mounts of /etc/fstab are tried."""
    clock.advance(store, BOOT_SECONDS)
    with store.edit() as cluster:
        host = cluster.host(name)
        host.up, host.boot_time, host.mounts = True, cluster.now, view.base_mounts()
        root = store.root(host.name)
        for interface in model.interfaces(host).values():
            interface.addresses = list(host.parts["lan"][interface.name])
        for file in (root / "run").iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        kept = [line.replace(" ", "") for file in (root / "etc/sysctl.d").glob("*.conf") for line in file.open()]
        rootfs.write(root, THIN_FILE, "1\n" if f"{THIN}=1\n" in kept else "0\n")
        units.reload(root, host)
        wanted = _enabled(store, host)
        clock.schedule(cluster, 0, "linux boot", host.name, units=wanted)
    clock.tick(store, 0)


def _enabled(store: Store, host: Host) -> list[str]:
    """The units that multi-user.target and timers.target want, services before timers."""
    folder = store.root(host.name) / units.FOLDERS[0]
    return [
        link.name for target in ("multi-user", "timers") for link in sorted(folder.glob(f"{target}.target.wants/*"))
    ]


def sysctl(ctx: Context) -> int:
    """sysctl(8): -n NAME and NAME=VALUE, for the names that are in /proc/sys here."""
    option, _, word = " ".join(ctx.args).rpartition(" ")
    name, sign, value = word.partition("=")
    place = ctx.store.root(ctx.host_name) / "proc/sys" / name.replace(".", "/")
    if option != ("" if sign else "-n"):
        raise ctx.not_simulated()
    if not place.is_file():
        ctx.err(f"sysctl: cannot stat /proc/sys/{name.replace('.', '/')}: No such file or directory\n")
        return 1
    if sign:
        place.write_text(f"{value}\n")
    ctx.out(f"{name} = {value}\n" if sign else place.read_text())
    return 0


def start(store: Store, event: Event) -> None:
    """The host's init: services, then (as they are ordered after stunnel) the network mounts, then timers.

    Mounts are nofail: they hold nothing up, so each is tried on its own while the boot goes on.
    """
    host = store.read().hosts[event.host]
    names: list[str] = event.payload["units"]
    services = [name for name in names if not name.endswith(".timer")]
    timers = [name for name in names if name.endswith(".timer")]
    if services:
        _systemctl(store, host, ["start", *services])
    root = store.root(host.name)
    with store.edit() as cluster:
        for each in entries((root / units.FSTAB).read_text()):
            if each.fstype in NFS_TYPES and "noauto" not in each.options:
                clock.schedule(cluster, 0, "linux mount", host.name, point=each.mountpoint, options=each.options)
    if timers:
        _systemctl(store, host, ["start", *timers])


def _systemctl(store: Store, host: Host, words: list[str]) -> None:
    done = clock.run(store, host.name, ["/usr/bin/systemctl", *words])
    if done.stderr:
        journal.write(store, host.name, "systemd", 3, done.stderr.decode())


def mount(store: Store, event: Event) -> None:
    """A mount unit at boot: bounded by x-systemd.mount-timeout, or systemd's 90 s."""
    options = dict(word.partition("=")[::2] for word in event.payload["options"])
    limit = units.seconds(options.get("x-systemd.mount-timeout", "90"))
    point = event.payload["point"]
    line = ["/usr/bin/timeout", str(int(limit)), "/usr/bin/mount", "--", point]
    done = clock.run(store, event.host, line)
    if done.returncode:
        text = done.stderr.decode() or "Mounting timed out. Terminating."
        unit = mount_unit(point)
        journal.write(store, event.host, "systemd", 3, f"{unit}: {text}Failed to mount {point}.", unit)


def status(store: Store, cluster: Cluster, host: Host) -> list[str]:
    """A few words for `lab status`: each share and how it answers."""
    nfs.refresh(store, cluster, host)
    words = []
    for entry in nfs.mounts(host):
        state = f"{entry.condition}, read-only" if entry.condition == nfs.FINE and entry.read_only else entry.condition
        words.append(f"{entry.device} on {entry.target} from {entry.server.partition('.')[0]}: {state}")
    return words
