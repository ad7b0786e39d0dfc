"""What a Python script of a client asks of the kernel: namespaces, flags of directories, processes, the clock."""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  # a script's socket loads it, where this machine's library is out of sight
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from lab.core import INSIDE, Context, Host

MS_BIND, MS_REC, MS_PRIVATE, CLONE_NEWNS = 0x1000, 0x4000, 0x40000, 0x20000
GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL (linux/fs.h)."""
NO_PROCESS = 2**22 - 1
"""The number of no process here."""
REAL_SECONDS = 300.0
"""For what has its limit on the virtual clock."""


class Kernel:
    """One script's view.

    :ivar apart: it has a mount namespace of its own
    :ivar bound: in that, a folder -> the folder that covers it there, without what is mounted in that
    :ivar opened: descriptors of the host's own folders, by what is below all mounts -> path
    """

    def __init__(self, ctx: Context, host: Callable[[], Host], stat: Callable[[str], object]) -> None:
        self.ctx, self.host, self.stat = ctx, host, stat
        self.apart = False
        self.bound: dict[str, str] = {}
        self.opened: dict[int, str] = {}

    def open_below(self, path: str, flags: int) -> int | None:
        """A descriptor of what a bind mount of this script shows; None for another path."""
        folder, _, name = path.rpartition("/")
        if folder not in self.bound:
            return None
        below = os.path.join(self.bound[folder], name)
        descriptor = os.open(INSIDE / "state/hosts" / self.ctx.host_name / f"root{below}", flags)
        self.opened[descriptor] = below
        return descriptor

    def ioctl(self, descriptor: int, request: int, data: bytes) -> bytes:
        """ioctl(2) for the flags of a folder (ioctl_iflags(2)): immutable, and no other."""
        entry = ("root", self.opened[descriptor].lstrip("/"))
        if request == GET_FLAGS:
            return struct.pack("l", IMMUTABLE if entry in self.host().immutable else 0)
        if request != SET_FLAGS or struct.unpack("l", data)[0] != IMMUTABLE:
            raise self.ctx.not_simulated(f"ioctl {request:#x}")
        with self.ctx.cluster() as cluster:
            self.ctx.host(cluster).immutable.append(entry)
        return data

    def time(self) -> float:
        host = self.host()
        return self.ctx.store.read().time_on(host)

    def clock_gettime(self, which: int) -> float:
        if which != time.CLOCK_BOOTTIME:
            raise self.ctx.not_simulated(f"clock_gettime {which}")
        host = self.host()
        return self.ctx.store.read().now - host.boot_time

    def connect(self, address: tuple[str, int], _seconds: float) -> socket.socket:
        return socket.create_connection(address, REAL_SECONDS)


class Library:
    """The C library's functions, for ctypes."""

    def __init__(self, kernel: Kernel) -> None:
        self.statx = _Statx(kernel)
        self.kernel = kernel

    def unshare(self, flags: int) -> int:
        if flags != CLONE_NEWNS:
            raise self.kernel.ctx.not_simulated(f"unshare {flags:#x}")
        self.kernel.apart = True
        return 0

    def mount(self, source: bytes, target: bytes, _kind: None, flags: ctypes.c_ulong, _data: None) -> int:
        """Mounts of a script's own namespace: private ones, and a folder on another one."""
        if not self.kernel.apart or flags.value not in (MS_BIND, MS_PRIVATE | MS_REC):
            raise self.kernel.ctx.not_simulated(f"mount {source!r} {target!r} {flags.value:#x}")
        if flags.value == MS_BIND:
            self.kernel.bound[target.decode()] = source.decode()
        return 0


class _Statx:
    """statx(2) that asks the server."""

    argtypes: Sequence[Any] = ()

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(self, _folder: int, path: bytes, _flags: int, _mask: int, _answer: object) -> int:
        try:
            self.kernel.stat(os.fsdecode(path))
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        return 0


class Child:
    """subprocess.Popen, for `communicate` with a limit: that counts on the virtual clock, as with timeout(1)."""

    pid = NO_PROCESS

    def __init__(self, words: Sequence[str], env: dict[str, str] | None = None, **_options: Any) -> None:
        self.words, self.env, self.returncode, self.output = words, env, -9, ""

    def communicate(self, timeout: float) -> tuple[str, None]:
        if self.words:
            line, self.words = ["timeout", "-k", "1", f"{timeout:g}", *self.words], ()
            done = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self.env,
                text=True,
                errors="replace",
                check=False,
            )
            self.output = done.stdout
            if done.returncode in (124, 137):
                raise subprocess.TimeoutExpired(line, timeout)
            self.returncode = done.returncode
        return self.output, None
