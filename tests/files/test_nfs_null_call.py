"""files/rocky/nfs-null-call.sh against real sockets: a server that answers, and each way not to."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.files.stubs import FILES
from tests.files.tcp import server

SCRIPT = FILES / "rocky" / "nfs-null-call.sh"


def call(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(SCRIPT), "127.0.0.1", str(port)], capture_output=True, text=True, timeout=20, check=False
    )


def read_call(connection: socket.socket) -> tuple[int, ...]:
    """The fields of an RPC call with empty credentials: mark, xid, type, RPC version, program, version, procedure."""
    data = b""
    while len(data) < 44:
        data += connection.recv(44 - len(data))
    assert data[28:] == bytes(16)
    return struct.unpack(">7I", data[:28])


def test_the_call_is_nfs_version_4_null_and_its_reply_is_success() -> None:
    seen: list[tuple[int, ...]] = []

    def answer(connection: socket.socket) -> None:
        fields = read_call(connection)
        seen.append(fields)
        # accepted, no verifier, success (RFC 5531)
        connection.sendall(struct.pack(">7I", 0x80000018, fields[1], 1, 0, 0, 0, 0))

    with server(answer) as port:
        done = call(port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mark, _, *rest = seen[0]
    assert mark == 0x80000000 | 40
    assert rest == [0, 2, 100003, 4, 0]


def hang_up(connection: socket.socket) -> None:
    """stunnel whose far end is not there."""


def wrong_reply(connection: socket.socket) -> None:
    read_call(connection)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def short_reply(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">I", 0x80000018))


@pytest.mark.parametrize("handle", [hang_up, wrong_reply, short_reply])
def test_a_connection_without_an_answer(handle: Callable[[socket.socket], None]) -> None:
    with server(handle) as port:
        done = call(port)
    assert (done.returncode, done.stderr) == (1, "")
    assert "no NFS server answers through it" in done.stdout


def test_silence_is_bounded() -> None:
    released = threading.Event()
    with server(lambda connection: void(released.wait(15))) as port:
        begin = time.monotonic()
        assert call(port).returncode == 1
        assert time.monotonic() - begin < 8
        released.set()


def void(_: object) -> None:
    """For a callback whose value nobody wants."""


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = call(port)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == f"nothing accepts connections on 127.0.0.1 port {port}\n"


@pytest.mark.parametrize("arguments", [(), ("127.0.0.1",), ("127.0.0.1", "nfs"), ("127.0.0.1", "1", "2")])
def test_usage(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["/bin/bash", str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: ")
