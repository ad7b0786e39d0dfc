"""The two stunnel configurations from the settings, and what its daemon has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from f3s.nfs import PORT as NFS_PORT
from f3s.parsing import UnknownOutput
from f3s.pki.credentials import CA_CERTIFICATE, CRL, identity_file
from f3s.pki.plan import SERVER
from f3s.settings import HostSettings

SERVER_FOLDER = "/usr/local/etc/stunnel"
SERVER_CONFIG = f"{SERVER_FOLDER}/stunnel.conf"
"""Where FreeBSD's rc script looks when ``stunnel_config`` is not set (security/stunnel/files/stunnel.in)."""
SERVER_USER = "stunnel"
RUN_FOLDER = "/var/run/stunnel"
PID_FILE = f"{RUN_FOLDER}/stunnel.pid"
RELOAD_STAMP = "/var/run/f3s-stunnel-reloaded"
"""Not in RUN_FOLDER, which is stunnel's: root does not write where another user may put a link."""

CLIENT_FOLDER = "/etc/stunnel"
CLIENT_CONFIG = f"{CLIENT_FOLDER}/stunnel.conf"


def server_variables(host: HostSettings) -> dict[str, str]:
    """Values for templates/stunnel-server.conf.j2."""
    return {
        "user": SERVER_USER,
        "group": SERVER_USER,
        "pid_file": PID_FILE,
        "accept": f"{host.vip.address}:{host.stunnel.port}",
        "alive": f"127.0.0.1:{host.stunnel.port}",
        "connect": f"127.0.0.1:{NFS_PORT}",
        "cert_file": f"{SERVER_FOLDER}/server.pem",
        "ca_file": f"{SERVER_FOLDER}/ca-cert.pem",
        "crl_file": f"{SERVER_FOLDER}/crl.pem",
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
        "cert_file": f"{CLIENT_FOLDER}/client.pem",
        "ca_file": f"{CLIENT_FOLDER}/ca-cert.pem",
        "server_name": host.vip.names[0],
    }


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
