"""The cluster's virtual clock: time passes when somebody sleeps or ticks, and then what is due happens, in order."""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import posix
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lab.core import INSIDE, Cluster, Event, LabError, Store, inside, part

MOVES = 256
"""How many of the last movements of the clock are kept with the real time at which they began."""
REAL = INSIDE / "real"
"""Where a sandbox has the machine's root directory."""
HANDLERS: dict[str, Callable[[Store, Event], None]] = {}
"""Event kind -> function, which holds the state only while it edits it; `lab.catalog` registers them. The kind
``wake`` ends the sleep of somebody."""
STARTS_PROGRAMS = ("devd", "linux boot", "linux mount", "program", "systemd timer")
"""Events that take time, because they run programs."""
EVENT = "event"
"""In the place of the host, in a request to a zygote: to handle an event."""
PROGRAM = "LAB_PROGRAM"
"""Environment variable: number of the event that a process handles."""
STUCK_SECONDS = 300
"""Real time after which a program that neither ends nor sleeps is given up."""
DOZE_SECONDS = 3600
"""Real time after which a program that lets others move the clock gives up."""


def schedule(cluster: Cluster, after: float, kind: str, host: str, *, lane: str = "", **payload: Any) -> int:
    """Something will happen; returns the event's number.

    :param after: virtual seconds from now
    :param kind: a key of `HANDLERS`
    :param lane: events of one lane wait for each other; every event has one of its own by default
    """
    if kind != "wake" and kind not in HANDLERS:
        raise KeyError(f"no handler for the event kind {kind!r}")
    seq = cluster.next_id()
    due = round(cluster.now + after, 6)  # sums of fractions must not fall short of a full second
    cluster.events.append(Event(due, seq, kind, host, lane or f"event {seq}", payload))
    return seq


def cancel(cluster: Cluster, keep: Callable[[Event], bool]) -> None:
    """Forgets the events that ``keep`` says no to."""
    cluster.events = [event for event in cluster.events if keep(event)]


def advance(store: Store, seconds: float) -> None:
    """Sleeps that many virtual seconds; whoever sleeps lets the time pass for all.

    Programs that events start run beside each other, as processes of the machine. The time stands still as long as one
    of them works, and goes on to the next thing that is due when all of them sleep. Who holds a lock while it sleeps
    is so not in the way of who waits for it.

    :raises LabError: there is no lab, or it failed itself
    """
    wake = _sleep(store, seconds)
    _let_pass(store, lambda cluster: wake in sleepers(cluster))


def _sleep(store: Store, seconds: float) -> int:
    """Somebody sleeps from now on; returns the number of the event that wakes him."""
    with store.edit() as cluster:
        wake = schedule(cluster, seconds, "wake", "")
        sleepers(cluster)[wake] = _program()
    return wake


def _let_pass(store: Store, waits: Callable[[Cluster], bool]) -> None:
    """Lets time pass as long as the caller waits."""
    waiting = _Patience(store)
    while True:
        seen = store.raw()
        if not waits(store.loaded(seen)):
            return
        if _step(store, waits):
            waiting = _Patience(store)
        else:
            waiting.wait(seen)


def doze(store: Store, seconds: float) -> None:
    """Sleeps that many virtual seconds as others let them pass: for a program that runs beside whatever happens.

    :raises LabError: there is no lab any more, or nobody has let time pass for long
    """
    wake = _sleep(store, seconds)
    since = time.monotonic()
    while wake in sleepers(store.read()):
        if time.monotonic() - since > DOZE_SECONDS:
            raise LabError("nobody lets time pass any more")
        time.sleep(0.02)


def tick(store: Store, seconds: float) -> None:
    """Lets virtual time pass, and waits for all that it brings about; not for use on a host.

    :raises LabError: as for `advance`
    """
    advance(store, seconds)
    quiesce(store)
    while _step(store, lambda _: False):
        quiesce(store)


def quiesce(store: Store) -> None:
    """Waits until no program of an event runs any more. Where they sleep, time passes."""
    _let_pass(store, lambda cluster: bool(programs(cluster)))
    store.tell()


@dataclass
class Program:
    """An event that is being handled.

    :param pid: of the process that handles it, as the machine counts; 0 until it has started
    """

    event: Event
    pid: int = 0


