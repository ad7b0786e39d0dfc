"""The mounts of the clients: there, answering, and writable while the primary serves."""

from __future__ import annotations

from collections.abc import Iterator

from f3s.fstab import NFS_TYPES, mounted_at
from f3s.monitor import PROGRAM, TOO_OLD, MountState
from f3s.mount_options import mount_options, not_in_force
from f3s.settings import HostSettings, Mount
from f3s.stunnel import PORT_UNIT
from f3s.verify.model import ClusterView, Row, judged, right, unknown, wrong
from f3s.verify.serving import masters
from f3s.verify.storage import ASK_AGAIN, RUN

# with its whole path: /usr/local/bin is not in sudo's secure_path on Enterprise Linux
MONITOR = f"sudo {PROGRAM} --once"
CHECK_NOW = f"sudo systemctl start nfs-mount-monitor.timer; {MONITOR}"


def client_rows(cluster: ClusterView) -> Iterator[Row]:
    """Rows for the mounts of each client that was reached, for their options, and for the tunnel's port."""
    for host in cluster.site.clients:
        if host.name in cluster.hosts:
            for wanted in host.client.mounts:
                yield mount(cluster, host, wanted)
                yield below(cluster, host, wanted)
            yield from options(cluster, host)
            if host.client.tunnel_root_only:
                yield tunnel_port(cluster, host)


def mount(cluster: ClusterView, host: HostSettings, wanted: Mount) -> Row:
    """The kernel has the mount, and the monitor recently read and wrote there.

    A read-only server is healthy for the monitor; here it is right only while the standby serves.
    """
    check = f"mount {wanted.mountpoint}"
    view = cluster.of(host)
    if view.linux_mounts is None:
        return unknown(check, host.name, "the mounts could not be listed", ASK_AGAIN)
    there = mounted_at(view.linux_mounts, wanted.mountpoint)
    if there is None or there.fstype not in NFS_TYPES:
        what = f"{there.source} is mounted there" if there else "nothing is mounted there"
        return wrong(check, host.name, what, f"{MONITOR}; then {RUN.format('clients')}")
    if view.mount_states is None:
        return unknown(check, host.name, "mounted, but the monitor does not answer", RUN.format("clients"))
    seen = _state(cluster, host, wanted)
    if seen is None:
        return wrong(check, host.name, "the monitor does not know this mount", RUN.format("clients"))
    if seen.age is None:
        return unknown(check, host.name, "mounted, but not checked yet", CHECK_NOW)
    if seen.age > TOO_OLD:
        return unknown(check, host.name, f"mounted, but the last check is {seen.age} s old", CHECK_NOW)
    if seen.state in ("healthy", "slow"):
        how = "writable" if seen.state == "healthy" else "busy with data over a slow line"
        return right(check, host.name, f"mounted and {how}, checked {seen.age} s ago")
    detail = f" ({seen.detail})" if seen.detail else ""
    if seen.state != "readonly":
        reason = f"{seen.state}{detail}, {seen.failures} failed checks in a row"
        return wrong(check, host.name, reason, "sudo journalctl -t check-nfs-mount; docs/runbook.md, client stuck")
    serving = masters(cluster)
    if len(serving) != 1:
        return unknown(check, host.name, "read-only, and it is not known who serves", "see the row one MASTER")
    if serving[0].is_standby:
        return right(check, host.name, f"mounted, read-only while {serving[0].short_name} serves")
    look = f"doas zfs get readonly {cluster.site.primary.nfs.dataset}"
    return wrong(check, host.name, "read-only although the primary serves", look)


def below(cluster: ClusterView, host: HostSettings, wanted: Mount) -> Row:
    """The directory below the mount takes no files, and none lie there: they are on the client's own disk."""
    check, point = f"below {wanted.mountpoint}", wanted.mountpoint
    seen = _state(cluster, host, wanted)
    if seen is None or seen.age is None:
        return unknown(check, host.name, "the monitor has not looked at it yet", CHECK_NOW)
    parent, _, name = point.rpartition("/")
    reach = f"sudo unshare -m sh -c 'mount --bind {parent or '/'} /mnt && {{}}'"
    if not seen.immutable:
        why = f"the bare directory takes files: {', '.join(seen.below) or 'not known why'}"
        return wrong(check, host.name, why, f"{reach.format(f'chattr +i /mnt/{name}')}; {MONITOR}")
    if seen.below:
        return wrong(
            check,
            host.name,
            f"files of this host, which nobody sees while it is mounted: {', '.join(seen.below)}",
            f"look at them: {reach.format(f'ls -la /mnt/{name}')}; docs/runbook.md, files below a mount",
        )
    return right(check, host.name, "empty, and takes no files")


def tunnel_port(cluster: ClusterView, host: HostSettings) -> Row:
    """Only root reaches the local end of the tunnel: another user tried it."""
    check, seen = "tunnel port", cluster.of(host).port_is_open
    if seen is None:
        return unknown(check, host.name, "it could not be tried as another user", ASK_AGAIN)
    if seen:
        again = f"sudo systemctl restart {PORT_UNIT}; if it is not there, {RUN.format('clients')}"
        return wrong(check, host.name, "every local user may connect, and is root on the data", again)
    return right(check, host.name, "only root may connect")


def _state(cluster: ClusterView, host: HostSettings, wanted: Mount) -> MountState | None:
    states = cluster.of(host).mount_states or ()
    return next((each for each in states if each.mountpoint == wanted.mountpoint), None)


def options(cluster: ClusterView, host: HostSettings) -> Iterator[Row]:
    """The options of the preset are in force. A mount keeps its own, even if /etc/fstab has changed since.

    One row and one unmount for all: mounts of one server share the first one's timeouts (nfs_compare_super in Linux).
    """
    wanted = mount_options(host.client.mount_options, host.stunnel.port)
    table = cluster.of(host).linux_mounts or ()
    found = [mounted_at(table, each.mountpoint) for each in host.client.mounts]
    there = [entry for entry in found if entry is not None and entry.fstype in NFS_TYPES]
    if not there:
        return
    problems = [f"{entry.mountpoint}: {each}" for entry in there for each in not_in_force(wanted, entry.options)]
    points = " ".join(entry.mountpoint for entry in there)
    yield judged(
        "NFS options",
        host.name,
        problems,
        f"those of the preset {host.client.mount_preset} are in force",
        f"{RUN.format('clients')}; then, while no program uses it: sudo umount {points}; {MONITOR}",
    )
