"""The steps to a new CA under the real stunnel: hosts of one step and of the next understand each other.

The files are those that certificates.py makes; the server's stunnel is reloaded from step to step, as tasks/stunnel.py
does it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from f3s.pki.certificates import parse_identity
from f3s.pki.manage import Pki, utc_now
from f3s.pki.store import Store
from tests.templates.test_stunnel import ON_CLIENT, ON_SERVER, served_serial
from tests.templates.tunnel import PLAN, Stunnel, Tunnel, connection, reaches, says_back

STEPS = ("before", "renew ca", "use-new-ca", "drop-old-ca")
FILES = ("ca-cert.pem", "crl.pem", "server.pem", "client-r0.pem", "client-r1.pem")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of hosts after each step."""
    folder = tmp_path_factory.mktemp("pki")
    pki = Pki(Store(folder / "secrets"), replace(PLAN, hosts=("f0", "r0", "r1")), utc_now())
    actions = (pki.init, lambda: pki.renew("ca"), pki.use_new_ca, pki.drop_old_ca)
    kept = []
    for step, act in zip(STEPS, actions, strict=True):
        act()
        kept.append(folder / step)
        kept[-1].mkdir()
        for name in FILES:
            (kept[-1] / name).write_bytes((folder / "secrets" / name).read_bytes())
            (kept[-1] / name).chmod(0o600)
        digest = hashlib.sha256((folder / "secrets" / "ca-cert.pem").read_bytes()).hexdigest()
        pki.seen(dict.fromkeys(pki.plan.hosts, True), {"ca-cert.pem": digest})
    return kept


def brought(tunnel: Tunnel, step: Path) -> None:
    """The storage host gets the files of a step."""
    for name in ("ca-cert.pem", "crl.pem", "server.pem"):
        tunnel.write(f"on-server-{name}", (step / name).read_bytes())


def server_of(tunnel: Tunnel, step: Path) -> Stunnel:
    brought(tunnel, step)
    files = {"ca_file": "ca-cert.pem", "crl_file": "crl.pem", "cert_file": "server.pem"}
    return tunnel.server(ON_SERVER, **{key: str(tunnel.folder / f"on-server-{name}") for key, name in files.items()})


def client_of(tunnel: Tunnel, step: Path, server: Stunnel) -> Stunnel:
    identity = parse_identity((step / "client-r0.pem").read_bytes(), "client-r0.pem")
    return tunnel.client(ON_CLIENT, server.address, identity, step.name, ca_file=str(step / "ca-cert.pem"))


def tls(step: Path, pem: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=step / "ca-cert.pem")
    context.load_cert_chain(pem or step / "client-r0.pem")
    return context


def test_hosts_of_neighbouring_steps_understand_each_other_and_a_reload_drops_nobody(
    tunnel: Tunnel, folders: list[Path]
) -> None:
    server = server_of(tunnel, folders[0])
    clients = [client_of(tunnel, step, server) for step in folders]
    served = []
    with contextlib.ExitStack() as links:
        mount = links.enter_context(connection(clients[0].address))
        for on_server, step in enumerate(folders):
            if on_server:
                brought(tunnel, step)
                server.reload()
            serial = parse_identity((step / "server.pem").read_bytes(), "").certificate.serial_number
            served.append(served_serial(server.address, tls(step)))
            assert served[-1] == serial, "and what is served is of this step"
            let_in = [reaches(client.address) for client in clients]
            # those that are further apart show why no step may be left out
            assert let_in == [abs(on_server - on_client) <= 1 for on_client in range(len(folders))], step.name
            assert says_back(mount), "what is connected stays connected"
    assert served[1] != served[2], "from the second step on it is of the new CA"


@pytest.mark.parametrize("revoked_at", [1, 2])
def test_a_client_that_is_revoked_on_the_way_is_refused_with_what_it_has_of_either_ca(
    tunnel: Tunnel, tmp_path: Path, revoked_at: int
) -> None:
    pki = Pki(Store(tmp_path / "secrets"), PLAN, utc_now())
    steps = (pki.init, lambda: pki.renew("ca"), pki.use_new_ca)
    stolen = []
    for act in steps[: revoked_at + 1]:
        act()
        stolen.append(tunnel.write(f"stolen-{len(stolen)}.pem", (tmp_path / "secrets" / "client-r1.pem").read_bytes()))
    pki.revoke("r1")
    for act in (lambda: None, *steps[revoked_at + 1 :]):
        act()
        server = server_of(tunnel, tmp_path / "secrets")
        for pem in stolen:
            assert not reaches(server.address, tls(tmp_path / "secrets", pem))
        assert reaches(server.address, tls(tmp_path / "secrets"))
        server.stop()
        assert "certificate revoked" in server.log()
