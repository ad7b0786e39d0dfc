"""Small programs whose answers differ between FreeBSD and Linux, or that know the virtual time."""

from __future__ import annotations

import calendar
import re
import time

from lab import clock
from lab.core import CommandError, Context
from lab.zrepl.daemon import plan_beats

FREEBSD_RELEASE = "13.2-RELEASE"
ROCKY_KERNEL = "5.14.0-503.14.1.el9_5.x86_64"


def uname(ctx: Context) -> int:
    """uname(1) with any of -a -s -n -r -m -p -K -U in one word or several."""
    cluster = ctx.store.read()
    host = ctx.host(cluster)
    freebsd = host.platform == "freebsd"
    fields = {
        "s": "FreeBSD" if freebsd else "Linux",
        "n": host.name,
        "r": FREEBSD_RELEASE if freebsd else ROCKY_KERNEL,
        "m": "amd64" if freebsd else "x86_64",
        "p": "amd64" if freebsd else "x86_64",
    }
    letters = "".join(arg[1:] if arg.startswith("-") else "?" for arg in ctx.args) or "s"
    if letters == "a":
        letters = "snrm"
    if any(letter not in fields for letter in letters):
        raise ctx.not_simulated()
    ctx.out(" ".join(value for letter, value in fields.items() if letter in letters) + "\n")
    return 0


def sleep(ctx: Context) -> int:
    """sleep(1): the virtual time goes on, and what is due in it happens."""
    if not ctx.args or not all(re.fullmatch(r"[0-9]*\.?[0-9]+", word) for word in ctx.args):
        raise ctx.not_simulated()
    clock.advance(ctx.store, sum(map(float, ctx.args)))
    with ctx.cluster():
        pass  # mounts may have changed meanwhile
    return 0


def ntpd(ctx: Context) -> int:
    """ntpd(8) with -gq: sets the clock once, whatever it was, and ends (the wording of ntp_util.c and ntpd.c)."""
    if ctx.args != ["-gq"]:
        raise ctx.not_simulated()
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        ctx.out(f"ntpd: time set {-host.clock_offset:+f}s\n")
        host.clock_offset = 0.0
        plan_beats(ctx.store, cluster, host)
    return 0


def date(ctx: Context) -> int:
    """date(1) of the host's clock: ``+FORMAT``, ``-u``, and FreeBSD's ``-r SECONDS``, ``-j -f FORMAT DATE``, and
    ``-f %s SECONDS``, which sets it."""
    cluster = ctx.store.read()
    now = cluster.time_on(ctx.host(cluster))
    fmt = "%a %b %e %H:%M:%S UTC %Y"
    args = list(ctx.args)
    while args:
        arg = args.pop(0)
        if arg in ("-u", "-j"):
            continue
        if arg == "-r" and args and args[0].isdigit():
            now = float(args.pop(0))
        elif arg == "-f" and len(args) > 1 and "-j" in ctx.args:
            form, given = args.pop(0), args.pop(0)
            try:
                now = calendar.timegm(time.strptime(given, form.replace("%e", "%d").replace("%T", "%H:%M:%S")))
            except ValueError:
                said = f"Failed conversion of ``{given}'' using format ``{form}''\ndate: illegal time format"
                raise CommandError(f"date: {said}") from None
        elif arg == "-f" and len(args) == 2 and args.pop(0) == "%s":
            now = float(args.pop())
            with ctx.cluster() as cluster:
                host = ctx.host(cluster)
                host.clock_offset = now - cluster.now
                plan_beats(ctx.store, cluster, host)
        elif arg.startswith("+"):
            fmt = arg[1:]
        else:
            raise ctx.not_simulated()
    ctx.out(time.strftime(fmt.replace("%s", str(int(now))), time.gmtime(now)) + "\n")
    return 0