def programs(cluster: Cluster) -> dict[int, Program]:
    """What events have started and is not done, by the events' numbers."""
    return part(cluster, "programs", dict[int, Program])


def sleepers(cluster: Cluster) -> dict[int, int]:
    """Number of the event that wakes somebody -> the program that sleeps; 0 for what no event has started."""
    return part(cluster, "sleepers", dict[int, int])


def stop_programs(cluster: Cluster, host: str) -> None:
    """Nothing that events started on the host runs any more."""
    for number, program in list(programs(cluster).items()):
        if program.event.host == host:
            if program.pid and program.event.kind in STARTS_PROGRAMS:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
            _forget(cluster, number)


def _forget(cluster: Cluster, number: int) -> None:
    program = programs(cluster).pop(number, None)
    if program:
        cluster.busy_lanes.discard(program.event.lane)
    for wake, sleeper in list(sleepers(cluster).items()):
        if sleeper == number:
            del sleepers(cluster)[wake]


def is_waited_for() -> bool:
    """Whether somebody waits for this program, who so wants time to pass when it sleeps; no event has started it."""
    return _program() == 0


def _program() -> int:
    """The program that this process is a part of."""
    return int(_machine()[2] if inside() else os.environ.get(PROGRAM, "0"))


def _machine() -> list[str]:
    """In a sandbox: the state folder and the zygote's address, as the machine sees them, and the program's number."""
    return (INSIDE / "ns" / "machine").read_text().splitlines()


def _step(store: Store, waits: Callable[[Cluster], bool]) -> bool:
    """The next event happens; False if there is none, or it has to wait.

    :param waits: whether the caller still waits, so that time may pass: since it looked, another one who lets time pass
        may have woken it
    """
    with store.alone():  # a look that changes nothing is not saved: everybody who waits would look again
        cluster = store.read()
        due = [event for event in cluster.events if event.lane not in cluster.busy_lanes]
        event = min(due, key=lambda e: (e.due, e.seq), default=None)
        if event is None:
            return False
        if event.due > cluster.now:
            if not waits(cluster) or programs(cluster).keys() - set(sleepers(cluster).values()):
                return False
            moves = part(cluster, "moved", list[tuple[float, float]])
            moves.append((time.time(), cluster.now))  # lets lab.zfs tell when in virtual time a file was written
            del moves[:-MOVES]
            cluster.now = event.due
        cluster.events.remove(event)
        if event.kind == "wake":
            sleepers(cluster).pop(event.seq, None)
        else:
            cluster.busy_lanes.add(event.lane)
            programs(cluster)[event.seq] = Program(event, 0 if event.kind in STARTS_PROGRAMS else _machine_pid())
        store.save(cluster)
    if event.kind == "wake":
        return True
    if event.kind in STARTS_PROGRAMS:
        with (
            open(os.devnull, "r+b") as nothing,
            _ask_zygote(store, [EVENT, str(event.seq)], [nothing.fileno()] * 3) as link,
        ):
            status(link)
    else:
        handle(store, event.seq)
    return True


def handle(store: Store, number: int) -> None:
    """Handles an event that `_step` has chosen, in this process."""
    with store.edit() as cluster:
        program = programs(cluster)[number]
        program.pid = _machine_pid()
    try:
        HANDLERS[program.event.kind](store, program.event)
    except Exception:
        store.report(f"{program.event}\n{traceback.format_exc()}")
    finally:
        with store.edit() as cluster:
            _forget(cluster, number)


def handle_apart(folder: str, number: str) -> int:
    """`handle` in a process of its own, which nobody waits for."""
    if not os.fork():
        os.setsid()
        os.environ[PROGRAM] = number
        handle(Store(Path(folder)), int(number))
        os._exit(0)
    return 0


def _machine_pid() -> int:
    return int(os.readlink(INSIDE / "proc" / "self")) if inside() else os.getpid()


def _ask_zygote(store: Store, words: list[str], streams: Sequence[int]) -> socket.socket:
    """Sends a request to the machine's zygote; the answer comes through the socket."""
    folder = _machine()[0] if inside() else str(store.folder)
    request = marshal.dumps(([folder, *words], "/", dict(os.environb), 0o22))
    data = len(request).to_bytes(4, "big") + request
    if inside():
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.connect(f"{REAL}{_machine()[1]}")
    else:
        link = zygote()
    # no sendall: it sends nothing, too, and whoever has all of it may be done and gone by then
    sent = socket.send_fds(link, [data], streams)
    while sent < len(data):
        sent += link.send(data[sent:])
    return link


