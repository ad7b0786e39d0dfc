"""Disks that cannot be read: who reads one hangs in the kernel, where no signal ends it, or gets EIO."""

from __future__ import annotations

import os
import signal
import time

from lab import clock, disks
from lab.core import INSIDE, CommandError, Context, Disk, LabError

PATIENCE = 120.0
"""Real seconds that somebody who bounds it by himself, with sleep(1), has for that."""
EIO = "Input/output error"


def read(ctx: Context, disk: Disk | None, what: str) -> None:
    """Somebody reads a disk; to be called while the state is not locked.

    :param what: what is read, for messages
    :raises LabError: it hangs, and nobody bounds that
    """
    how = disks.unreadable(ctx.store.read()).get(disk.id) if disk else None
    if how == "errors":
        raise CommandError(f"{ctx.name}: {what}: {EIO}")
    if how == "hangs":
        _hang(ctx, what)


def read_device(ctx: Context, device: str) -> None:
    """As `read`, of a device by its name."""
    cluster = ctx.store.read()
    read(ctx, disks.resolve(ctx.store, cluster, ctx.host(cluster), device), device)


def read_file(ctx: Context, path: str) -> None:
    """As `read`, of a file or a device by its path."""
    cluster = ctx.store.read()
    host = ctx.host(cluster)
    if path.startswith("/dev/"):
        read_device(ctx, path)
        return
    for entry in reversed(host.mounts):
        if path.startswith(entry.target.rstrip("/") + "/"):
            if entry.fstype == "ufs" and entry.tree != "root" and not entry.dead:
                read(ctx, disks.resolve(ctx.store, cluster, host, entry.device), path)
            return


def read_all(ctx: Context) -> None:
    """As `read`, of every disk of the host: what looks for pools."""
    cluster = ctx.store.read()
    for slot in ctx.host(cluster).slots:
        read_device(ctx, slot)


def meet(ctx: Context) -> int:
    """``meet PROGRAM WORDS...``: what a program of the machine is about to read, by the paths among its words."""
    name, *words = ctx.args
    ctx.argv = [name, *words]
    for word in words:
        path = word.partition("=")[2] if word.startswith(("if=", "of=")) else word
        if path and not path.startswith("-"):
            read_file(ctx, os.path.normpath(os.path.join(os.getcwd(), path)))
    return 0


def _hang(ctx: Context, what: str) -> None:
    """For ever. A timeout(1) around this waits with it, as its signals do nothing; one beside it ends in time."""
    around = {word.partition(":")[2] for word in ctx.env.get("LAB_TIMEOUT", "").split()}
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        limits = []
        for file in (INSIDE / "ns").glob("timeout-*"):
            pid = file.name.partition("-")[2]
            if pid not in around and _alive(int(pid)) and (limit := file.read_text().strip()):
                limits.append((float(limit), int(pid), file))
        if limits:
            seconds, number, first = min(limits)
            clock.advance(ctx.store, seconds)
            first.unlink(missing_ok=True)
            os.kill(number, signal.SIGALRM)  # its timer
        time.sleep(0.02)
    raise LabError(f"{ctx.name} {what} hangs for ever, as it would on a real host, and nobody bounds that")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
