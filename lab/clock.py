"""The cluster's virtual clock: time passes when somebody sleeps or ticks, and then what is due happens, in order."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.core import INSIDE, Cluster, Event, Store, inside, part

MOVES = 64
"""How many of the last movements of the clock are kept with the real time at which they began."""
HANDLERS: dict[str, str] = {
    "carp timer": "lab.net.model:timer",
    "cron minute": "lab.rc.cron:minute",
    "devd": "lab.rc.devd:notify",
    "program": "lab.rc.programs:run",
    "zrepl replicate": "lab.zrepl.daemon:replicate_and_prune",
    "zrepl snapshot": "lab.zrepl.daemon:snapshot",
}
"""Event kind -> ``module:function``. A function takes (store, event) and holds the state only while it edits it."""


def schedule(cluster: Cluster, after: float, kind: str, host: str, *, lane: str = "", **payload: Any) -> None:
    """Something will happen.

    :param after: virtual seconds from now
    :param kind: a key of `HANDLERS`
    :param lane: events of one lane wait for each other; every event has one of its own by default
    """
    if kind not in HANDLERS:
        raise KeyError(f"no handler for the event kind {kind!r}")
    seq = cluster.next_id()
    cluster.events.append(Event(cluster.now + after, seq, kind, host, lane or f"event {seq}", payload))


def cancel(cluster: Cluster, keep: Callable[[Event], bool]) -> None:
    """Forgets the events that ``keep`` says no to."""
    cluster.events = [event for event in cluster.events if keep(event)]


def advance(store: Store, seconds: float) -> None:
    """Lets that many virtual seconds pass and runs what is due meanwhile.

    Called from within a handler's program (a hook that sleeps) it runs the other lanes; what waits for that
    handler stays due until it is done, as with devd, which runs one action at a time.

    :raises LabError: there is no lab
    """
    with store.edit() as cluster:
        target = cluster.now + seconds
        moves = part(cluster, "moved", list[tuple[float, float]])
        moves.append((time.time(), cluster.now))  # lets lab.zfs tell when in virtual time a file was written
        del moves[:-MOVES]
    while True:
        with store.edit() as cluster:
            due = [e for e in cluster.events if e.due <= target and e.lane not in cluster.busy_lanes]
            if not due:
                cluster.now = max(cluster.now, target)
                return
            event = min(due, key=lambda e: (e.due, e.seq))
            cluster.events.remove(event)
            cluster.now = max(cluster.now, event.due)
            cluster.busy_lanes.add(event.lane)
        try:
            module, function = HANDLERS[event.kind].split(":")
            getattr(importlib.import_module(module), function)(store, event)
        finally:
            with store.edit() as cluster:
                cluster.busy_lanes.discard(event.lane)


def command_line(store: Store, host: str, *options: str) -> list[str]:
    """The program that starts another one in a host's root directory; the other one's words follow it."""
    repo = Path(__file__).resolve().parent.parent
    python = sys.executable
    folder = str(store.folder)
    if inside():
        python, repo = _outside(python), Path(_outside(str(repo)))
        folder = (INSIDE / "ns" / "state-path").read_text().strip()
        options = (*options, "--nested")
    return [python, "-I", "-S", str(repo / "lab" / "sandbox.py"), folder, host, *options, "--"]


def _outside(path: str) -> str:
    return path.removeprefix(str(INSIDE / "real"))


def _leave() -> None:
    os.chroot(INSIDE / "real")
    os.chdir("/")


def run(store: Store, host: str, argv: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a program on a host, from the controller or from within another program of the lab.

    :param options: as for subprocess.run
    """
    leave = _leave if inside() else None
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH",)}
    if inside():
        # the interpreter may need the libraries beside it, whose place only the play script knows
        env["LD_LIBRARY_PATH"] = str(Path(_outside(sys.base_prefix)) / "lib")
        env["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    return subprocess.run([*command_line(store, host), *argv], preexec_fn=leave, env=env, check=False, **options)


def text(now: float) -> str:
    """A virtual time as people write it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
