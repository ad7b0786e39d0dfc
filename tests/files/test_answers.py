"""answers: the bytes that it sends, and what it makes of every reply, also of silence."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost
from tests.files.tcp import server

MARKER = "nfs.DO_NOT_REMOVE"
XID = b"f3s1"
CLOSED = "nfsd does not answer on 127.0.0.1:2049\n"


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def opaque(data: bytes) -> bytes:
    return words(len(data)) + data + bytes(-len(data) % 4)


def record(message: bytes) -> bytes:
    return words(0x80000000 | len(message)) + message


def question(name: str) -> bytes:
    """From RFC 5531 and 7530: AUTH_SYS is 1, PUTROOTFH 24, SAVEFH 32, LOOKUP 15, GETATTR 9, the attribute fsid 8."""
    auth_sys = words(0) + opaque(b"") + words(0, 0, 0)  # stamp, machine, uid, gid, no groups
    call = XID + words(0, 2, 100003, 4, 1) + words(1) + opaque(auth_sys) + words(0) + opaque(b"")
    operations = words(24) + words(32) + words(15) + opaque(name.encode()) + words(9) + words(1, 1 << 8)
    return record(call + opaque(b"") + words(0) + words(4) + operations)


def accepted(body: bytes, status: int = 0) -> bytes:
    return record(XID + words(1, 0, 0, 0, status) + body)


def fsid(major: int, minor: int) -> bytes:
    attributes = struct.pack(">QQ", major, minor)
    return accepted(words(0, 0, 4) + words(24, 0, 32, 0, 15, 0, 9, 0) + words(1, 1 << 8) + opaque(attributes))


RIGHT = fsid(0x2900FF10, 0x29)
NOENT = accepted(words(2, 0, 3) + words(24, 0, 32, 0, 15, 2))
REFUSES = f"nfsd refuses {MARKER} of its NFSv4 root"
REPLIES = [
    # as `mount -v` shows them: the bytes of two words in memory, of a little-endian machine
    (RIGHT, 0, "10ff002929000000\n"),
    (fsid(0x2901FF02, 0x29), 0, "02ff012929000000\n"),
    (NOENT, 1, f"{REFUSES}, status 2\n"),
    (accepted(words(10013, 0, 2) + words(24, 0, 32, 10013)), 1, f"{REFUSES}, status 10013\n"),
    # PROG_MISMATCH: it has versions 2 and 3 only
    (accepted(words(2, 3), status=2), 1, None),
    # MSG_DENIED, AUTH_ERROR, AUTH_TOOWEAK
    (record(XID + words(1, 1, 1, 5)), 1, None),
    (b"HTTP/1.1 400 Bad Request\r\n", 1, None),
    (b"", 3, CLOSED),
]


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    host = StubHost(tmp_path)
    host.command("timeout", 'exec /usr/bin/timeout "$@"')
    return host


def ask(host: StubHost, *arguments: str, port: int = 2049) -> Result:
    program = host.install(FILES / "freebsd" / "answers.sh", "/usr/local/libexec/f3s/answers")
    text = program.read_text().replace("WAIT=5", "WAIT=1").replace("THINK=2", "THINK=0.2")
    program.write_text(text.replace("127.0.0.1 2049", f"127.0.0.1 {port}"))
    return host.run(program, *arguments)


def replies(host: StubHost, reply: bytes) -> None:
    """A nc that keeps what it was given and has this reply."""
    (host.bin / "reply").write_bytes(reply)
    host.command("nc", f'cat >"$STATE/sent"; cat {host.bin}/reply')


@pytest.mark.parametrize("name", [MARKER, "a", "abcd", "x" * 255])
def test_the_question(host: StubHost, name: str) -> None:
    replies(host, RIGHT)
    assert ask(host, "nfs", name).rc == 0
    assert (host.bin.parent / "state" / "sent").read_bytes() == question(name)
    assert host.calls("nc") == [["-N", "-w", "1", "127.0.0.1", "2049"]]


@pytest.mark.parametrize(("reply", "rc", "said"), REPLIES)
def test_the_reply(host: StubHost, reply: bytes, rc: int, said: str | None) -> None:
    replies(host, reply)
    result = ask(host, "nfs", MARKER)
    assert (result.rc, result.err) == (rc, "")
    assert result.out == said or (said is None and result.out.startswith("nfsd refuses "))


def nc() -> str:
    """OpenBSD's, which FreeBSD has."""
    found = shutil.which("nc.openbsd") or shutil.which("nc")
    if found is None or "-N" not in subprocess.run([found, "-h"], capture_output=True, text=True, check=False).stderr:
        pytest.skip("there is no nc that knows -N")
    return found


def test_a_real_server_through_a_real_nc(host: StubHost) -> None:
    host.command("nc", f'exec {nc()} "$@"')
    seen = bytearray()

    def answer(connection: socket.socket) -> None:
        while data := connection.recv(4096):  # to its end: nc says that nothing follows
            seen.extend(data)
        connection.sendall(RIGHT[:30])
        time.sleep(0.1)
        connection.sendall(RIGHT[30:])

    with server(answer) as port:
        assert ask(host, "nfs", MARKER, port=port) == Result(0, "10ff002929000000\n", "")
    assert bytes(seen) == question(MARKER)
    assert ask(host, "nfs", MARKER, port=port) == Result(3, CLOSED, ""), "connection refused"


def test_silence_is_bounded(host: StubHost) -> None:
    host.command("nc", f'exec {nc()} "$@"')
    released = threading.Event()
    with server(lambda _: released.wait(30)) as port:
        assert ask(host, "nfs", MARKER, port=port) == Result(3, CLOSED, "")
        released.set()


@pytest.mark.parametrize(
    ("body", "rc", "said"),
    [
        ("echo '-----BEGIN CERTIFICATE-----'; exit 1", 0, ""),  # its verdict on the chain does not count
        ("echo 'connect:errno=111' >&2; exit 1", 3, "stunnel does not answer on 127.0.0.1:2323\n"),
        ("exec /bin/sleep 20", 3, "stunnel does not answer on 127.0.0.1:2323\n"),
    ],
)
def test_the_tunnel(host: StubHost, body: str, rc: int, said: str) -> None:
    host.command("openssl", body)
    assert ask(host, "tls", "2323") == Result(rc, said, "")
    assert host.calls("openssl") == [["s_client", "-connect", "127.0.0.1:2323"]]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_real_tunnel(host: StubHost, tmp_path: Path) -> None:
    host.command("openssl", f'exec {shutil.which("openssl")} "$@"')
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x".split()
    subprocess.run([*made, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert ask(host, "tls", port).rc == 3, "it accepts and says nothing"
    serve = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            while b"ACCEPT" not in process.stdout.readline():
                assert process.poll() is None
            assert ask(host, "tls", port) == Result(0, "", "")
        finally:
            process.terminate()
    assert ask(host, "tls", port).rc == 3, "connection refused"


@pytest.mark.parametrize("arguments", [(), ("nfs",), ("tls",), ("nfs", "a", "b"), ("what", "2323")])
def test_usage(host: StubHost, arguments: tuple[str, ...]) -> None:
    assert ask(host, *arguments) == Result(64, "", "usage: answers nfs NAME | tls PORT | record ADDRESS:PORT NAME\n")
