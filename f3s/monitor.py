"""The settings of check-nfs-mount.sh, and what it says of its last check."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from f3s.mount_options import TUNNEL_UNIT
from f3s.parsing import UnknownOutput
from f3s.settings import HostSettings
from f3s.settings.model import Client
from f3s.stunnel import CLIENT_FILES

PROGRAM = "/usr/local/bin/check-nfs-mount.sh"
SETTINGS = "/etc/f3s/nfs-mount.json"
UNITS = "/etc/systemd/system"
MONITOR_UNITS = ("nfs-mount-monitor.service", "nfs-mount-monitor.timer")
OUTDATED = (
    *("/etc/f3s/nfs-mount.conf", "/usr/local/bin/nfs-null-call.sh"),
    *("/run/nfs-mount-check.lock", "/run/nfs-mount.state"),
)
"""What earlier versions of this deploy have installed, and what the monitor of a how-to leaves behind."""
WRITE, AGAIN, SERVICE, ESCALATE, CALL = 5, 6, 15, 60, 3
"""Seconds of the steps that have no setting; the program has the same numbers."""
USABLE = ("healthy", "readonly", "slow")
"""The states of a mount that programs can use."""
TOO_OLD = 120
"""Seconds after which its last check is not relied on any more."""
GRACE = 3
"""Seconds after its limit until the program gives up even a child that cannot be killed."""


def longest_check(client: Client) -> int:
    """Seconds that a run may take when every single step hangs; systemd must not end it before it has reported.

    For each mount: three looks (the first with the monitor's own limit) and writes, two looks at the directory below, a
    restart of the tunnel, four attempts to unmount, the mount, the escalation; and two calls of the server.
    """
    limits = [client.stat_timeout] * 3 + [AGAIN] * 2 + [WRITE] * 3 + [SERVICE, client.mount_timeout, ESCALATE]
    limits += [client.unmount_timeout] * 4
    return len(client.mounts) * (sum(limit + GRACE for limit in limits) + 2 * 2 * CALL)


def monitor_settings(host: HostSettings, certificate_end: datetime) -> str:
    """The text of SETTINGS."""
    client, before = host.client, timedelta(host.pki.renew_before_days)
    return (
        json.dumps(
            {
                "mounts": client.sources,
                "port": host.stunnel.port,
                "service": TUNNEL_UNIT,
                "move": client.move_seconds,
                "stat": client.stat_timeout,
                "unmount": client.unmount_timeout,
                "mount": client.mount_timeout,
                "metrics_file": client.metrics_file,
                "certificate": [CLIENT_FILES["cert_file"], certificate_end.timestamp(), before.total_seconds()],
                "escalate_after": client.escalate_after,
                "escalate_command": client.escalate_command,
            },
            indent=1,
        )
        + "\n"
    )


@dataclass(frozen=True)
class MountState:
    """A mount as the monitor last found it.

    + state: healthy, readonly, slow, stale, hung, ...
    + age: seconds since that check; None before the first one
    + immutable: the directory below takes no files; below: those that lie in it, or why that is not known
    """

    mountpoint: str
    state: str
    age: int | None = None
    failures: int = 0
    detail: str = ""
    immutable: bool = True
    below: tuple[str, ...] = ()


def parse_status(lines: Iterable[str]) -> tuple[MountState, ...]:
    """Read the output of `check-nfs-mount.sh --status`; raises UnknownOutput on another form."""
    try:
        return tuple(
            MountState(
                point,
                str(said["state"]),
                None if said["age"] is None else int(said["age"]),
                int(said["failures"]),
                str(said["detail"]),
                bool(said["immutable"]),
                tuple(said["below"]),
            )
            for point, said in json.loads("\n".join(lines)).items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnknownOutput(f"check-nfs-mount.sh --status: {error!r}") from error
