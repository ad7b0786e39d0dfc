#!/usr/bin/env python3
"""What programs on a client notice during a failover. Copied to the client; needs only Python 3.9.

``probe.py run --folder MOUNTPOINT --state DIR`` does five things ten times a second, each in a thread of its own, as
each may hang: it asks the server for a file's attributes, lists the folder, opens a file, reads from a descriptor
that has been open from the beginning, and appends a numbered line with fsync(2). It writes ``DIR/pid`` when it begins
to measure. It notes every longer pause, and whether the folder was mounted anew. At SIGTERM it writes
``DIR/report.json`` and ends, whatever hangs.

``probe.py check --folder MOUNTPOINT --state DIR`` is for afterwards, when the server is back: which of the acknowledged
lines are missing there? It prints their numbers, and enters their count in the report.

DIR has to be on the client's own disk. In the folder the files are called ``.f3s-probe-HOST.*``.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

INTERVAL = 0.1
NOTED = 0.5
"""A pause of its own: so many seconds longer than the interval without a success."""
PATIENCE = 3.0
"""Seconds that an operation may still take at the end before it counts as hanging."""
CONTENT = b"what the probe wrote before it began to measure\n" * 64
LINE = re.compile(rb"^line (\d+)\.$", re.MULTILINE)
"""With an end, so that a torn line does not count."""


class WrongError(Exception):
    """A call succeeded but returned something else than what is there; the text is the kind."""


def kind(error: Exception) -> str:
    """The name under which an error is counted: ``ESTALE``."""
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return str(error)


def asking_stat() -> Callable[[str], None]:
    """stat(2) that never uses the client's cache: statx(2) with AT_STATX_FORCE_SYNC (Linux).

    Elsewhere it is stat(2), which may answer from the cache.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if function is None:
        return lambda path: (os.stat(path), None)[1]
    at_fdcwd, force_sync, basic_stats = -100, 0x2000, 0x7FF
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]

    def ask(path: str) -> None:
        answer = ctypes.create_string_buffer(256)
        if function(at_fdcwd, os.fsencode(path), force_sync, basic_stats, answer) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)

    return ask


