"""pgrep, ps, ping, dmesg: what runs on a simulated FreeBSD host, and whom it can reach."""

from __future__ import annotations

import contextlib
import os
import re
import time

from lab import clock
from lab.commands.options import parse
from lab.core import INSIDE, CommandError, Context, part
from lab.net import model
from lab.rc.scripts import processes


def pgrep(ctx: Context) -> int:
    """pgrep(1) with -l -x -q of daemons by name, and ``-q -f`` of mountd by its arguments."""
    options, names = parse(ctx, "flqx")
    if len(names) != 1:
        raise ctx.not_simulated()
    host = ctx.host(ctx.store.read())
    if "f" in options:
        if set(options) != {"f", "q"} or not names[0].startswith("^/usr/sbin/mountd "):
            raise ctx.not_simulated()
        words = ["/usr/sbin/mountd", *host.parts.get("mountd flags", ()), "/etc/exports", "/etc/zfs/exports"]
        return 0 if processes(host).get("mountd") and re.search(names[0], " ".join(words)) else 1
    found = [(pid, name) for name, pids in processes(host).items() if matches(names[0], name, options) for pid in pids]
    if "q" not in options:
        for pid, name in sorted(found):
            ctx.out(f"{pid} {name}\n" if "l" in options else f"{pid}\n")
    return 0 if found else 1


def matches(pattern: str, name: str, options: dict[str, str]) -> bool:
    """Whether pgrep(1) with these options means the daemon of that name."""
    return bool(re.fullmatch(pattern, name)) if "x" in options else pattern in name


def ping(ctx: Context) -> int:
    """ping(8) -c COUNT -t SECONDS: an answer comes at once, none takes the whole time.

    With -M t the answer has the time since the boot here, and the time of day there (seen on 15.1; FreeBSD answers such
    a question unless net.inet.icmp.tstamprepl is 0).
    """
    options, names = parse(ctx, "c:t:M:")
    if len(names) != 1 or "c" not in options or options.get("M", "t") != "t":
        raise ctx.not_simulated()
    cluster = ctx.store.read()
    other = model.address_owner(cluster, ctx.host(cluster), names[0])
    if other is None:
        clock.advance(ctx.store, float(options.get("t", "10")))
        ctx.out(f"{options['c']} packets transmitted, 0 packets received, 100.0% packet loss\n")
        raise CommandError("", 2)
    if "M" in options:
        since = cluster.now - ctx.host(cluster).boot_time
        own, theirs = (time.strftime("%T", time.gmtime(at)) for at in (since, cluster.time_on(other)))
        ctx.out(f"76 bytes from {names[0]}: icmp_seq=0 ttl=64 time=0.430 ms tso={own} tsr={theirs} tst={theirs}\n\n")
    ctx.out(f"{options['c']} packets transmitted, {options['c']} packets received, 0.0% packet loss\n")
    return 0


def ps(ctx: Context) -> int:
    """ps(1) -o lstart= -p PID, of a process of the program that runs it; of -o command= only that there is none."""
    match ctx.args:
        case ["-o", "command=", "-p", pid] if pid.isdigit() and _started(int(pid)) is None:
            return 1
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
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is not ours to look at
            own = re.search(rf"^NSpid:.*\t{pid}$", (folder / "status").read_text(), re.MULTILINE)
            if own and os.readlink(folder / "ns/pid") == namespace:
                ticks = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
                return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    return None


def dmesg(ctx: Context) -> int:
    """dmesg(8): what the kernel said since it started."""
    if ctx.args:
        raise ctx.not_simulated()
    ctx.out("".join(f"{line}\n" for line in part(ctx.host(ctx.store.read()), "dmesg", list[str])))
    return 0
