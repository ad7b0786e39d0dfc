"""The two stunnel configurations from the settings, and what its daemon has read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from f3s.nfs import PORT as NFS_PORT
from f3s.parsing import UnknownOutput
from f3s.pki.credentials import CA_CERTIFICATE, CRL, identity_file
from f3s.pki.plan import SERVER
from f3s.settings import HostSettings
from f3s.textfile import NoPlace, block, ended, split_at_blocks

SERVER_FOLDER = "/usr/local/etc/stunnel"
SERVER_CONFIG = f"{SERVER_FOLDER}/stunnel.conf"
"""Where FreeBSD's rc script looks when ``stunnel_config`` is not set (security/stunnel/files/stunnel.in)."""
SERVER_USER = "stunnel"
RUN_FOLDER = "/var/run/stunnel"
PID_FILE = f"{RUN_FOLDER}/stunnel.pid"
RELOAD_STAMP = "/var/run/f3s-stunnel-reloaded"
"""Not in RUN_FOLDER, which is stunnel's: root does not write where another user may put a link."""
ENDED_STAMP = "/var/run/f3s-stunnel-ended"
"""As old as the last look at the connections that a revocation ends."""
SERVICE = "nfs"
"""Of templates/stunnel-server.conf.j2, for clients."""

SERVER_FILES = {
    "cert_file": f"{SERVER_FOLDER}/server.pem",
    "ca_file": f"{SERVER_FOLDER}/ca-cert.pem",
    "crl_file": f"{SERVER_FOLDER}/crl.pem",
}
"""Of certificates, as templates/stunnel-server.conf.j2 calls them."""

CONTROL = "/usr/local/libexec/f3s/storage-control"
"""The controller (f3s/controller.py), which tells the other host who may write."""

CLIENT_FOLDER = "/etc/stunnel"
CLIENT_CONFIG = f"{CLIENT_FOLDER}/stunnel.conf"
CLIENT_FILES = {"cert_file": f"{CLIENT_FOLDER}/client.pem", "ca_file": f"{CLIENT_FOLDER}/ca-cert.pem"}
PORT_UNIT = "f3s-tunnel-port.service"
"""Says who may connect to the client's end of the tunnel."""


def server_variables(host: HostSettings) -> dict[str, str]:
    """Values for templates/stunnel-server.conf.j2."""
    return {
        "user": SERVER_USER,
        "group": SERVER_USER,
        "pid_file": PID_FILE,
        "accept": f"{host.vip.address}:{host.stunnel.port}",
        "alive": f"127.0.0.1:{host.stunnel.port}",
        "record": f"{host.lan.address}:{host.stunnel.port}",
        "control": CONTROL,
        "connect": f"127.0.0.1:{NFS_PORT}",
        **SERVER_FILES,
    }


def client_variables(host: HostSettings) -> dict[str, str]:
    """Values for templates/stunnel-client.conf.j2.

    The user is nobody, as Red Hat's documentation of stunnel has it: the package brings no account of its own. The
    key is read before that, so its file belongs to root; a change takes a restart, a reload could not read it.
    """
    return {
        "user": "nobody",
        "group": "nobody",
        "accept": f"127.0.0.1:{host.stunnel.port}",
        "connect": f"{host.vip.address}:{host.stunnel.port}",
        **CLIENT_FILES,
        "server_name": host.vip.names[0],
    }


def port_rules(host: HostSettings) -> str:
    """What nft(8) is told of the client's end of the tunnel: a table of its own is taken away, and made anew if wanted.

    A connection to it is root on the data: who speaks NFS through the tunnel says himself who he is.
    """
    rules = "add table inet f3s; delete table inet f3s"
    if host.client.tunnel_root_only:
        rules += (
            "; add table inet f3s { chain output { type filter hook output priority 0; policy accept; "
            f"ip daddr 127.0.0.0/8 tcp dport {host.stunnel.port} meta skuid != 0 reject with tcp reset; }}; }}"
        )
    return rules


def parse_attempt(lines: Sequence[str]) -> bool:
    """Whether bash could open a connection: it says `open`, or why not. Raises UnknownOutput on anything else."""
    if list(lines) == ["open"]:
        return True
    if any(line.endswith("Connection refused") for line in lines):
        return False
    raise UnknownOutput(f"an attempt to connect ended neither way: {list(lines)}")


def tls_question(client: HostSettings) -> dict[str, Any]:
    """The arguments of facts.tls.Tls: how the virtual IP answers to a client."""
    files = ("server_name", "cert_file", "ca_file")
    values = client_variables(client)
    return {"address": client.vip.address, "port": client.stunnel.port, **{name: values[name] for name in files}}


def secret_files(host: HostSettings) -> dict[str, str]:
    """Where the host has what of the secrets folder: path -> name there. Empty for a host without a tunnel."""
    if host.is_storage:
        values = server_variables(host)
        return {values["cert_file"]: identity_file(SERVER), values["ca_file"]: CA_CERTIFICATE, values["crl_file"]: CRL}
    if host.is_client:
        values = client_variables(host)
        return {values["cert_file"]: identity_file(host.name), values["ca_file"]: CA_CERTIFICATE}
    return {}


