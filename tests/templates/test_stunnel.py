"""The rendered configurations under the real stunnel: what gets through, what is refused, what a reload does."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from f3s.connections import LOG_LINES, Connection, parse_connections, to_end
from f3s.pki.certificates import Identity, Issued
from f3s.pki.manage import utc_now
from f3s.settings import HostSettings
from f3s.settings.model import Lan, Nfs, Part, Vip
from f3s.settings.model import Stunnel as Port
from f3s.stunnel import SERVICE, client_variables, server_variables
from tests.files.stubs import FILES, StubHost, render
from tests.templates.tunnel import (
    NAMES,
    PLAN,
    R0,
    R1,
    SERVER,
    Ca,
    Stunnel,
    Tunnel,
    connection,
    eventually,
    free_address,
    other_names,
    reaches,
    says_back,
)

PARTS: dict[str, Part] = {
    "lan": Lan.model_construct(address="192.168.1.130"),
    "vip": Vip.model_construct(address="192.168.1.138", names=NAMES),
    "stunnel": Port.model_construct(port=2323),
    "nfs": Nfs.model_construct(port=2049),
}
HOST = HostSettings("f0", frozenset({"freebsd", "storage"}), MappingProxyType(PARTS))
NOW = utc_now()
ON_SERVER, ON_CLIENT = server_variables(HOST), client_variables(HOST)


def test_the_configurations_are_those_of_the_site() -> None:
    server = render("stunnel-server.conf.j2", **ON_SERVER).splitlines()
    for line in (
        "accept = 192.168.1.138:2323",
        "accept = 127.0.0.1:2323",
        "accept = 192.168.1.130:2323",
        "setuid = stunnel",
        "setgid = stunnel",
        "pid = /var/run/stunnel/stunnel.pid",
        "CAfile = /usr/local/etc/stunnel/ca-cert.pem",
        "CRLfile = /usr/local/etc/stunnel/crl.pem",
        "verifyChain = yes",
        "requireCert = yes",
    ):
        assert server.count(line) == 1, line
    for line in ("cert = /usr/local/etc/stunnel/server.pem", "key = /usr/local/etc/stunnel/server.pem"):
        assert server.count(line) == 3, line
    assert server.count("sslVersionMin = TLSv1.2") == 3
    client = render("stunnel-client.conf.j2", **ON_CLIENT).splitlines()
    for line in (
        "client = yes",
        "accept = 127.0.0.1:2323",
        "connect = 192.168.1.138:2323",
        "cert = /etc/stunnel/client.pem",
        "CAfile = /etc/stunnel/ca-cert.pem",
        "verifyChain = yes",
        "checkHost = f3s-storage-ha",
        "sslVersionMin = TLSv1.2",
    ):
        assert client.count(line) == 1, line


def test_the_server_sets_no_tcp_option_that_freebsd_would_mistake() -> None:
    """stunnel's common.h: where SOL_TCP is missing, TCP_KEEPIDLE (256) is set as SO_OOBINLINE (256)."""
    options = [line for line in render("stunnel-server.conf.j2", **ON_SERVER).splitlines() if line.startswith("socket")]
    assert options == ["socket = l:SO_KEEPALIVE=1", "socket = r:SO_KEEPALIVE=1"]


