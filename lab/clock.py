"""The cluster's virtual clock: time passes when somebody sleeps or ticks, and then what is due happens, in order."""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.core import INSIDE, Cluster, Event, LabError, Store, inside, part

MOVES = 64
"""How many of the last movements of the clock are kept with the real time at which they began."""
REAL = INSIDE / "real"
"""Where a sandbox has the machine's root directory."""
HANDLERS: dict[str, str] = {
    "carp timer": "lab.net.model:timer",
    "cron minute": "lab.rc.cron:minute",
    "devd": "lab.rc.devd:notify",
    "program": "lab.rc.programs:run",
    "zrepl replicate": "lab.zrepl.daemon:replicate_and_prune",
    "zrepl snapshot": "lab.zrepl.daemon:snapshot",
    "vm off": "lab.commands.vm:power_off",
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
    """The program that starts another one in a host's root directory; the other one's words follow it.

    :param options: ``--plain-user``
    """
    client = Path(__file__).resolve().with_name("client.py")
    if not inside():
        words = [sys.executable, "-I", "-S", str(client), str(zygote_socket()), str(store.folder)]
    else:
        # the processes that play programs were forked on the machine: their paths are the machine's
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        folder, zygote = (INSIDE / "ns" / "machine").read_text().splitlines()
        words = [f"{REAL}{python}", "-I", "-S", f"{REAL}{client}", f"{REAL}{zygote}", folder]
    return [*words, host, *options, "--"]


def zygote_socket() -> Path:
    """The socket of the machine's zygote for this version of the lab; starts one if there is none. Not in a sandbox.

    :raises LabError: it does not start
    """
    here = Path(__file__).resolve().parent
    newest = max(file.stat().st_mtime_ns for file in here.rglob("*.py"))
    version = hashlib.sha256(f"{here} {newest} {sys.prefix}".encode()).hexdigest()[:12]
    place = Path("/tmp") / f"lab-{os.getuid()}-{version}"  # a short path: Unix sockets take 107 characters
    if not _listening(place):
        place.unlink(missing_ok=True)
        program = [sys.executable, "-I", "-S", str(here / "sandbox.py"), str(place)]
        nothing = subprocess.DEVNULL
        subprocess.Popen(program, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
        for _ in range(200):
            if _listening(place):
                break
            time.sleep(0.05)
        else:
            raise LabError(f"the process that starts simulated hosts does not come up: {' '.join(program)}")
    return place


def _listening(path: Path) -> bool:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(str(path))
    except OSError:
        return False
    finally:
        link.close()
    return True


def run(store: Store, host: str, argv: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a program on a host, from the controller or from within another program of the lab.

    :param options: as for subprocess.run
    """
    env = dict(os.environ)
    if inside():
        # the interpreter may need the libraries beside it, and was started through a path that leads out of here
        env["LD_LIBRARY_PATH"] = f"{REAL}{sys.base_prefix}/lib"
    return subprocess.run([*command_line(store, host), *argv], env=env, check=False, **options)


def text(now: float) -> str:
    """A virtual time as people write it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
