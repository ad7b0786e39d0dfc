"""The settings of check-nfs-mount.sh."""

from __future__ import annotations

from collections.abc import Sequence

from f3s.quoting import argument


def monitor_settings(
    *,
    mounts: Sequence[tuple[str, str]],
    port: int,
    service: str,
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
        "stat_timeout": argument(stat_timeout),
        "unmount_timeout": argument(unmount_timeout),
        "mount_timeout": argument(mount_timeout),
        "metrics_file": argument(metrics_file or ""),
        "escalate_after": argument(escalate_after),
        "escalate_command": argument(escalate_command or ""),
    }