def test_carries_data_both_ways(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    client = tunnel.client(ON_CLIENT, server.address, tunnel.ca.issue(R0))
    assert reaches(client.address, data=os.urandom(1_000_000))
    assert (tunnel.folder / "server.pid").read_text().strip() == str(server.process.pid)


def test_takes_tls_1_2_and_1_3(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    identity = tunnel.ca.issue(R0)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert reaches(server.address, tunnel.tls(identity, minimum_version=version, maximum_version=version))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_refuses_tls_1_1(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    old = ssl.TLSVersion.TLSv1_1
    context = tunnel.tls(tunnel.ca.issue(R0), minimum_version=old, maximum_version=old)
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"), connection(server.address, context):
        pass
    eventually(lambda: "unsupported protocol" in server.log(), "the refusal is in the log")
    assert tunnel.backend.received == b""


def revoked(ca: Ca) -> Identity:
    identity = ca.issue(R0)
    ca.revoke(identity)
    return identity


def test_the_controller_is_answered_without_a_certificate_on_loopback_alone(tunnel: Tunnel) -> None:
    assert ON_SERVER["alive"] == "127.0.0.1:2323"
    alive = free_address()
    server = tunnel.server(ON_SERVER, alive="{}:{}".format(*alive))
    assert reaches(alive, tunnel.tls(None))
    assert "LOG5[0]" not in server.log(), "not a line for each of these questions"
    assert not reaches(server.address, tunnel.tls(None)), "the one for clients asks for theirs"
    assert "Service [nfs] accepted connection" in server.log()


def test_the_other_host_is_told_what_the_controller_says_and_by_whom(tunnel: Tunnel) -> None:
    program = tunnel.write("control", b'#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    address = "{}:{}".format(*free_address())
    tunnel.server(ON_SERVER, record=address, control=str(program))
    ca = str(tunnel.folder / "server-ca.pem")
    script = (FILES / "freebsd/answers.sh").read_text().replace("/usr/local/etc/stunnel/ca-cert.pem", ca)
    for name, rc, said in ((NAMES[0], 0, "record\n"), ("other", 3, f"no answer from {address}\n")):
        asked = subprocess.run(["sh", "-c", script, "answers", "record", address, name], capture_output=True, text=True)
        assert (asked.returncode, asked.stdout) == (rc, said)


BAD_CLIENTS: dict[str, tuple[Callable[[Ca], Identity | None], str]] = {
    "no certificate": (lambda ca: None, "peer did not return a certificate"),
    "of another CA": (lambda ca: Ca().issue(R0), "certificate verify failed"),
    "revoked": (revoked, "certificate revoked"),
    "expired": (lambda ca: ca.issue(R0, days_ago=826), "certificate has expired"),
    "of the server": (lambda ca: ca.issue(SERVER), "purpose"),
}


@pytest.mark.parametrize(("make", "logged"), BAD_CLIENTS.values(), ids=BAD_CLIENTS.keys())
def test_the_server_refuses(tunnel: Tunnel, make: Callable[[Ca], Identity | None], logged: str) -> None:
    bad = make(tunnel.ca)
    server = tunnel.server(ON_SERVER)
    assert not reaches(server.address, tunnel.tls(bad), b"let me in")
    eventually(lambda: logged in server.log(), f"{logged!r} is in the log")
    assert tunnel.backend.received == b"", "not a byte reached the NFS server"
    assert reaches(server.address, tunnel.tls(tunnel.ca.issue(R1))), "a good one beside it is let in"


POSER = replace(R0, name="poser")
BAD_SERVERS: dict[str, tuple[Callable[[Ca], Identity], str]] = {
    "with a client's certificate that has its names": (lambda ca: ca.issue(other_names(POSER, PLAN)), "purpose"),
    "of another name": (
        lambda ca: ca.issue(other_names(SERVER, replace(PLAN, names=("elsewhere",)))),
        "Subject checks failed",
    ),
    "of another CA": (lambda ca: Ca().issue(SERVER), "certificate verify failed"),
    "expired": (lambda ca: ca.issue(SERVER, days_ago=826), "certificate has expired"),
}


@pytest.mark.parametrize(("make", "logged"), BAD_SERVERS.values(), ids=BAD_SERVERS.keys())
def test_the_client_refuses_a_server(tunnel: Tunnel, make: Callable[[Ca], Identity], logged: str) -> None:
    fake = tunnel.fake_server(make(tunnel.ca))
    client = tunnel.client(ON_CLIENT, fake.server_address, tunnel.ca.issue(R0))
    assert not reaches(client.address, data=b"a secret")
    eventually(lambda: logged in client.log(), f"{logged!r} is in the log")
    assert fake.handshakes >= 1
    assert fake.received == b"", "not a byte reached the false server"
    good = tunnel.fake_server(tunnel.ca.issue(SERVER))
    control = tunnel.client(ON_CLIENT, good.server_address, tunnel.ca.issue(R0), "control")
    assert reaches(control.address), "it is the certificate that makes the difference"


def served_serial(server_address: tuple[str, int], context: ssl.SSLContext) -> int:
    with connection(server_address, context) as link:
        assert isinstance(link, ssl.SSLSocket)
        certificate = link.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)


def test_a_reload_enforces_a_new_revocation_list(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    stolen, kept = tunnel.ca.issue(R0), tunnel.ca.issue(R1)
    r0 = tunnel.client(ON_CLIENT, server.address, stolen, "r0")
    r1 = tunnel.client(ON_CLIENT, server.address, kept, "r1")
    with connection(r1.address) as mount:
        assert says_back(mount)
        assert reaches(r0.address)
        tunnel.ca.revoke(stolen)
        tunnel.write("crl.pem", tunnel.ca.crl())
        server.reload()
        assert not reaches(r0.address, data=b"after the revocation")
        assert b"after the revocation" not in tunnel.backend.received
        assert says_back(mount)
        assert reaches(r1.address)


def open_connections(server: Stunnel) -> tuple[Connection, ...]:
    """As facts.stunnel.TunnelConnections has them: what sockstat(1) shows, and the log as syslogd(8) writes it."""
    listens = "{}:{}".format(*server.address)
    pid = server.process.pid
    shown = subprocess.run(
        ["ss", "-Htn", "state", "established", "src", listens], capture_output=True, text=True, check=True
    )
    ends = [line.split()[-2:] for line in shown.stdout.splitlines()]
    return parse_connections(
        [
            *("=== pid", str(pid), "=== sockets"),
            *(f"stunnel stunnel {pid} 3 tcp4 {local} {foreign}" for local, foreign in ends),
            "=== log",
            # the date of stunnel's own file is in the place of syslogd's
            *(f"stunnel[{pid}]: {line[20:]}" for line in server.log().splitlines() if re.search(LOG_LINES, line)),
            "=== whole",
        ],
        listens,
        SERVICE,
    )


def test_a_revocation_ends_the_connections_of_that_certificate_alone(tunnel: Tunnel, tmp_path: Path) -> None:
    """All of them from one address. tcpdrop(8) is played by ss(8), which needs root."""
    if os.geteuid() != 0 or shutil.which("ss") is None:
        pytest.skip("only root ends connections, with ss")
    server = tunnel.server(ON_SERVER)
    stolen, renewed, other = tunnel.ca.issue(R0), tunnel.ca.issue(R0), tunnel.ca.issue(R1)
    host = StubHost(tmp_path / "host")
    host.command("tcpdrop", f'{shutil.which("ss")} -HKtn src "$1:$2" dst "$3:$4"')
    end = host.install(FILES / "once" / "end-connections.sh", "/end-connections.sh")
    with contextlib.ExitStack() as links:
        open_as = {
            identity: [links.enter_context(connection(server.address, tunnel.tls(identity))) for _ in range(2)]
            for identity in (stolen, renewed, other)
        }
        assert all(says_back(link) for each in open_as.values() for link in each)
        tunnel.ca.revoke(stolen)
        tunnel.write("crl.pem", tunnel.ca.crl())
        server.reload()
        assert all(map(says_back, open_as[stolen])), "a reload alone keeps them"

        known = [*tunnel.ca.revoked, *(Issued(each.certificate.serial_number, "x", NOW) for each in (renewed, other))]
        endings = to_end(open_connections(server), known, {1})
        ports = {link.getsockname()[1] for link in open_as[stolen]}
        assert {int(each.client.rpartition(":")[2]) for each in endings} == ports
        words = [word for each in endings for word in (each.client, each.why)]
        done = host.run(end, str(tmp_path / "stamp"), *map(str, server.address), *words)
        assert done.rc == 0, done.err

        assert not any(map(says_back, open_as[stolen]))
        assert not reaches(server.address, tunnel.tls(stolen)), "nor does it come back"
        assert all(says_back(link) for identity in (renewed, other) for link in open_as[identity])
        eventually(lambda: len(open_connections(server)) == 4, "the four others are left")
        assert to_end(open_connections(server), known, {1}) == ()


def test_a_ticket_from_before_is_no_way_around_the_revocation_list(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    stolen = tunnel.ca.issue(R0)
    context = tunnel.tls(stolen, maximum_version=ssl.TLSVersion.TLSv1_2)
    with connection(server.address, context) as first:
        assert isinstance(first, ssl.SSLSocket)
        assert says_back(first)
        session = first.session
    with pytest.MonkeyPatch.context() as patch:
        wrap = context.wrap_socket
        patch.setattr(context, "wrap_socket", lambda plain, **given: wrap(plain, session=session, **given))
        with connection(server.address, context) as second:
            assert isinstance(second, ssl.SSLSocket)
            assert says_back(second)
            assert second.session_reused is False


def test_a_broken_file_at_a_reload_leaves_the_old_one_in_force(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    good = tunnel.tls(tunnel.ca.issue(R0))
    before = served_serial(server.address, good)
    tunnel.write("server.pem", b"not a certificate\n")
    server.process.send_signal(1)
    eventually(lambda: "Failed to reload the configuration file" in server.log(), "the reload is refused")
    assert served_serial(server.address, good) == before


if os.geteuid() == 0:  # only root can become somebody else; in CI the tests run as root

    def test_a_reload_reads_everything_as_the_user_of_the_daemon() -> None:
        """Why the server's key belongs to stunnel and not to root."""
        folder = Path(tempfile.mkdtemp(prefix="f3s-stunnel-"))
        nobody = pwd.getpwnam("nobody")
        tunnel = Tunnel(folder)
        try:
            shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
            server = tunnel.server(ON_SERVER, user="nobody", group=grp.getgrgid(nobody.pw_gid).gr_name)
            good = tunnel.tls(tunnel.ca.issue(R0))
            before = served_serial(server.address, good)

            renewed = tunnel.ca.issue(SERVER)
            tunnel.write("server.pem", renewed.pem())
            server.process.send_signal(1)
            eventually(lambda: "Failed to reload the configuration file" in server.log(), "root's key is refused")
            assert served_serial(server.address, good) == before

            (folder / "server.pem").chmod(0o400)
            for path in folder.iterdir():
                shutil.chown(path, nobody.pw_uid, nobody.pw_gid)
            server.reload()
            assert served_serial(server.address, good) == renewed.certificate.serial_number
        finally:
            tunnel.close()
            shutil.rmtree(folder)
