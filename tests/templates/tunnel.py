"""Both ends of the tunnel on loopback: the rendered configurations under the real stunnel, and an echo server.

Only what has to differ on this machine is replaced in the variables of f3s/stunnel.py: addresses, paths, the user.
Every tunnel gets an address of its own out of 127.0.0.0/8, so that tests may run beside each other.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import itertools
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.pki.certificates import Identity, Issued, Profile, issue, make_ca, make_crl, profiles
from f3s.pki.manage import utc_now
from f3s.pki.plan import PkiPlan
from tests.files.stubs import render

NAMES = ("f3s-storage-ha", "f3s-storage-ha.lan")
PLAN = PkiPlan(names=NAMES, addresses=("192.168.1.138",), clients=("r0", "r1"))
SERVER, R0, R1 = profiles(PLAN).values()
BOUND = 20.0
"""Seconds after which a test gives up waiting for what should be there within milliseconds."""

_counter = itertools.count(1)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; fail after BOUND seconds."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"not within {BOUND} s: {what}"
        time.sleep(0.02)


def free_address() -> tuple[str, int]:
    """An address of 127.0.0.0/8 that belongs to this process, with the port of the site."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 8) % 128}.{pid % 256}.{next(_counter)}", 2323


class Ca:
    """A CA of the test, which may also issue what the real one would not."""

    def __init__(self) -> None:
        self.now = utc_now()
        self.identity = make_ca(3650, self.now)
        self.serials = itertools.count(1)
        self.revoked: list[Issued] = []

    def issue(self, profile: Profile, days_ago: int = 0) -> Identity:
        return issue(self.identity, profile, next(self.serials), self.now - timedelta(days=days_ago))

    def revoke(self, identity: Identity) -> None:
        certificate = identity.certificate
        self.revoked.append(Issued(certificate.serial_number, "x", certificate.not_valid_after_utc, self.now))

    def crl(self) -> bytes:
        return make_crl(self.identity, self.revoked, self.now).public_bytes(Encoding.PEM)

    def expired_crl(self) -> bytes:
        past = self.now - timedelta(days=3650)
        certificate = make_ca(3000, past, self.identity.key)
        return make_crl(certificate, self.revoked, past).public_bytes(Encoding.PEM)

    def certificate(self) -> bytes:
        return self.identity.certificate.public_bytes(Encoding.PEM)


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Backend)
        while data := self.request.recv(65536):
            self.server.received += data
            self.request.sendall(data)


class Backend(socketserver.ThreadingTCPServer):
    """Where the NFS server is on a host; sends back what it gets."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, _Echo)
        self.received = b""


class FakeServer(Backend):
    """A TLS server with some certificate at the place of the real one; would echo, too."""

    def __init__(self, address: tuple[str, int], pem: Path) -> None:
        super().__init__(address)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.handshakes = 0

    def get_request(self) -> tuple[socket.socket, object]:
        plain, peer = super().get_request()
        self.handshakes += 1
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that the client ends is what these tests are about; all else is still an error."""
        if not isinstance(sys.exception(), ssl.SSLError | ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Stunnel:
    """A running stunnel."""

    def __init__(self, folder: Path, name: str, config: str, address: tuple[str, int]) -> None:
        if shutil.which("stunnel") is None:
            pytest.skip("stunnel is not installed")
        self.address = address
        self.log_file = folder / f"{name}.log"
        self.config = folder / f"{name}.conf"
        if os.geteuid() != 0:  # setgroups(2) is for root only
            config = re.sub(r"(?m)^set[ug]id = .*\n", "", config)
        self.config.write_text(f"foreground = yes\noutput = {self.log_file}\n{config}")
        self.process = subprocess.Popen(["stunnel", self.config], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        eventually(self._is_up, f"{name} listens")

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read().decode())
        return "Configuration successful" in self.log() and self._listener() is not None

    def _listener(self) -> str | None:
        """The inode of the socket that accepts connections (proc_net(5)); stunnel makes a new one when it reloads."""
        host, port = self.address
        address = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines():
            words = line.split()
            if words[1] == address and words[3] == "0A":
                return words[9]
        return None

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def reload(self) -> None:
        """SIGHUP, and wait until it was taken or refused."""
        before, listener = len(self.log()), self._listener()
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: "Configuration successful" in self.log()[before:], "the reload is done")
        # said before the port is bound anew
        eventually(lambda: self._listener() not in (None, listener), "it listens again")

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=BOUND)


