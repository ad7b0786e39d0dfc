"""openssl: a TLS handshake with the stunnel that answers for an address and nothing after it, and the client's file."""

from __future__ import annotations

from lab import clock
from lab.core import Context
from lab.linux import tls, waiting
from lab.net import model
from lab.rc.scripts import is_stopped

WITH_VALUE = ("-connect", "-CAfile", "-verify_hostname", "-cert", "-key")
ALONE = ("-tls1_2", "-verify_return_error")
ALERTS = {10: (45, "certificate expired"), 12: (45, "certificate expired"), 9: (42, "bad certificate")}
ALERTS |= {11: (42, "bad certificate"), 23: (44, "certificate revoked")}
ALERTS |= dict.fromkeys((2, 18, 19, 20, 21), (48, "unknown ca"))
"""Verify error -> the alert that the other side gets (ssl_x509err2alert in OpenSSL's ssl/statem/statem_lib.c)."""
NO_CERTIFICATE = (40, "handshake failure")


def main(ctx: Context) -> int:
    """``openssl x509`` and ``openssl s_client`` as files/once/tls-answer.sh calls them.

    TLS 1.2, so the server's verdict is in the handshake.
    """
    if ctx.args[:2] == ["x509", "-in"] and len(ctx.args) == 3:
        ctx.out(tls.load({"cert": ctx.args[2]}).certificate)
        return 0
    if ctx.args[:1] != ["s_client"]:
        raise ctx.not_simulated()
    options: dict[str, str] = {}
    words = iter(ctx.args[1:])
    for word in words:
        if word in WITH_VALUE:
            options[word] = next(words)
        elif word in ALONE:
            options[word] = ""
        else:
            raise ctx.not_simulated(word)
    if set(ALONE) - set(options) or {"-connect", "-CAfile"} - set(options):
        raise ctx.not_simulated()
    mine = tls.load(
        {
            "verifyChain": "yes",
            "CAfile": options["-CAfile"],
            "checkHost": options.get("-verify_hostname", ""),
            **({"cert": options["-cert"]} if "-cert" in options else {}),
        }
    )
    cluster = ctx.store.read()
    address, _, port = options["-connect"].rpartition(":")
    server = model.address_owner(cluster, ctx.host(cluster), address)
    theirs = None if server is None else tls.answering(server, address, int(port))
    if theirs is None:
        # refused by the host, or nobody answers the question who has the address
        ctx.err("connect:errno=111\n" if server is not None else "connect:errno=113\n")
        return 1
    if (error := tls.refusal(ctx.store, cluster, mine, theirs, purpose="sslserver")) is not None:
        ctx.err(f"verify error:num={error[0]}:{error[1]}\n")
        return 1
    ctx.out(f"---\nServer certificate\n{theirs.certificate}---\n")
    alert = None
    if mine.certificate:
        error = tls.refusal(ctx.store, cluster, theirs, mine, purpose="sslclient")
        alert = ALERTS.get(error[0], (46, "certificate unknown")) if error else None
    elif theirs.options.get("requireCert") == "yes":
        alert = NO_CERTIFICATE
    if alert is not None:
        number, text = alert
        code = f"{0x0A000000 + 1000 + number:08X}"
        ctx.err(f"error:{code}:SSL routines:ssl3_read_bytes:sslv3 alert {text}:SSL alert number {number}\n")
        return 1
    return 0


def plain_client(ctx: Context) -> int:
    """``openssl s_client`` of a FreeBSD host with nothing to send, as files/freebsd/answers.sh calls it; tools.py has
    the rest: ``-connect 127.0.0.1:PORT``, and ``-quiet -connect ADDRESS:PORT`` to a service that runs a program.
    """
    if ctx.stdin.read(1):
        raise ctx.not_simulated()
    match ctx.args:
        case ["s_client", "-connect", target] if target.startswith("127.0.0.1:"):
            return _handshake(ctx, int(target.rpartition(":")[2]))
        case [
            "s_client",
            "-quiet",
            "-connect",
            target,
            "-CAfile",
            ca,
            "-verify_return_error",
            "-verify_hostname",
            name,
        ]:
            return _runs(ctx, target, ca, name)
    raise ctx.not_simulated()


def _runs(ctx: Context, target: str, ca: str, name: str) -> int:
    """What the program of stunnel's service there says (stunnel(8): exec)."""
    try:
        mine = tls.load({"verifyChain": "yes", "CAfile": ca, "checkHost": name})
    except FileNotFoundError:
        ctx.err(f"Could not open file or uri for loading certs of CAfile from {ca}\n")
        return 1
    address, _, port = target.rpartition(":")
    cluster = ctx.store.read()
    server = model.address_owner(cluster, ctx.host(cluster), address)
    if server is None or is_stopped(server, "stunnel"):
        waiting.wait(ctx, 75, lambda: False, "openssl s_client")  # nobody answers (tcp(4): keepinit)
        ctx.err("connect:errno=60\n")
        return 1
    theirs = tls.answering(server, address, int(port))
    if theirs is None:
        ctx.err("connect:errno=61\n")
        return 1
    if tls.refusal(ctx.store, cluster, mine, theirs, purpose="sslserver") is not None:
        return 1
    words = [theirs.options["exec"], *theirs.options["execArgs"].split()[1:]]
    ctx.out(clock.run(ctx.store, server.name, words).stdout.decode())
    return 0


def _handshake(ctx: Context, port: int) -> int:
    def stopped() -> bool:
        return is_stopped(ctx.host(ctx.store.read()), "stunnel")

    if tls.answering(ctx.host(ctx.store.read()), "127.0.0.1", port) and stopped():
        waiting.wait(ctx, None, lambda: not stopped(), "openssl s_client")
    end = tls.answering(ctx.host(ctx.store.read()), "127.0.0.1", port)
    if end is None:
        ctx.err("connect:errno=61\n")
        return 1
    ctx.out(f"CONNECTED(00000003)\n---\nServer certificate\n{end.certificate}---\nDONE\n")
    return 0
