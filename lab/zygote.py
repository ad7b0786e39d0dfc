"""Processes with the lab's modules loaded, which fork a child for every program that is asked for.

There are two: one on the machine, which starts sandboxes (`main`), and one in each sandbox, which plays programs
(`serve` in `lab.sandbox`). Both speak with `lab.client`: a request carries the words, the working directory, the
environment, the umask and the three streams; the answer is the exit status. A client that goes away takes the child
with it, as a killed program takes its own work with it.
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
from pathlib import Path

IDLE_SECONDS = 20.0
"""How long the machine's zygote waits for more work before it ends."""

Run = Callable[[list[str]], int]


def _receive(link: socket.socket) -> tuple[tuple[list[str], str, dict[bytes, bytes], int], list[int]]:
    data, descriptors, _, _ = socket.recv_fds(link, 65536, 3)
    size = int.from_bytes(data[:4], "big") + 4
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise EOFError("the client went away")
        data += more
    return marshal.loads(data[4:]), descriptors


def _child(link: socket.socket, run: Run) -> None:
    """Runs one request in this (forked) process and ends it."""
    rc = 99
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        (words, folder, environment, umask), descriptors = _receive(link)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        link.close()
        os.umask(umask)
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.environ.clear()
        os.environ.update({os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()})
        rc = run(words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        rc = 141
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(rc)


class Zygote:
    """Waits for requests on a Unix socket and for its children.

    :param run: what a child does with the words of a request
    :param watched: a child that is not a request: `serve` ends with its exit status
    """

    def __init__(self, listener: socket.socket, run: Run, watched: int = 0) -> None:
        self.listener = listener
        self.run = run
        self.watched = watched
        self.children: dict[int, socket.socket] = {}
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
        link, _ = self.listener.accept()
        pid = os.fork()
        if not pid:
            self.listener.close()
            for other in self.children.values():
                other.close()
            _child(link, self.run)
        self.children[pid] = link
        self.selector.register(link, selectors.EVENT_READ, pid)

    def _hung_up(self, pid: int) -> None:
        # the request itself is read by the child, so only the end of the connection means anything here
        link = self.children[pid]
        try:
            gone = link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            gone = False
        except ConnectionError:
            gone = True
        if gone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.selector.unregister(link)

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
            link = self.children.pop(pid, None)
            if link is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(link)
                with contextlib.suppress(OSError):
                    link.sendall(code.to_bytes(4, "big"))
                link.close()
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
