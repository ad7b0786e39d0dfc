"""The settings of check-nfs-mount.sh."""

from __future__ import annotations

from collections.abc import Sequence

from f3s.quoting import argument

PROGRAM = "/usr/local/bin/check-nfs-mount.sh"
WRITE, PATIENCE, CALL, SERVICE, ESCALATE = 5, 4, 4, 15, 60
"""Seconds of the steps that have no setting; the script has the same numbers."""
GRACE = 3
"""Seconds after its limit until the script gives up even a child that cannot be killed."""


def longest_check(*, mounts: int, stat_timeout: int, unmount_timeout: int, mount_timeout: int) -> int:
    """Seconds that a run may take when every single step hangs; systemd must not end it before it has reported.

    For each mount: two examinations (stat, listing, write), patience, four attempts to unmount, two looks at the mount
    point, the mount, the escalation and its mark. For all together: two calls of the server, a restart of the tunnel.
    """
    limits = [stat_timeout] * 6 + [WRITE] * 3 + [PATIENCE, mount_timeout, ESCALATE] + [unmount_timeout] * 4
    return mounts * sum(limit + GRACE for limit in limits) + sum(limit + GRACE for limit in (CALL, SERVICE, CALL))


def monitor_settings(
    *,
    mounts: Sequence[tuple[str, str]],
    port: int,
    service: str,
    move_seconds: int,
    stat_timeout: int,
    unmount_timeout: int,
    mount_timeout: int,
    metrics_file: str | None,
    escalate_after: int,
    escalate_command: str | None,
) -> dict[str, str]:
    """The values of templates/nfs-mount.conf.j2, each quoted for the shell that sources it.

    mounts: source and mount point of each; timeouts in seconds.
    """
    return {
        "sources": " ".join(argument(source) for source, _ in mounts),
        "mountpoints": " ".join(argument(point) for _, point in mounts),
        "port": argument(port),
        "service": argument(service),
        "move_seconds": argument(move_seconds),
        "stat_timeout": argument(stat_timeout),
        "unmount_timeout": argument(unmount_timeout),
        "mount_timeout": argument(mount_timeout),
        "metrics_file": argument(metrics_file or ""),
        "escalate_after": argument(escalate_after),
        "escalate_command": argument(escalate_command or ""),
    }
