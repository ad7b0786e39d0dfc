"""Processes with the lab's modules loaded, which fork a child for every program that is asked for.

There are two: one on the machine, which starts sandboxes (`main` in `lab.sandbox`), and one in each sandbox, which
plays programs (`_as_init` there). A request has words, a working directory, an environment, a umask and three streams;
the answer is the exit status. Who asks and goes away takes the child with it, as a killed program takes its own work
with it.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from lab import mounts
from lab.core import INSIDE

IDLE_SECONDS = 20.0
"""How long the machine's zygote waits for more work before it ends."""

STDIN, STDOUT, ANSWER = 7, 8, 9
"""Descriptors of a played program: its standard input and output, and where it waits for the exit status."""

Run = Callable[[list[str]], int]


class Request(NamedTuple):
    """What is to be run, and how."""

    words: list[str]
    folder: str
    environment: dict[bytes, bytes]
    umask: int
    streams: list[int]


class Link:
    """Somebody who asks through a socket (`lab.clock`)."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link

    def fileno(self) -> int:
        return self.link.fileno()

    def gone(self) -> bool:
        """The request itself is read by the child, so only the end of the connection means anything here."""
        try:
            return self.link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def answer(self, rc: int) -> None:
        self.link.sendall(rc.to_bytes(4, "big"))

    def close(self) -> None:
        self.link.close()

    def request(self) -> Request:
        data, descriptors, _, _ = socket.recv_fds(self.link, 65536, 3)
        size = int.from_bytes(data[:4], "big") + 4
        while len(data) < size:
            more = self.link.recv(size - len(data))
            if not more:
                raise EOFError("the client went away")
            data += more
        words, folder, environment, umask = marshal.loads(data[4:])
        return Request(words, folder, environment, umask, descriptors)


class Script:
    """A played program (``PLAY`` in `lab.rootfs`): a shell that has told its number, and waits at a pipe of its own.

    A shell is all that starts for it, as any other program takes ten times as long. What the kernel knows of it is the
    request (proc(5), pidfd_getfd(2)).

    :raises ProcessLookupError: it is gone
    """

    def __init__(self, pid: int) -> None:
        self.process = os.pidfd_open(pid)

    def fileno(self) -> int:
        return self.process

    def gone(self) -> bool:
        return True  # pidfd_open(2): there is something to read when the process has ended

    def answer(self, rc: int) -> None:
        end = mounts.descriptor_of(self.process, ANSWER)
        os.write(end, b"%d\n" % rc)
        os.close(end)

    def close(self) -> None:
        os.close(self.process)

    def request(self) -> Request:
        proc = INSIDE / "proc"
        # it has another number there: that folder is the machine's
        number = _value(proc / f"self/fdinfo/{self.process}", "Pid")
        its = proc / number
        words = [os.fsdecode(word) for word in (its / "cmdline").read_bytes().split(b"\0")[2:-1]]
        pairs = (pair.partition(b"=") for pair in (its / "environ").read_bytes().split(b"\0") if pair)
        streams = [mounts.descriptor_of(self.process, stream) for stream in (STDIN, STDOUT, 2)]
        umask = int(_value(its / "status", "Umask"), 8)
        return Request(words, str(its / "cwd"), {name: value for name, _, value in pairs}, umask, streams)


def _value(file: Path, name: str) -> str:
    return next(line.split()[1] for line in file.read_text().splitlines() if line.startswith(f"{name}:"))


def _child(caller: Link | Script, run: Run) -> None:
    """Runs one request in this (forked) process and ends it."""
    rc = 99
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request = caller.request()
        for number, descriptor in enumerate(request.streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        caller.close()
        os.umask(request.umask)
        with contextlib.suppress(OSError):
            os.chdir(request.folder)
        os.environ.clear()
        os.environ.update({os.fsdecode(k): os.fsdecode(v) for k, v in request.environment.items()})
        rc = run(request.words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        rc = 141
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(rc)


class Zygote:
    """Waits for requests and for its children.

    :param listener: a socket, or a pipe in which numbers of processes come, one a line
    :param run: what a child does with the words of a request
    :param watched: a child that is not a request: `serve` ends with its exit status
    """

    def __init__(self, listener: socket.socket | FileIO, run: Run, watched: int = 0) -> None:
        self.listener = listener
        self.run = run
        self.watched = watched
        self.children: dict[int, Link | Script] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, None)
        read, write = socket.socketpair()
        write.setblocking(False)
        self.selector.register(read, selectors.EVENT_READ, None)
        self.wakeup = (read, write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)

    def serve(self, idle: float | None = None) -> int:
        """Works until the watched child ends, or until there was nothing to do for ``idle`` seconds."""
        # a collection writes to every object, and children would get copies of all that they share with this process
        gc.freeze()
        gc.disable()
        last = time.monotonic()
        while True:
            status = self._reap()
            if status is not None:
                return status
            for key, _ in self.selector.select(idle):
                last = time.monotonic()
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is self.wakeup[0]:
                    self.wakeup[0].recv(4096)
                else:
                    self._hung_up(key.data)
            if idle and not self.children and time.monotonic() - last >= idle:
                return 0

    def _accept(self) -> None:
        if isinstance(self.listener, socket.socket):
            self._start(Link(self.listener.accept()[0]))
            return
        for number in (self.listener.read(65536) or b"").split():
            with contextlib.suppress(ProcessLookupError):
                self._start(Script(int(number)))

    def _start(self, caller: Link | Script) -> None:
        pid = os.fork()
        if not pid:
            self.listener.close()
            for other in self.children.values():
                other.close()
            _child(caller, self.run)
        self.children[pid] = caller
        self.selector.register(caller, selectors.EVENT_READ, pid)

    def _hung_up(self, pid: int) -> None:
        if self.children[pid].gone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.selector.unregister(self.children[pid])

    def _reap(self) -> int | None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if not pid:
                return None
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            caller = self.children.pop(pid, None)
            if caller is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(caller)
                with contextlib.suppress(OSError):
                    caller.answer(code)
                caller.close()
            elif pid == self.watched:
                return code


def listen(path: Path | str) -> socket.socket:
    """A socket for requests.

    :raises OSError: somebody listens there already
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    return listener
