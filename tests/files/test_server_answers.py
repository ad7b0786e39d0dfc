"""The call of check-nfs-mount.sh through both real stunnels: what it tells of a broken path."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.monitor import monitor
from tests.templates.test_stunnel import ON_CLIENT, ON_SERVER
from tests.templates.tunnel import R0, Tunnel, free_address


class _Nfsd(socketserver.BaseRequestHandler):
    """Answers the NULL call with success (RFC 5531)."""

    def handle(self) -> None:
        data = self.request.recv(44, socket.MSG_WAITALL)
        if len(data) == 44:
            self.request.sendall(struct.pack(">I", 0x80000018) + data[4:8] + struct.pack(">5I", 1, 0, 0, 0, 0))


@pytest.fixture
def nfsd() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Nfsd) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def tunnel(tmp_path: Path) -> Iterator[Tunnel]:
    made = Tunnel(tmp_path)
    yield made
    made.close()


def call(address: tuple[str, int]) -> str:
    return str(monitor.server_answers(address[1], address[0]))


def test_the_server_answers_through_the_tunnel(tunnel: Tunnel, nfsd: str) -> None:
    server = tunnel.server(ON_SERVER, connect=nfsd)
    client = tunnel.client(ON_CLIENT, server.address, tunnel.ca.issue(R0))
    assert call(client.address) == ""


def test_a_revoked_certificate(tunnel: Tunnel, nfsd: str) -> None:
    identity = tunnel.ca.issue(R0)
    tunnel.ca.revoke(identity)
    server = tunnel.server(ON_SERVER, connect=nfsd)
    client = tunnel.client(ON_CLIENT, server.address, identity)
    assert "no NFS server answers" in call(client.address)
    assert "certificate revoked" in server.log()


def test_a_host_without_nfsd(tunnel: Tunnel) -> None:
    server = tunnel.server(ON_SERVER, connect="{}:{}".format(*free_address()))
    client = tunnel.client(ON_CLIENT, server.address, tunnel.ca.issue(R0))
    assert "no NFS server answers" in call(client.address)


def test_no_host_has_the_address(tunnel: Tunnel) -> None:
    client = tunnel.client(ON_CLIENT, free_address(), tunnel.ca.issue(R0))
    assert "no NFS server answers" in call(client.address)
    client.stop()
    assert "nothing accepts connections" in call(client.address)