@dataclass(frozen=True)
class StunnelState:
    """`running`: as its rc script sees it; `stale`: files that changed since it started or was reloaded."""

    running: bool
    stale: tuple[str, ...] = ()


def parse_stunnel(lines: Sequence[str]) -> StunnelState:
    """Read the lines of facts.stunnel.Stunnel; raises UnknownOutput on others."""
    if lines == ["stopped"]:
        return StunnelState(running=False)
    if lines[:1] != ["running"] or not all(line.startswith("stale /") for line in lines[1:]):
        raise UnknownOutput(f"the state of stunnel is {lines!r}")
    return StunnelState(running=True, stale=tuple(line.removeprefix("stale ") for line in lines[1:]))


_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_OPTION = re.compile(r"^[ \t]*([^\s;#\[=][^\s=]*)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_REMARKS = re.compile(r"(?:^[ \t]*(?:[;#][^\n]*)?\n)+\Z", re.MULTILINE)
"""At the end of a service: they may be about the next one."""
_EARLIER = "Written by the deploy (tasks/"
"""In the first line when all of the file was the deploy's."""
_HARMLESS = {"debug", "output", "log", "syslog", "service", "fips", "compression", "options", "socket"} | {
    name.lower() for name in ("RNDbytes", "RNDfile", "RNDoverwrite", "EGD", "engine", "engineCtrl", "engineDefault")
}
"""What may stand above the first service without a change for ours. Of other options stunnel(8) makes defaults of every
service, as long as they are none that ours set for themselves."""


def merged(before: str, ours: str) -> str:
    """The text of a stunnel.conf with the deploy's options and services; the operator's stay byte for byte.

    A service on the tunnel's port that leads where ours do goes, as how-tos have it. So do the options above the
    services, if they are for none any more.

    ours: options and services, as the template has them

    Raises NoPlace where a line of the operator's excludes one of ours, by its option or service.
    """
    head, services = _split(ours)
    wanted, inside = _options(head), [_options(text) for _, text in services]
    listens = {options["accept"] for options in inside}
    leads = {_port(options["connect"]) for options in inside if "connect" in options}
    own = {option for options in inside for option in options}
    pieces = split_at_blocks(before, ";")
    # ours are two blocks; what the operator wrote behind the second one stays there
    above, theirs = _split("".join(pieces[:2]))
    behind, more = _split("".join(pieces[2:]))
    names = set(dict(services))
    kept, last = ("".join(_kept(*each, names, listens, leads) for each in part) for part in (theirs, more))
    if _EARLIER in above.partition("\n")[0] or (theirs and not _split(kept + behind + last)[1]):
        above = ""
    for name, value in _options(above).items():
        if name in wanted and value != wanted[name]:
            raise NoPlace(
                f"`{name} = {value}` above its services has to be {wanted[name]} for the service of this deploy"
            )
        if name not in (*wanted, *own, *_HARMLESS):
            raise NoPlace(
                f"`{name} = {value}` above its services would be for the service of this deploy, too: move it into the "
                "services that need it"
            )
    blocks = [block(text.splitlines(), ";") for text in (head, "".join(text for _, text in services))]
    return blocks[0] + ended(above + kept) + blocks[1] + behind + last


def _kept(name: str, body: str, names: Collection[str], listens: Collection[str], leads: Collection[str]) -> str:
    """What stays of a service of the operator's: all of it, or the remarks behind it where it does what ours do."""
    options = _options(body)
    accept = options.get("accept", "")
    if _port(accept) in map(_port, listens) and (accept in listens or ":" not in accept):
        if _port(options.get("connect", "")) in leads:
            return "".join(_REMARKS.findall(body))
        raise NoPlace(
            f"its service [{name}] accepts on {accept}, where this deploy's service does: give it another port"
        )
    if name in names:
        raise NoPlace(f"its service [{name}] has the name of one of this deploy: call it otherwise")
    return body


def others(before: str, ours: str) -> tuple[str, ...]:
    """The names of the operator's services, as `merged` keeps them; none where it refuses."""
    try:
        after = merged(before, ours)
    except NoPlace:
        return ()
    return tuple(name for name, _ in _split("".join(split_at_blocks(after, ";")))[1])


def services(text: str) -> dict[str, dict[str, str]]:
    """The services of a stunnel.conf with their own options, by name."""
    return {name: _options(part) for name, part in _split(text)[1]}


def _split(text: str) -> tuple[str, list[tuple[str, str]]]:
    """What is above the first service, and each service: its name, and its text with the header."""
    starts = [match.start() for match in _HEADER.finditer(text)]
    parts = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    return text[: starts[0]] if starts else text, [(part.partition("[")[2].partition("]")[0], part) for part in parts]


def _options(text: str) -> dict[str, str]:
    """The last value of each option, by its name in small letters: stunnel takes any case (options.c)."""
    return {name.lower(): value for name, value in _OPTION.findall(text)}


def _port(address: str) -> str:
    return address.rpartition(":")[2]
