"""openssl s_client: a TLS handshake with the stunnel that answers for an address, and nothing after it."""

from __future__ import annotations

from dataclasses import replace

from lab.core import Context, Host, part
from lab.linux import tls
from lab.net import model
from lab.rc.scripts import processes

WITH_VALUE = ("-connect", "-CAfile", "-verify_hostname", "-cert", "-key")
ALONE = ("-tls1_2", "-verify_return_error")
ALERT = "error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:SSL alert number 40"


def main(ctx: Context) -> int:
    """``openssl s_client`` as files/tls-answer.sh calls it: TLS 1.2, so the server's verdict is in the handshake."""
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
    theirs = None if server is None else _answers(server, address, int(port))
    if theirs is None:
        # refused by the host, or nobody answers the question who has the address
        ctx.err("connect:errno=111\n" if server is not None else "connect:errno=113\n")
        return 1
    if not tls.trusts(ctx.store, cluster, mine, theirs, purpose="sslserver"):
        nameless = replace(mine, options={**mine.options, "checkHost": ""})
        named = tls.trusts(ctx.store, cluster, nameless, theirs, purpose="sslserver")
        ctx.err(
            f"verify error:num={'62:hostname mismatch' if named else '20:unable to get local issuer certificate'}\n"
        )
        return 1
    ctx.out(f"---\nServer certificate\n{theirs.certificate}---\n")
    wanted = theirs.options.get("requireCert") == "yes"
    if (not mine.certificate and wanted) or (
        mine.certificate and not tls.trusts(ctx.store, cluster, theirs, mine, purpose="sslclient")
    ):
        ctx.err(f"{ALERT}\n")
        return 1
    return 0


def _answers(server: Host, address: str, port: int) -> tls.Loaded | None:
    """The stunnel of a host that listens at that address and port."""
    bound = part(server, "sockets", dict[str, tuple[str, int]]).get("stunnel")
    if not processes(server).get("stunnel") or not bound or bound[0] not in ("", address) or bound[1] != port:
        return None
    loaded: tls.Loaded | None = server.parts.get("tls")
    return loaded
