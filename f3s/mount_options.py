"""The options of a client's NFS mount: what the site chooses (a preset), what the design needs, what is in force.

The presets are data (group_data/clients.py); what each costs:

- hard, for programs that write, on a stable LAN: a call waits until the server is back, however long. Nothing is lost
  over a restart of the server, but whoever touches the mount hangs meanwhile (nfs(5): "soft / hard").
- soft, for a laptop that comes and goes: a call fails with an I/O error after timeo/10 * (retrans + 1) seconds. Nothing
  hangs, but a program that ignores the error of a write or close has lost that data.

Not among them: noatime and its relatives (nfs(5): without effect on NFS mounts), bg (systemd.mount(5): the mount unit
needs the foreground), proto (NFSv4 is TCP), intr (nfs(5): ignored since Linux 2.6.25).
"""

from __future__ import annotations

from collections.abc import Sequence

TUNNEL_UNIT = "stunnel.service"
USERS = ("k3s.service", "k3s-agent.service", "kubepods.slice")
"""What starts after the mount, and is stopped before it; where there is no such unit, nothing is ordered.

Pods outlive k3s.service (KillMode=process). They are scopes in kubepods.slice, as k3s takes systemd's cgroups where it
runs as a service (k3s, pkg/agent/containerd/config_linux.go), and a slice is stopped after what is in it.
"""
MOUNT_UNIT_SECONDS = 30
"""How long systemd lets a mount at boot take. mount.nfs alone retries for two minutes (nfs(5): "retry")."""
_WAITING = ("hard", "soft", "softerr")
_COMPARED = ("vers", "port", "timeo", "retrans")


def mount_options(preset: Sequence[str], port: int) -> tuple[str, ...]:
    """All options for /etc/fstab, the preset's first.

    preset: options of the site, checked already (f3s/settings); port: TCP port of the local stunnel.

    - sec=sys: the server offers nothing else; the tunnel encrypts and authenticates.
    - _netdev, nofail: a mount of the network that must not stop a boot when the server is away.
    - x-systemd.after, not x-systemd.requires: the monitor restarts stunnel, and a unit that Requires= another one is
      stopped and restarted with it (systemd.unit(5)): each repair would unmount what it is to save. stunnel is enabled
      by itself, and at shutdown the order is reversed: pods have written their last before the mount goes, and the
      mount goes before its tunnel.
    """
    return (
        *preset,
        "sec=sys",
        f"port={port}",
        "_netdev",
        "nofail",
        f"x-systemd.after={TUNNEL_UNIT}",
        *(f"x-systemd.before={unit}" for unit in USERS),
        f"x-systemd.mount-timeout={MOUNT_UNIT_SECONDS}s",
    )


def not_in_force(wanted: Sequence[str], shown: Sequence[str]) -> tuple[str, ...]:
    """Where a mount differs from its line in /etc/fstab, such as `soft instead of hard`.

    wanted: the options of /etc/fstab; shown: those of /proc/self/mounts. A mount keeps what it was made with, also over
    `mount -o remount` (linux, fs/nfs/super.c, nfs_compare_remount_data).

    Compared are the wanted ones of those that the kernel shows as they were asked for (nfs_show_mount_options there):
    whether and how long a call waits, port and version. Sizes are negotiated, other words are not shown.
    """
    asked, there = _comparable(wanted), {"port": "port=2049", **_comparable(shown)}
    return tuple(
        f"{there.get(key, f'no {key}')} instead of {word}"
        for key, word in asked.items()
        # vers=4 leaves the minor version to client and server
        if there.get(key) != word and not (key == "vers" and there.get(key, "").startswith(f"{word}."))
    )


def _comparable(options: Sequence[str]) -> dict[str, str]:
    """What is decided -> the option that decides it, of those that are compared."""
    found = {}
    for option in options:
        name, _, value = option.partition("=")
        if name in _WAITING:
            found["hard"] = name
        elif name in (*_COMPARED, "nfsvers"):
            key = name.removeprefix("nfs")
            found[key] = f"{key}={value}"
    return found