class _Patience:
    """Waits, in real time, for programs that work; not for ever, and not for those that were killed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.since = time.monotonic()
        self.next_look = 1.0

    def wait(self, seen: bytes) -> None:
        """Until the state is another one than that."""
        while self.store.raw() == seen:
            time.sleep(0.004)
            waited = time.monotonic() - self.since
            if waited > self.next_look:
                self.next_look = waited + 0.4
                self._look(waited)

    def _look(self, waited: float) -> None:
        with self.store.edit() as cluster:
            for number, program in list(programs(cluster).items()):
                if _dead(program.pid) if program.pid else waited > STUCK_SECONDS:
                    _forget(cluster, number)
            if waited > STUCK_SECONDS:
                raise LabError(f"these programs do not come to an end: {list(programs(cluster).values())}")


def _dead(pid: int) -> bool:
    try:
        stat = ((INSIDE / "proc") if inside() else Path("/proc")).joinpath(str(pid), "stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def start(store: Store, host: str, argv: list[str], streams: Sequence[int], *options: str) -> socket.socket:
    """Starts a program in a host's root directory: it ends when the socket is closed. `status` waits for its end.

    :param streams: file descriptors that become its standard input, output and error
    :param options: ``--plain-user``, ``--deploy=DATA``
    """
    return _ask_zygote(store, [host, *options, "--", *argv], streams)


def status(link: socket.socket) -> int:
    """The exit status of a program that was started, at its end.

    :raises TimeoutError: it has not ended in the socket's time
    """
    return int.from_bytes(link.recv(4) or b"\x63", "big")


def run(
    store: Store, host: str, argv: list[str], *, stdin: int | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program on a host, from the controller or from within another program of the lab; keeps what it says.

    :param stdin: a file descriptor; by default there is nothing to read
    :param timeout: real seconds; what takes longer is killed, with status 124 as by timeout(1)
    """
    out, err = os.pipe(), os.pipe()
    with open(os.devnull, "rb") as nothing:
        streams = (nothing.fileno() if stdin is None else stdin, out[1], err[1])
        link = start(store, host, argv, streams)
    for _, end in (out, err):
        posix.close(end)  # where pyinfra is loaded, gevent's os.close does it later, and a reader would wait for that
    with ThreadPoolExecutor(2) as readers:
        said = [readers.submit(_all, end) for end, _ in (out, err)]
        with link:
            link.settimeout(timeout)
            try:
                rc = status(link)
            except TimeoutError:
                rc = 124
    return subprocess.CompletedProcess(argv, rc, *(each.result() for each in said))


def _all(end: int) -> bytes:
    with open(end, "rb") as pipe:
        return pipe.read()


def zygote() -> socket.socket:
    """A connection to the machine's zygote for this version of the lab; starts one if there is none. Not in a sandbox.

    :raises LabError: it does not start
    """
    place = zygote_place()
    link = _connected(place)
    if not link:
        place.unlink(missing_ok=True)
        program = [sys.executable, "-I", str(Path(__file__).with_name("sandbox.py")), str(place)]
        nothing = subprocess.DEVNULL
        subprocess.Popen(program, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
        for _ in range(1200):  # a minute, where the machine has other work
            time.sleep(0.05)
            if link := _connected(place):
                break
        else:
            raise LabError(f"the process that starts simulated hosts does not come up: {' '.join(program)}")
    return link


@cache
def zygote_place() -> Path:
    """The address of the machine's zygote for this version of the lab."""
    here = Path(__file__).resolve().parent
    newest = max(file.stat().st_mtime_ns for file in here.rglob("*.py"))
    version = hashlib.sha256(f"{here} {newest} {sys.prefix}".encode()).hexdigest()[:12]
    place = Path(os.environ.get("TMPDIR", "/tmp")) / f"lab-{os.getuid()}-{version}"
    # more than 107 bytes do not fit into the address of a Unix socket
    return place if len(str(place)) <= 107 else Path("/tmp") / place.name


def _connected(place: Path) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(str(place))
    except OSError:
        link.close()
        return None
    return link


def text(now: float) -> str:
    """A virtual time as people write it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
