"""tls-answer.sh against the real stunnel with the server's configuration, and what f3s/verify/tls.py reads."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.pki.certificates import Identity, make_crl
from f3s.verify.tls import Fault, Outcome, TlsAnswer, parse_answer
from tests.files.stubs import FILES
from tests.templates.test_stunnel import ON_SERVER, revoked
from tests.templates.tunnel import NAMES, R0, SERVER, Ca, Tunnel, free_address


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(FILES / "once" / "tls-answer.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def ask(tunnel: Tunnel, address: tuple[str, int], pem: bytes, name: str = NAMES[0]) -> TlsAnswer:
    cert = tunnel.write("asking.pem", pem)
    ca = tunnel.write("ca-cert.pem", tunnel.ca.certificate())
    ran = run(address[0], str(address[1]), name, str(cert), str(ca))
    assert ran.returncode == 0, ran.stderr
    assert "Master-Key" not in ran.stdout
    assert "PRIVATE KEY" not in ran.stdout
    return parse_answer(ran.stdout.splitlines())


def test_it_lets_in_a_client_and_nobody_else(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    answer = ask(tunnel, server.address, tunnel.ca.issue(R0).pem())
    assert (answer.known, answer.stranger) == (Outcome.ACCEPTED, Outcome.REFUSED)
    assert answer.not_after is not None
    assert (answer.not_after - tunnel.ca.now).days == 825
    served = (tunnel.folder / "server.pem").read_bytes()
    assert answer.sha256 == x509.load_pem_x509_certificate(served).fingerprint(hashes.SHA256()).hex()
    assert tunnel.backend.received == b""


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (revoked, None),
        (lambda ca: Ca().issue(R0), None),
        (lambda ca: ca.issue(R0, 900), Fault.EXPIRED),
        (lambda ca: ca.issue(R0, -2), Fault.NOT_YET_VALID),
    ],
    ids=["revoked", "of another CA", "expired", "not yet valid"],
)
def test_a_client_that_is_refused(tunnel: Tunnel, make: Callable[[Ca], Identity], fault: Fault | None) -> None:
    identity = make(tunnel.ca)
    answer = ask(tunnel, tunnel.server(ON_SERVER).address, identity.pem())
    assert (answer.known, answer.stranger, answer.fault) == (Outcome.REFUSED, Outcome.REFUSED, fault)
    assert "alert" in answer.detail
    certificate = identity.certificate
    assert answer.own == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)


@pytest.mark.parametrize("fault", Fault)
def test_a_revocation_list_of_another_time_locks_everybody_out(
    tunnel: Tunnel, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = make_crl(tunnel.ca.identity, [], tunnel.ca.now + timedelta(days=2)).public_bytes(Encoding.PEM)
    crl = {Fault.EXPIRED: tunnel.ca.expired_crl(), Fault.NOT_YET_VALID: later}[fault]
    monkeypatch.setattr(tunnel.ca, "crl", lambda: crl)
    answer = ask(tunnel, tunnel.server(ON_SERVER).address, tunnel.ca.issue(R0).pem())
    assert (answer.known, answer.fault) == (Outcome.REFUSED, fault)
    assert answer.own is not None
    assert answer.own[0] < tunnel.ca.now < answer.own[1], "so it is the list"


def ask_fake(tunnel: Tunnel, identity: Identity) -> TlsAnswer:
    """What is answered where somebody with this certificate has the address."""
    host, port = tunnel.fake_server(identity).server_address[:2]
    return ask(tunnel, (str(host), int(port)), tunnel.ca.issue(R0).pem())


@pytest.mark.parametrize(("days_ago", "fault"), [(900, Fault.EXPIRED), (-2, Fault.NOT_YET_VALID)])
def test_a_server_with_a_certificate_of_another_time(tunnel: Tunnel, days_ago: int, fault: Fault) -> None:
    identity = tunnel.ca.issue(SERVER, days_ago)
    answer = ask_fake(tunnel, identity)
    assert (answer.known, answer.fault) == (Outcome.NOT_VERIFIED, fault)
    start, end = identity.certificate.not_valid_before_utc, identity.certificate.not_valid_after_utc
    assert answer.named == (end if fault is Fault.EXPIRED else start)


def test_a_server_of_another_name_or_ca_or_that_lets_in_everybody(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER)
    answer = ask(tunnel, server.address, tunnel.ca.issue(R0).pem(), "elsewhere")
    assert (answer.known, answer.fault) == (Outcome.NOT_VERIFIED, None)
    assert "hostname mismatch" in answer.detail
    assert ask_fake(tunnel, Ca().issue(SERVER)).known is Outcome.NOT_VERIFIED
    answer = ask_fake(tunnel, tunnel.ca.issue(SERVER))
    assert (answer.known, answer.stranger) == (Outcome.ACCEPTED, Outcome.ACCEPTED)


def test_nobody_has_the_address(tunnel: Tunnel) -> None:
    answer = ask(tunnel, free_address(), tunnel.ca.issue(R0).pem())
    assert (answer.known, answer.stranger) == (Outcome.UNREACHABLE, Outcome.UNREACHABLE)


def test_a_server_that_goes_away_in_the_middle_of_the_handshake(tunnel: Tunnel) -> None:
    def hang_up(listener: socket.socket) -> None:
        for _ in range(2):
            with listener.accept()[0] as connection:
                connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        answer = ask(tunnel, listener.getsockname(), tunnel.ca.issue(R0).pem())
        thread.join()
    assert (answer.known, answer.stranger) == (Outcome.UNREACHABLE, Outcome.UNREACHABLE)
    assert "unexpected eof" in answer.detail


def test_without_its_files_it_says_nothing_about_the_server(tmp_path: Path) -> None:
    ran = run("127.0.0.1", "1", "name", str(tmp_path / "no"), str(tmp_path / "no"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "is missing" in ran.stderr
    assert run("127.0.0.1").returncode == 64
