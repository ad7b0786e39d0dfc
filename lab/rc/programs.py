"""Programs that nobody waits for: cron's, and what daemon(8) detaches. They run on the virtual clock, in order."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess

from lab import clock
from lab.commands.options import parse
from lab.core import CommandError, Context, Event, Store

LOOKS_EVERY = 0.25
"""Virtual seconds after which who waits for a lock looks again; the real one gets it at once."""


def run(store: Store, event: Event) -> None:
    """Runs a shell line on a host that is up."""
    host = store.read().hosts[event.host]
    if host.up:
        clock.run(store, host.name, ["/bin/sh", "-c", event.payload["line"]])


def daemon(ctx: Context) -> int:
    """daemon(8) with -c and -f: the program runs as soon as its caller lets time pass or ends."""
    _, words = parse(ctx, "cf")
    if not words:
        raise ctx.not_simulated()
    path = shlex.quote(ctx.env.get("PATH", "/sbin:/bin:/usr/sbin:/usr/bin"))
    with ctx.cluster() as cluster:
        clock.schedule(cluster, 0, "program", ctx.host_name, line=f"PATH={path}; export PATH; {shlex.join(words)}")
    return 0


def lockf(ctx: Context) -> int:
    """lockf(1) with -k -s -t SECONDS: waits on the virtual clock, 75 (EX_TEMPFAIL) when it takes too long."""
    options, words = parse(ctx, "kst:")
    if len(words) < 2:
        raise ctx.not_simulated()
    file, *command = words
    patience = float(options.get("t", "600"))
    descriptor = os.open(file, os.O_CREAT | os.O_RDONLY, 0o666)
    waited = 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if waited >= patience:
                raise CommandError("" if "s" in options else f"lockf: {file}: already locked", 75) from None
            clock.advance(ctx.store, LOOKS_EVERY)
            waited += LOOKS_EVERY
    try:
        rc = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise CommandError(f"lockf: {command[0]}: No such file or directory", 71) from None
    if "k" not in options:
        os.unlink(file)
    return rc if rc >= 0 else 70
