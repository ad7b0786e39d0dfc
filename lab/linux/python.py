"""python3 of a Linux host, for scripts that measure: their threads, clocks and file calls live in the simulation.

A script runs in this process with shadows of a few modules. Its threads take turns; when all of them wait, virtual time
passes, or, where nobody waits for the script, it waits until others have let time pass. A call that meets an NFS mount
waits or fails as the kernel's would (`lab.linux.nfs`), by path and by a descriptor that has been open for long;
everything else is the machine's own Python. A signal does not get from one sandbox into another: `terminate` is the way
to end such a script.
"""

from __future__ import annotations

import builtins
import copy
import ctypes
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from greenlet import getcurrent, greenlet

from lab import clock
from lab.core import INSIDE, Context, Host, Store, part
from lab.linux import kernel, nfs, view, waiting

LOOKS_EVERY = 1.0
"""Virtual seconds after which a call that hangs looks again."""


def main(ctx: Context) -> int:
    """``python3 [-I] SCRIPT [ARGUMENT...]``."""
    words = ctx.args[1:] if ctx.args[:1] == ["-I"] else ctx.args
    if not words or not os.path.isfile(words[0]):
        raise ctx.not_simulated()
    script = Path(words[0])
    code = compile(script.read_text(), str(script), "exec", dont_inherit=True)
    sys.argv[:] = words
    turns = _Turns(ctx)
    calls = _Calls(turns)
    core = calls.kernel
    clocks = {"monotonic": lambda: turns.now, "time": core.time, "clock_gettime": core.clock_gettime}
    shadows: dict[str, ModuleType] = {
        "ctypes": _Shadow(ctypes, CDLL=lambda *_, **__: kernel.Library(core)),
        "fcntl": _Shadow(fcntl, ioctl=core.ioctl),
        "os": _Shadow(os, **calls.overrides()),
        "signal": _Shadow(signal, signal=turns.on_signal),
        "socket": _Shadow(socket, create_connection=core.connect),
        "subprocess": _Shadow(subprocess, Popen=kernel.Child),
        "threading": _Shadow(threading, Thread=lambda **words: _Thread(turns, **words), Event=lambda: _Flag(turns)),
        "time": _Shadow(time, **clocks, sleep=lambda s: turns.wait(lambda: False, s)),
    }

    def importing(name: str, *words: Any, **more: Any) -> ModuleType:
        return shadows.get(name) or __import__(name, *words, **more)

    own = {**vars(builtins), "__import__": importing}
    try:
        exec(code, {"__name__": "__main__", "__file__": str(script), "__builtins__": own})
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def terminate(store: Store, host: str) -> None:
    """SIGTERM for the scripts that run on a host."""
    with store.edit() as cluster:
        for number in part(cluster.host(host), "scripts", dict[int, bool]):
            part(cluster.host(host), "scripts", dict[int, bool])[number] = True


