"""nc: to the nfsd of the same host, to see whether somebody listens, and as a stream from one host to another.

After contrib/netcat/netcat.c of FreeBSD: a listener takes one connection, for which it waits for ever, and hangs up
when both directions have ended; who cannot connect ends with 1 and says nothing without -v.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time

from lab.commands import rpc
from lab.commands.options import parse
from lab.core import INSIDE, CommandError, Context, Host, LabError, part
from lab.linux import waiting
from lab.net import model
from lab.rc.scripts import is_stopped, processes

RETRY_SECONDS = 0.2
"""Who tries once a second does so in virtual ones, and the other end is a program of the machine that has to start."""
REAL_SECONDS = 60.0
"""The two ends are programs of the machine, and run at the same time: nobody has to wait longer for the other one."""


def nc(ctx: Context) -> int:
    """``nc -N -w SECONDS 127.0.0.1 2049``: standard input is a call, what nfsd answers goes to standard output.

    ``nc -z -w SECONDS ADDRESS PORT``: 0 if another host listens there. ``nc -N -l -w ...`` sends standard input to the
    ``nc -d -w ...`` that connects.
    """
    options, names = parse(ctx, "Ndlw:z")
    if len(names) != 2 or "w" not in options:
        raise ctx.not_simulated()
    if set(options) == {"w", "z"}:
        return 0 if _accepts(ctx, names[0], int(names[1])) else 1
    if set(options) == {"N", "l", "w"}:
        return _send(ctx, *names)
    if set(options) == {"d", "w"}:
        return _receive(ctx, *names)
    if set(options) != {"N", "w"} or names != ["127.0.0.1", "2049"]:
        raise ctx.not_simulated()
    call = ctx.stdin.read()
    if not _listens(ctx.host(ctx.store.read())):
        return 1

    def goes_on() -> bool:
        return not is_stopped(ctx.host(ctx.store.read()), "nfsd")

    if not waiting.wait(ctx, float(options["w"]), goes_on, "nc"):
        return 0
    host = ctx.host(ctx.store.read())
    if not _listens(host):
        return 0  # it was killed meanwhile, and the connection with it
    ctx.stdout.write(rpc.answer(ctx.store, host, call))
    return 0


def _accepts(ctx: Context, address: str, port: int) -> bool:
    cluster = ctx.store.read()
    owner = model.address_owner(cluster, ctx.host(cluster), address)
    bound = part(owner, "sockets", dict[str, tuple[str, int]]) if owner else {}
    return any(number == port and at in ("", address) for at, number in bound.values())


def _listens(host: Host) -> bool:
    flags = host.parts["nfsd flags"] if processes(host).get("nfsd") else []
    address = flags[flags.index("-h") + 1] if "-h" in flags else "127.0.0.1"
    return "-t" in flags and address == "127.0.0.1"


def _send(ctx: Context, address: str, port: str) -> int:
    cluster = ctx.store.read()
    if model.address_owner(cluster, ctx.host(cluster), address) is not ctx.host(cluster):
        raise CommandError("nc: Can't assign requested address")
    if _accepts(ctx, address, int(port)):
        raise CommandError("nc: Address already in use")
    place = INSIDE / "state" / f"tcp-{address}-{port}"
    place.unlink(missing_ok=True)  # another nc does not keep it (SO_REUSEPORT)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        own = place.stat().st_ino
        listener.listen(1)
        listener.settimeout(REAL_SECONDS)
        try:
            link, _ = listener.accept()
        except TimeoutError:
            raise LabError("nobody has connected to nc -l: in reality it would wait for ever") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                if place.stat().st_ino == own:
                    place.unlink()
        with link, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            link.settimeout(REAL_SECONDS)
            while block := ctx.stdin.read(1 << 16):
                link.sendall(block)
            link.shutdown(socket.SHUT_WR)
            link.recv(1)
    return 0


def _receive(ctx: Context, address: str, port: str) -> int:
    cluster = ctx.store.read()
    if model.address_owner(cluster, ctx.host(cluster), address) is None:
        return 1
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(INSIDE / "state" / f"tcp-{address}-{port}"))
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(RETRY_SECONDS)
            return 1
        with link.makefile("rb") as stream:
            shutil.copyfileobj(stream, ctx.stdout)
    return 0
