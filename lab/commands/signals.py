"""kill and pkill of the daemons of a simulated FreeBSD host, without their rc.d scripts having a say."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from lab.commands.options import parse
from lab.commands.processes import matches
from lab.core import Context, part
from lab.rc import table
from lab.rc.scripts import processes, stopped

ENDS = ("TERM", "INT", "KILL")
CAN_STOP = ("nfsd", "stunnel")
"""Daemons of which the lab knows what it means that they stand still."""


def kill(ctx: Context) -> int:
    """kill(1) as a program (the shell has one of its own): ``[-SIGNAL] PID...`` of daemons, else of real processes."""
    words = list(ctx.args)
    name = words.pop(0)[1:].removeprefix("SIG") if words and words[0].startswith("-") else "TERM"
    name = {"9": "KILL", "15": "TERM"}.get(name, name)
    if not words or not all(word.isdigit() for word in words):
        raise ctx.not_simulated()
    rc = 0
    for pid in map(int, words):
        owner = next((each for each, pids in processes(ctx.host(ctx.store.read())).items() if pid in pids), "")
        if owner and name != "0":
            send(ctx, owner, name)
        elif not owner:
            try:
                os.kill(pid, 0 if name == "0" else int(name) if name.isdigit() else signal.Signals[f"SIG{name}"])
            except ProcessLookupError:
                ctx.err(f"kill: {pid}: No such process\n")
                rc = 1
    return rc


def pkill(ctx: Context) -> int:
    """pkill(1) with -x and a signal, and ``-HUP -F FILE -x NAME``, which finds the daemon by its pid file."""
    if ctx.args[:1] == ["-HUP"]:
        return _hang_up(ctx)
    signal_name = "TERM"
    if ctx.args and (match := re.fullmatch(r"-(?:SIG)?(TERM|INT|KILL|STOP|CONT)|-9", ctx.args[0])):
        signal_name = match[1] or "KILL"
        ctx.argv.pop(1)
    options, names = parse(ctx, "x")
    if len(names) != 1:
        raise ctx.not_simulated()
    found = [name for name in processes(ctx.host(ctx.store.read())) if matches(names[0], name, options)]
    for name in found:
        send(ctx, name, signal_name)
    return 0 if found else 1


def _hang_up(ctx: Context) -> int:
    match ctx.args:
        case ["-HUP", "-F", pid_file, "-x", name]:
            if not os.path.exists(pid_file):
                ctx.err(f"pkill: Cannot open pidfile `{pid_file}': No such file or directory\n")
                return 3
            if int(Path(pid_file).read_text()) not in processes(ctx.host(ctx.store.read())).get(name, []):
                return 1
            send(ctx, name, "HUP")
            return 0
    raise ctx.not_simulated()


def send(ctx: Context, name: str, what: str) -> None:
    """A daemon gets a signal; what it does on others than these is not known here.

    :param what: the signal's name without SIG
    """
    actions = table.ACTIONS.get(name)
    if what in ("STOP", "CONT"):
        _stop_or_go_on(ctx, name, what)
        return
    # Observed (15.1): nfsd that stood still, with clients, sleeps on with SIGKILL pending until it gets it once more.
    waiting = stopped(ctx.host(ctx.store.read())).get(name)
    if waiting is not None and (what != "KILL" or (name == "nfsd" and waiting != "KILL")):
        with ctx.cluster() as cluster:
            stopped(ctx.host(cluster))[name] = what
        return
    if what == "HUP" and actions and actions.hangup:
        actions.hangup(ctx)
        return
    if what not in ENDS:
        raise ctx.not_simulated(f"{what} to {name}")
    known = next((s for each in (table.BASE, *table.PACKAGED.values()) for s in each if s.name == name), None)
    if known and what != "KILL":  # it tidies up
        if actions and actions.stop:
            actions.stop(ctx)
        if known.pid_file:
            Path(known.pid_file).unlink(missing_ok=True)
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        processes(host).pop(name, None)
        stopped(host).pop(name, None)
        bound = part(host, "sockets", dict[str, tuple[str, int]])
        for each in [each for each in bound if each.split()[0] == name]:
            del bound[each]


def _stop_or_go_on(ctx: Context, name: str, what: str) -> None:
    """SIGSTOP or SIGCONT; what has come meanwhile gets its turn then."""
    if name not in CAN_STOP:
        raise ctx.not_simulated(f"{what} to {name}")
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        if what == "STOP":
            stopped(host).setdefault(name, "")
            return
        waiting = stopped(host).pop(name, "")
    if waiting:
        send(ctx, name, waiting)