class Tunnel:
    """What a test needs at hand; everything that was started ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = Ca()
        self._ends = contextlib.ExitStack()
        self.backend = Backend()
        self._serve(self.backend)

    def close(self) -> None:
        self._ends.close()

    def _serve(self, server: Backend) -> None:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self._ends.callback(server.server_close)
        self._ends.callback(server.shutdown)

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path

    def server(self, variables: dict[str, str], **others: str) -> Stunnel:
        """The server end in front of the backend, with a new certificate; `others` replaces more variables."""
        address = free_address()
        host, port = self.backend.server_address[:2]
        self.write("server.pem", self.ca.issue(SERVER).pem())
        self.write("crl.pem", self.ca.crl())
        changed = {
            "pid_file": str(self.folder / "server.pid"),
            "accept": "{}:{}".format(*address),
            "alive": "{}:{}".format(*free_address()),
            "record": "{}:{}".format(*free_address()),
            "connect": f"{host!s}:{port}",
            "cert_file": str(self.folder / "server.pem"),
            "ca_file": str(self.write("server-ca.pem", self.ca.certificate())),
            "crl_file": str(self.folder / "crl.pem"),
            **others,
        }
        return self._start("server", "stunnel-server.conf.j2", variables, changed, address)

    def client(
        self, variables: dict[str, str], server: tuple[str, int], identity: Identity, name: str = "r0", **others: str
    ) -> Stunnel:
        """The client end, towards a server end; `others` replaces more variables."""
        address = free_address()
        changed = {
            "accept": "{}:{}".format(*address),
            "connect": "{}:{}".format(*server),
            "cert_file": str(self.write(f"{name}.pem", identity.pem())),
            "ca_file": str(self.write("client-ca.pem", self.ca.certificate())),
            **others,
        }
        return self._start(name, "stunnel-client.conf.j2", variables, changed, address)

    def fake_server(self, identity: Identity) -> FakeServer:
        server = FakeServer(free_address(), self.write("fake.pem", identity.pem()))
        self._serve(server)
        return server

    def _start(
        self, name: str, template: str, variables: dict[str, str], changed: dict[str, str], address: tuple[str, int]
    ) -> Stunnel:
        assert set(changed) <= set(variables)
        user = {"user": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
        stunnel = Stunnel(self.folder, name, render(template, **{**variables, **user, **changed}), address)
        self._ends.callback(stunnel.stop)
        return stunnel

    def tls(self, identity: Identity | None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """A TLS client of Python's that trusts the CA; with a client certificate or without."""
        context = ssl.create_default_context(cadata=self.ca.certificate().decode())
        if versions:
            context.set_ciphers("ALL:@SECLEVEL=0")
            for name, version in versions.items():
                setattr(context, name, version)
        if identity is not None:
            context.load_cert_chain(self.write(f"tls-{identity.certificate.serial_number}.pem", identity.pem()))
        return context


@contextlib.contextmanager
def connection(address: tuple[str, int], context: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
    """A connection, plain into the client end or by TLS into the server end."""
    with socket.create_connection(address, timeout=BOUND) as plain:
        if context is None:
            yield plain
        else:
            with context.wrap_socket(plain, server_hostname=NAMES[1]) as wrapped:
                yield wrapped


def says_back(link: socket.socket, data: bytes = b"a call to the server") -> bool:
    """Whether data comes back through the tunnel; False when the other side ends the connection."""
    try:
        link.sendall(data)
        got = b""
        while len(got) < len(data):
            part = link.recv(65536)
            if not part:
                return False
            got += part
    except (ConnectionError, ssl.SSLError):
        return False
    return got == data


def reaches(address: tuple[str, int], context: ssl.SSLContext | None = None, data: bytes = b"a call") -> bool:
    """Whether a new connection gets through to an echo."""
    try:
        with connection(address, context) as link:
            return says_back(link, data)
    except (ConnectionError, ssl.SSLError):
        return False


def other_names(profile: Profile, names: PkiPlan) -> Profile:
    """A profile with the names of another plan's server."""
    return replace(profile, alt_names=profiles(names)["server"].alt_names)
