"""cron(8): every virtual minute the entries of root's crontab and of /etc/cron.d that are due run, each on its own."""

from __future__ import annotations

import re
import time
from pathlib import Path

from lab import clock
from lab.core import Cluster, Context, Event, Host, NotSimulatedError, Store
from lab.rc.scripts import processes


def arm(cluster: Cluster, host: Host) -> None:
    """The next full minute, unless it is expected already."""
    if not any(event.kind == "cron minute" and event.host == host.name for event in cluster.events):
        clock.schedule(cluster, 60 - cluster.now % 60, "cron minute", host.name)


def start(ctx: Context) -> bool:
    """cron starts."""
    with ctx.cluster() as cluster:
        arm(cluster, ctx.host(cluster))
    return True


def entries(root: Path) -> list[tuple[list[str], str]]:
    """(five time fields, command) of every entry; variable settings are kept out by their shape."""
    found = []
    tab = root / "var/cron/tabs/root"
    files = [(tab, 5)] if tab.exists() else []
    files += [(file, 6) for file in sorted((root / "etc/cron.d").iterdir())]
    for file, fields in files:
        for line in file.read_text().splitlines():
            line = line.strip()
            if not line or line.startswith("#") or "=" in line.split()[0]:
                continue
            words = line.split(None, fields)
            if not all(re.fullmatch(r"\*|\d+", word) for word in words[:5]):
                raise NotSimulatedError(f"cron: {line}")
            found.append((words[:5], words[-1]))
    return found


def is_due(fields: list[str], now: float) -> bool:
    """Whether the time fields (crontab(5): ``*`` or a number) mean that minute."""
    at = time.gmtime(now)
    values = (at.tm_min, at.tm_hour, at.tm_mday, at.tm_mon, (at.tm_wday + 1) % 7)
    return all(field == "*" or int(field) == value for field, value in zip(fields, values, strict=True))


def minute(store: Store, event: Event) -> None:
    """A full minute: what is due is started, and the next one is awaited."""
    with store.edit() as cluster:
        host = cluster.hosts[event.host]
        if not host.up or not processes(host).get("cron"):
            return
        for fields, command in entries(store.root(host.name)):
            if is_due(fields, cluster.now):
                clock.schedule(cluster, 0, "program", host.name, line=f"PATH=/usr/bin:/bin HOME=/root; {command}")
        arm(cluster, host)