class _Shadow(ModuleType):
    """A module with other values for some of its names."""

    def __init__(self, real: ModuleType, **others: Any) -> None:
        super().__init__(real.__name__)
        self._real = real
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Turns:
    """Threads, which are greenlets here, take turns; virtual time passes when all of them wait.

    :ivar now: virtual seconds; as the time stands still while a program works, it changes in `wait` alone
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.handlers: dict[int, Callable[[int, None], None]] = {}
        self.waiting: dict[greenlet, tuple[Callable[[], bool], float]] = {}
        self.number = 0
        self.now = ctx.store.read().now
        self.seen = (0, 0)

    def host(self) -> Host:
        """This host as it is now; the mounts of the namespace have followed."""
        file = os.stat(self.ctx.store.file)
        saved = (file.st_ino, file.st_mtime_ns)
        if saved != self.seen:
            self.cluster = self.ctx.store.read()
            self.now = self.cluster.now
            view.follow(self.ctx.store, self.cluster, self.ctx.host(self.cluster))
            self.seen = saved
        return self.ctx.host(self.cluster)

    def on_signal(self, number: int, handler: Callable[[int, None], None]) -> None:
        self.handlers[number] = handler
        if not self.number:
            with self.ctx.cluster() as cluster:
                self.number = cluster.next_id()
                part(self.ctx.host(cluster), "scripts", dict[int, bool])[self.number] = False

    def wait(self, over: Callable[[], bool], seconds: float | None = None) -> bool:
        """Others have their turn until it is over, or that many virtual seconds have passed; whether it is over."""
        self.waiting[getcurrent()] = (over, float("inf") if seconds is None else self.now + seconds)
        self.give_turn()
        return over()

    def give_turn(self) -> None:
        """Time passes until somebody can go on, who does; returns when that is the caller."""
        me = getcurrent()
        while True:
            order = [*self.waiting]
            after = order.index(me) + 1 if me in order else 0
            for thread in (*order[after:], *order[:after]):
                over, end = self.waiting[thread]
                if over() or self.now >= end:
                    del self.waiting[thread]
                    if thread is not me:
                        thread.switch()
                    return
            ends = [end - self.now for _, end in self.waiting.values()]
            self._sleep(max(0.001, min([LOOKS_EVERY, *ends])))
            host = self.host()
            if part(host, "scripts", dict[int, bool]).get(self.number) and signal.SIGTERM in self.handlers:
                self.handlers.pop(signal.SIGTERM)(signal.SIGTERM, None)

    def _sleep(self, seconds: float) -> None:
        # whoever started it with a limit waits for it, be it a program of an event
        if clock.is_waited_for() or self.ctx.env.get("LAB_TIMEOUT"):
            waiting.wait(self.ctx, seconds, lambda: False, "python3")
        else:
            clock.doze(self.ctx.store, seconds)


class _Flag:
    """threading.Event."""

    def __init__(self, turns: _Turns) -> None:
        self.turns = turns
        self.up = False

    def set(self) -> None:
        self.up = True

    def wait(self, timeout: float | None = None) -> bool:
        return self.turns.wait(lambda: self.up, timeout)


class _Thread:
    """threading.Thread with target, args and daemon."""

    def __init__(self, turns: _Turns, target: Callable[..., object], args: Iterable[Any] = (), daemon: bool = True):
        self.turns = turns
        self.done = False
        self.run = greenlet(lambda: self._run(target, args))

    def _run(self, target: Callable[..., object], args: Iterable[Any]) -> None:
        target(*args)
        self.done = True
        self.turns.give_turn()

    def start(self) -> None:
        self.turns.waiting[self.run] = (lambda: True, 0.0)

    def join(self, timeout: float | None = None) -> None:
        self.turns.wait(lambda: self.done, timeout)


@dataclass
class _Handle:
    """What is open on an NFS mount.

    :param entry: the mount, as the last call found it
    :param tree: folder of the server's that the descriptor is in
    :param inner: path in the mount
    :param moved: another server answers than when it was opened
    :param unwritten: data of a write that no fsync(2) has brought to the server
    :param lost: such data that another server has not got
    """

    entry: nfs.NfsMount
    tree: str
    inner: str
    flags: int
    moved: bool = False
    unwritten: bool = False
    lost: bool = False

    def follow(self, descriptor: int) -> bool:
        """The descriptor becomes one of the server that answers now; False: the file is not there."""
        if self.entry.tree == self.tree:
            return True
        file = INSIDE / "state" / self.entry.tree / self.inner
        try:
            fresh = os.open(file, self.flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
        except FileNotFoundError:
            return False
        os.lseek(fresh, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
        os.dup2(fresh, descriptor)
        os.close(fresh)
        self.tree, self.moved = self.entry.tree, True
        self.lost, self.unwritten = self.lost or self.unwritten, False
        return True

    def check_writable(self) -> None:
        """
        :raises OSError: as the kernel says it: EIO where another server does not take what was open for writing (seen)
        """
        lost, self.lost = self.lost, False
        if lost or self.entry.read_only:
            raise _error(errno.EIO if lost or self.moved else errno.EROFS)


class _Calls:
    """File calls that may meet an NFS mount.

    :ivar handles: what is open on a mount, by descriptor
    """

    def __init__(self, turns: _Turns) -> None:
        self.turns = turns
        self.handles: dict[int, _Handle] = {}
        self.kernel = kernel.Kernel(turns.ctx, turns.host, self.stat)

    def overrides(self) -> dict[str, Callable[..., Any]]:
        """Name -> the function that takes the place of the one of `os`."""
        names = ("open", "stat", "fstat", "listdir", "scandir", "close", "unlink", "pread", "write", "fsync")
        return {name: getattr(self, name) for name in names}

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        below = self.kernel.open_below(os.fspath(path), flags)
        if below is not None:
            return below
        entry = self._meets(path, _awaits(flags))
        try:
            descriptor = os.open(path, flags, mode)
        except OSError as error:
            # the lab's way to make a folder immutable is a read-only mount (lab.linux.view)
            raise _error(errno.EPERM) if error.errno == errno.EROFS and not entry else error from None
        if entry:
            inner = os.path.relpath(view.absolute(os.fspath(path)), entry.target)
            self.handles[descriptor] = _Handle(copy.copy(entry), entry.tree, inner, flags)
        return descriptor

    def stat(self, path: str) -> os.stat_result:
        entry = self._meets(path)
        return self._foreign(os.stat(path), entry)

    def fstat(self, descriptor: int) -> os.stat_result:
        handle = self.handles.get(descriptor)
        return self._foreign(os.fstat(descriptor), handle.entry if handle else None)

    def listdir(self, place: str | int) -> list[str]:
        held = self._holds(place) if isinstance(place, int) else None
        entry = held and held.entry if isinstance(place, int) else self._meets(place)
        if entry and entry.condition == nfs.UNLISTED:
            raise _error(errno.EIO)
        return os.listdir(place)

    def scandir(self, place: str) -> Any:
        self.listdir(place)
        return os.scandir(place)

    def unlink(self, path: str) -> None:
        self._meets(path, nfs.CLOSED)  # nothing is written by then (lab.linux.view)
        os.unlink(path)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        self._holds(descriptor)
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, data: bytes) -> int:
        if handle := self._holds(descriptor):
            handle.check_writable()
            handle.unwritten = True
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        if handle := self._holds(descriptor):
            if handle.unwritten or handle.lost:
                handle.check_writable()
            handle.unwritten = False
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        self.handles.pop(descriptor, None)
        os.close(descriptor)

    def _meets(self, path: str, waits: tuple[str, ...] = nfs.SILENT) -> nfs.NfsMount | None:
        """The mount that a path is on, None for the own disk; returns when the server has answered.

        :param waits: the conditions in which there is no answer yet
        :raises OSError: what the kernel says instead
        """
        place = view.absolute(os.fspath(path))
        entry = view.covering(self.turns.host(), place)
        if entry and entry.condition in waits:
            first = entry

            def now() -> nfs.NfsMount | None:
                return next((m for m in nfs.mounts(self.turns.host()) if m.number == first.number), None)

            self._await(lambda: getattr(now(), "condition", "") not in waits, first)
            entry = now()
        if entry and (entry.condition == nfs.STALE):
            raise _error(errno.ESTALE)
        if entry and entry.condition == nfs.UNLISTED and place != entry.target:
            raise _error(errno.EIO)
        return entry

    def _holds(self, descriptor: int) -> _Handle | None:
        """The same for what is open: its handle names the server's file system, whatever is mounted now."""
        handle = self.handles.get(descriptor)
        if handle is None:
            return None
        entry = handle.entry

        def condition() -> str:
            nfs.look(self.turns.ctx.store, self.turns.cluster, self.turns.host(), entry)
            return entry.condition

        waits = _awaits(handle.flags)  # a call that reads or writes is refused as well (nfsrv_checkrestart)
        if condition() in waits:
            self._await(lambda: condition() not in waits, entry)
        if entry.condition == nfs.STALE or not handle.follow(descriptor):
            raise _error(errno.ESTALE)
        return handle

    def _await(self, over: Callable[[], bool], entry: nfs.NfsMount) -> None:
        """Waits for an answer; a mount that is taken away by force, or is soft, ends the call."""

        def here() -> bool:
            return any(m.number == entry.number for m in nfs.mounts(self.turns.host()))

        answered = self.turns.wait(lambda: not here() or over(), entry.soft_limit)
        if not answered or not here():
            raise _error(errno.EIO)

    @staticmethod
    def _foreign(found: os.stat_result, entry: nfs.NfsMount | None) -> os.stat_result:
        """The device of a mount is another one than that of the own disk."""
        if entry is None:
            return found
        return os.stat_result((*found[:2], found.st_dev + view.FOREIGN, *found[3:10]))


def _awaits(flags: int) -> tuple[str, ...]:
    return nfs.SILENT if flags & os.O_DIRECTORY else nfs.CLOSED


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