def forget(descriptor: int) -> None:
    """Drops what the client has cached of a file, so that the next read asks the server."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def mounted_since(place: str) -> float | None:
    """When it was mounted, on the clock of `time.monotonic`; None where the kernel does not say (no NFS, no Linux).

    The server is not asked, so a dead one keeps nothing waiting.
    """
    try:
        text = Path("/proc/self/mountstats").read_text()
    except OSError:
        return None
    _, _, found = text.rpartition(f" mounted on {place} with ")
    age = re.search(r"^\s+age:\s+(\d+)$", found.partition("\ndevice ")[0], re.MULTILINE)
    return time.monotonic() - int(age[1]) if age else None


class Files:
    """What the probe does in the folder. Every method is one operation, and raises what a program would get."""

    def __init__(self, folder: str, state: Path) -> None:
        name = f".f3s-probe-{socket.gethostname().partition('.')[0]}"
        # in the mount point itself: a program that creates its file succeeds on a bare mount point, too
        self.folder = folder
        self.mountpoint = os.path.realpath(folder)
        self.fixed = os.path.join(folder, f"{name}.fixed")
        self.lines = os.path.join(folder, f"{name}.lines")
        self.journal_file = state / "acknowledged"
        self.number = 0
        self.acknowledged = 0
        self.stray = 0
        self.mounted: float | None = None

    def prepare(self) -> None:
        """Makes the files, and opens the descriptor that stays open.

        :raises OSError: the folder cannot be written to
        """
        self.ask = asking_stat()
        self.mounted = mounted_since(self.mountpoint)
        self.own_disk = os.stat(os.path.dirname(self.mountpoint)).st_dev
        for path, content in ((self.fixed, CONTENT), (self.lines, b"")):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                os.write(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self.held = os.open(self.fixed, os.O_RDONLY)
        self.journal = os.open(self.journal_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def is_mounted_anew(self) -> bool:
        """It is no longer the mount of the beginning. The kernel tells a mount's age in whole seconds."""
        now = mounted_since(self.mountpoint)
        return self.mounted is not None and (now is None or abs(now - self.mounted) > 2)

    def stat(self) -> None:
        self.ask(self.fixed)

    def list(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            forget(descriptor)
            if os.path.basename(self.fixed) not in os.listdir(descriptor):
                raise WrongError("INCOMPLETE")
        finally:
            os.close(descriptor)

    def open(self) -> None:
        os.close(os.open(self.fixed, os.O_RDONLY))

    def read(self) -> None:
        forget(self.held)
        if os.pread(self.held, len(CONTENT) + 1, 0) != CONTENT:
            raise WrongError("CONTENT")

    def write(self) -> None:
        self.number += 1
        descriptor = os.open(self.lines, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            stray = os.fstat(descriptor).st_dev == self.own_disk
            # on a line of its own, also after a torn one
            os.write(descriptor, b"\nline %d.\n" % self.number)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # close(2) has succeeded too: a program may rely on the line from now on
        if stray:
            self.stray += 1
        else:
            os.write(self.journal, b"%d\n" % self.number)
            self.acknowledged += 1


OPERATIONS = ("stat", "list", "open", "read", "write")


class Measure:
    """How one operation fares.

    :param since: beginning of the call that has not come back, None between two calls
    """

    def __init__(self, now: float, interval: float = INTERVAL) -> None:
        self.noted = interval + NOTED
        self.last_success = now
        self.pause = 0.0
        self.gaps: list[list[float]] = []
        self.errors: dict[str, int] = {}
        self.since: float | None = None

    def begins(self, now: float) -> None:
        self.since = now

    def ends(self, now: float, error: Exception | None) -> None:
        self.since = None
        if error is not None:
            self.errors[kind(error)] = self.errors.get(kind(error), 0) + 1
            return
        self.pause = self.pause_until(now)
        if now - self.last_success > self.noted:
            self.gaps.append([round(self.last_success, 3), round(now, 3)])
        self.last_success = now

    def pause_until(self, now: float) -> float:
        """The longest time without a success, the current one included."""
        return max(self.pause, now - self.last_success)


def report(measures: dict[str, Measure], files: Files, stopped: float, now: float) -> dict[str, Any]:
    """What has been measured; the fields are those of scenarios.stage.Report.

    :param stopped: when the last calls were made
    """
    hanging = {name: one.since for name, one in measures.items() if one.since is not None}
    return {
        "pauses": {
            name: round(one.pause_until(now if name in hanging else max(stopped, one.last_success)), 3)
            for name, one in measures.items()
        },
        "gaps": {name: one.gaps for name, one in measures.items() if one.gaps},
        "errors": {name: dict(one.errors) for name, one in measures.items() if one.errors},
        "acknowledged": files.acknowledged,
        "lost": 0,
        "stray": files.stray,
        "remounted": files.is_mounted_anew(),
        "hanging": {name: round(now - since, 3) for name, since in hanging.items()},
    }


def repeat(act: Callable[[], None], measure: Measure, interval: float, stop: threading.Event) -> None:
    """One thread's work: the operation at every interval, until it is to stop."""
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        measure.begins(time.monotonic())
        error: Exception | None = None
        try:
            act()
        except (OSError, WrongError) as caught:
            error = caught
        measure.ends(time.monotonic(), error)
        due = max(due + interval, time.monotonic())


def run(folder: str, state: Path, interval: float) -> int:
    """Measures until SIGTERM; returns the exit status."""
    state.mkdir(parents=True, exist_ok=True)
    for old in ("pid", "report.json"):
        (state / old).unlink(missing_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    files = Files(folder, state)
    try:
        files.prepare()
    except OSError as error:
        print(f"probe: nothing can be written in {folder}: {error}", file=sys.stderr)
        return 1
    measures = {name: Measure(time.monotonic(), interval) for name in OPERATIONS}
    threads = [
        threading.Thread(target=repeat, args=(getattr(files, name), measures[name], interval, stop), daemon=True)
        for name in OPERATIONS
    ]
    for thread in threads:
        thread.start()
    save(state / "pid", f"{os.getpid()}\n")
    stop.wait()
    stopped = time.monotonic()
    for thread in threads:
        thread.join(max(0.0, stopped + PATIENCE - time.monotonic()))
    save(state / "report.json", json.dumps(report(measures, files, stopped, time.monotonic())) + "\n")
    # a thread that hangs would keep the interpreter from ending
    os._exit(0)


def check(folder: str, state: Path) -> int:
    """Looks for the acknowledged lines on the server, and enters the lost ones in the report."""
    files = Files(folder, state)
    try:
        descriptor = os.open(files.lines, os.O_RDONLY)
        try:
            forget(descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                there = {int(number) for number in LINE.findall(file.read())}
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"probe: the lines cannot be read again: {error}", file=sys.stderr)
        return 1
    lost = [number for number in map(int, files.journal_file.read_text().split()) if number not in there]
    felt = json.loads((state / "report.json").read_text())
    save(state / "report.json", json.dumps({**felt, "lost": len(lost)}) + "\n")
    print(*lost, sep="\n", end="\n" if lost else "")
    return 0


def save(file: Path, text: str) -> None:
    """Writes a file in one step, so that whoever waits for it finds it complete."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.rename(file)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="probe.py", description="What programs notice in a mounted folder.")
    parser.add_argument("verb", choices=("run", "check"))
    parser.add_argument("--folder", required=True, help="the mount point")
    parser.add_argument("--state", required=True, type=Path, help="a folder on this host's own disk")
    parser.add_argument("--interval", type=float, default=INTERVAL, help="seconds (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.verb == "run":
        return run(options.folder, options.state, options.interval)
    return check(options.folder, options.state)


if __name__ == "__main__":
    sys.exit(main())
