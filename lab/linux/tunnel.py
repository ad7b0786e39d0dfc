"""The stunnel of a client: its service, and its listening port.

The port is a real one, in the network namespace that each command on a Linux host has of its own, so that a program
which speaks through the tunnel does so for real: whether an NFS server answers behind it follows from the cluster.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from pathlib import Path

from lab import clock
from lab.core import INSIDE, CommandError, Context, Host, Store, part
from lab.linux import nfs, tls
from lab.rc.scripts import new_pids, processes
from lab.rc.stunnel import services

CONFIG = Path("/etc/stunnel/stunnel.conf")
LISTENER = INSIDE / "ns" / "tunnel"
"""PID and port of the process that accepts connections in this namespace."""
CALL_BYTES = 44
SILENCE_SECONDS = 3.0
"""What check-nfs-mount.sh waits for the reply when no packet comes back: virtual time, so it is spent here."""


def main(ctx: Context) -> int:
    """stunnel(8) with the name of its configuration: it reads that, and goes on as a daemon."""
    if len(ctx.args) != 1 or ctx.args[0].startswith("-"):
        raise ctx.not_simulated()
    start(ctx, Path(ctx.args[0]))
    return 0


def start(ctx: Context, config: Path = CONFIG) -> None:
    """stunnel starts: configuration and files are read, the port is bound.

    :raises CommandError: with what stunnel says, less all that is no error (as recorded, section client)
    """
    if not config.exists():
        raise CommandError(f"[!] Cannot open configuration file: {config}")
    text = config.read_text()
    [(service, options), *others] = services(text).items()
    if others:
        raise ctx.not_simulated("with more than one service")
    for option in ("cert", "key", "CAfile", "CRLfile"):
        if option in options and not Path(options[option]).is_file():
            raise CommandError(f"[!] {option}: {options[option]}: No such file or directory (2)")
    if options.get("client") != "yes" or "accept" not in options or "connect" not in options:
        raise ctx.not_simulated("without client = yes, accept and connect")
    pem = Path(options["cert"]).read_text() if "cert" in options else ""
    key = Path(options["key"]).read_text() if "key" in options else pem
    if "cert" in options and (tls.BEGIN not in pem or "PRIVATE KEY-----" not in key):
        raise CommandError(
            "[!] error queue: error:0A080009:SSL routines::PEM lib\n"
            "[!] SSL_CTX_use_certificate_chain_file: error:0480006C:PEM routines::no start line\n"
            f"[!] Service [{service}]: Failed to initialize TLS context\n"
            "[!] Configuration failed"
        )
    address, _, port = options["accept"].rpartition(":")
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        host.parts["tls"] = tls.load(options, service)
        part(host, "sockets", dict[str, tuple[str, int]])["stunnel"] = (address, int(port))
        processes(host)["stunnel"] = new_pids(host, 1)


def stop(host: Host) -> None:
    """stunnel ends."""
    processes(host).pop("stunnel", None)
    part(host, "sockets", dict[str, tuple[str, int]]).pop("stunnel", None)
    host.parts.pop("tls", None)


def listen(host: Host) -> None:
    """Makes this namespace's port follow the host's stunnel."""
    wanted = part(host, "sockets", dict[str, tuple[str, int]]).get("stunnel")
    words = LISTENER.read_text().split() if LISTENER.exists() else []
    if words and (wanted is None or words[1] != str(wanted[1])):
        with contextlib.suppress(ProcessLookupError):
            _end(int(words[0]))
        LISTENER.unlink()
        words = []
    if wanted is None or words:
        return
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(wanted)
    listener.listen(16)
    pid = os.fork()
    if not pid:
        _serve(listener, wanted[1])
    listener.close()
    LISTENER.write_text(f"{pid} {wanted[1]}\n")


def _end(pid: int) -> None:
    """Kills a process and waits for its end: until then its port is taken (pidfd_open(2)).

    :raises ProcessLookupError: it has ended
    """
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [])
    finally:
        os.close(process)


def _serve(listener: socket.socket, port: int) -> None:
    """Accepts connections until the namespace ends or somebody ends this process."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        mine = listener.fileno()
        os.closerange(3, mine)
        os.closerange(mine + 1, 256)
        store, name = Store(), (INSIDE / "host").read_text().strip()
        while True:
            link, _ = listener.accept()
            with link, contextlib.suppress(OSError):
                _answer(store, name, port, link)
    finally:
        os._exit(1)


def _answer(store: Store, name: str, port: int, link: socket.socket) -> None:
    """One connection: an RPC call gets the reply of an NFS server to procedure NULL, or the connection is closed."""
    cluster = store.read()
    try:
        nfs.answering(store, cluster, cluster.hosts[name], port)
    except nfs.NoAnswer as error:
        if error.silent:
            clock.advance(store, SILENCE_SECONDS)
        return
    call = b""
    while len(call) < CALL_BYTES:
        more = link.recv(CALL_BYTES - len(call))
        if not more:
            return
        call += more
    # RFC 5531: record mark, xid, REPLY, MSG_ACCEPTED, empty AUTH_NONE verifier, SUCCESS
    link.sendall(bytes.fromhex("80000018") + call[4:8] + bytes.fromhex("00000001" + "00000000" * 4))
