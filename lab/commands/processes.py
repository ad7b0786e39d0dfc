"""pgrep, pkill, sockstat, ping, dmesg: what runs on a simulated FreeBSD host, and whom it can reach."""

from __future__ import annotations

import os
import re
import time

from lab import clock
from lab.commands.options import parse
from lab.core import INSIDE, CommandError, Context, Host, part
from lab.net import model
from lab.rc import stunnel
from lab.rc.scripts import processes


def pgrep(ctx: Context) -> int:
    """pgrep(1) with -l -x -q of daemons by name."""
    options, names = parse(ctx, "flqx")
    if len(names) != 1 or "f" in options:
        raise ctx.not_simulated()
    host = ctx.host(ctx.store.read())
    found = [(pid, name) for name, pids in processes(host).items() if _matches(names[0], name, options) for pid in pids]
    if "q" not in options:
        for pid, name in sorted(found):
            ctx.out(f"{pid} {name}\n" if "l" in options else f"{pid}\n")
    return 0 if found else 1


def _matches(pattern: str, name: str, options: dict[str, str]) -> bool:
    return pattern == name if "x" in options else pattern in name


def pkill(ctx: Context) -> int:
    """pkill(1) with -x: the daemon is gone, without its rc.d script having a say. ``-HUP -F FILE -x NAME``: it reads
    its files anew, of which stunnel's count in the lab; -F finds it by its pid file."""
    if ctx.args[:1] == ["-HUP"]:
        return _hang_up(ctx)
    options, names = parse(ctx, "x")
    if len(names) != 1:
        raise ctx.not_simulated()
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        found = [name for name in processes(host) if _matches(names[0], name, options)]
        for name in found:
            del processes(host)[name]
            part(host, "sockets", dict[str, tuple[str, int]]).pop(name, None)
    return 0 if found else 1


def _hang_up(ctx: Context) -> int:
    match ctx.args:
        case ["-HUP", "-F", pid_file, "-x", name]:
            if not os.path.exists(pid_file):
                ctx.err(f"pkill: Cannot open pidfile `{pid_file}': No such file or directory\n")
                return 3
            if name not in processes(ctx.host(ctx.store.read())):
                return 1
            if name == "stunnel":
                stunnel.reload(ctx)
            return 0
    raise ctx.not_simulated()


def _listeners(host: Host) -> list[tuple[str, str, int, str, str]]:
    fixed = {"mountd": [("udp4", "*:736"), ("tcp4", "*:736")], "nfsd": [("tcp4", "*:2049")]}
    fixed["rpcbind"] = [("udp4", "*:111"), ("udp4", "*:778"), ("tcp4", "*:111")]
    rows = []
    for name, pids in sorted(processes(host).items(), key=lambda each: -each[1][0]):  # the youngest first
        rows += [("root", name, pids[0], kind, local) for kind, local in fixed.get(name, [])]
    for name, (address, port) in part(host, "sockets", dict[str, tuple[str, int]]).items():
        rows.append((name, name, processes(host).get(name, [0])[0], "tcp4", f"{address or '*'}:{port}"))
    return rows


def sockstat(ctx: Context) -> int:
    """sockstat(1) with -4 and -l: who listens."""
    options, names = parse(ctx, "46l")
    if names or "l" not in options:
        raise ctx.not_simulated()
    ctx.out("USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      \n")
    for user, name, pid, kind, local in _listeners(ctx.host(ctx.store.read())):
        ctx.out(f"{user:<8} {name:<10} {pid:<5} 9  {kind}   {local:<21} *:*\n")
    return 0


def ping(ctx: Context) -> int:
    """ping(8) with -c COUNT, -t SECONDS, -q: an answer comes at once, none takes the whole time."""
    options, names = parse(ctx, "c:t:W:q")
    if len(names) != 1 or "c" not in options:
        raise ctx.not_simulated()
    cluster = ctx.store.read()
    if model.address_owner(cluster, ctx.host(cluster), names[0]) is None:
        clock.advance(ctx.store, float(options.get("t", "10")))
        ctx.out(f"{options['c']} packets transmitted, 0 packets received, 100.0% packet loss\n")
        raise CommandError("", 2)
    ctx.out(f"{options['c']} packets transmitted, {options['c']} packets received, 0.0% packet loss\n")
    return 0


def ps(ctx: Context) -> int:
    """ps(1) with -o lstart= -p PID, of a process of the program that runs it; nothing else is a process here."""
    match ctx.args:
        case ["-o", "lstart=", "-p", pid] if pid.isdigit():
            started = _started(int(pid))
            if started is None:
                return 1
            ctx.out(time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(started)) + "\n")
            return 0
    raise ctx.not_simulated()


def _started(pid: int) -> float | None:
    """When the process of that number in this sandbox began, as the machine's clock has it."""
    machine = INSIDE / "proc"
    namespace = os.readlink(machine / "self/ns/pid")
    for folder in machine.glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns/pid") != namespace:
                continue
            numbers = re.search(r"^NSpid:(.*)$", (folder / "status").read_text(), re.MULTILINE)
            ticks = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            continue  # it has ended meanwhile, or is not ours to look at
        if numbers and int(numbers.group(1).split()[-1]) == pid:
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    return None


def dmesg(ctx: Context) -> int:
    """dmesg(8): what the kernel said since it started."""
    if ctx.args:
        raise ctx.not_simulated()
    ctx.out("".join(f"{line}\n" for line in part(ctx.host(ctx.store.read()), "dmesg", list[str])))
    return 0
