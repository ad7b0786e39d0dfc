"""The exact commands of operations/secrets.py for each state of the file, and that no output holds the secret."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyinfra.api.exceptions import OperationError
from pyinfra.api.hiddenvalue import HiddenValue

from f3s.pki.certificates import Identity, Profile, _builder, issue, make_ca, make_crl
from f3s.secretfile import ABSENT, SecretState
from facts.secrets import Certificates, SecretFile
from operations import secrets
from tests.operations import harness
from tests.operations.harness import Result
from tests.shell import words_of

SECRET = "-----BEGIN EC PRIVATE KEY-----\nMHc it's $(secret)\n"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
SCRIPT = (Path(__file__).parents[2] / "files" / "once" / "put-secret.sh").read_text()
PATH = "/etc/stunnel/it's me.pem"


def run(state: SecretState, **arguments: object) -> Result:
    given = {"path": PATH, "content": HiddenValue(SECRET), "mode": "0400", **arguments}
    return harness.run(secrets.file, {SecretFile: lambda path: {PATH: state}[path]}, **given)


def as_wanted(**changes: str) -> SecretState:
    return SecretState(**{"mode": "400", "user": "root", "group": "wheel", "sha256": DIGEST, **changes})


def test_no_change_says_what_it_found() -> None:
    assert run(as_wanted()) == Result([], [f"{PATH} has the wanted content, owner and mode"])


@pytest.mark.parametrize("state", [ABSENT, as_wanted(sha256="0" * 64), as_wanted(sha256="0" * 64, mode="644")])
def test_content_goes_over_standard_input_only(state: SecretState) -> None:
    done = run(state)
    assert done.noops == []
    [command] = done.commands
    words = words_of(command.get_raw_value())
    assert words == ["sh", "-c", SCRIPT.rstrip("\n"), "put-secret", PATH, DIGEST, "root", "wheel", "0400"]
    assert command.connector_arguments == {"_stdin": SECRET}
    assert "secret)" not in f"{command!s}{command!r}{command.get_raw_value()}"


def test_only_mode_and_owner_are_put_right_where_the_content_is() -> None:
    done = run(as_wanted(mode="644", user="stunnel"))
    assert [command.get_raw_value() for command in done.commands] == [
        "chmod 0400 '/etc/stunnel/it'\"'\"'s me.pem'",
        "chown root:wheel '/etc/stunnel/it'\"'\"'s me.pem'",
    ]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"path": "etc/x"}, "absolute"),
        ({"path": "-rf"}, "absolute"),
        ({"mode": "0640"}, "0640"),
        ({"mode": "0604"}, "0604"),
        ({"mode": "u=rw"}, "u=rw"),
        ({"user": "-R"}, "-R"),
        ({"group": "wheel:x"}, "wheel:x"),
        ({"content": HiddenValue("no newline")}, "newline"),
        ({"content": HiddenValue("")}, "newline"),
        ({"content": HiddenValue("a\0\n")}, "newline"),
    ],
)
def test_refuses(change: dict[str, object], names: str) -> None:
    with pytest.raises(OperationError, match=names) as caught:
        run(ABSENT, **change)
    assert "no newline" not in str(caught.value)


# -- certificates --

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CA = make_ca(100, NOW)
LEAF = issue(CA, Profile("r0", "r0", (), ExtendedKeyUsageOID.CLIENT_AUTH, 9), 171, NOW)
_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "by hand")])
MINE = (
    _builder(_name, _name, CA.key, NOW, 100)
    .serial_number(7)
    .add_extension(x509.SubjectKeyIdentifier(b"x"), critical=False)
    .sign(CA.key, hashes.SHA256())
)
PEM = MINE.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "foreign"),
    [
        (CA.certificate.public_bytes(Encoding.PEM), ""),
        (make_ca(9, NOW, number=12).certificate.public_bytes(Encoding.PEM), ""),
        (LEAF.pem(), ""),
        (make_crl(CA, [], NOW).public_bytes(Encoding.PEM), ""),
        (b"", ""),
        (
            PEM,
            f"the certificate of CN=by hand from CN=by hand with the SHA-256 {MINE.fingerprint(hashes.SHA256()).hex()}",
        ),
        (CA.certificate.public_bytes(Encoding.PEM) + PEM, "CN=by hand"),
        (make_crl(Identity(CA.key, MINE), [], NOW).public_bytes(Encoding.PEM), "a revocation list from CN=by hand"),
        (CA.pem()[:200], "nothing that can be read"),
        # what is cut off shows nothing of the key behind it
        (PEM[:300] + b"\n" + CA.pem()[:200], "nothing that can be read"),
    ],
)
def test_certificates_of_others_stay_unless_the_data_say_so(tmp_path: Path, content: bytes, foreign: str) -> None:
    path = tmp_path / "it's ca.pem"
    path.write_bytes(content)
    asked = Certificates()
    said = subprocess.run(["sh", "-c", asked.command([str(path), "/none"])], capture_output=True, text=True, check=True)
    assert "PRIVATE" not in said.stdout
    public = asked.process(said.stdout.splitlines())

    def certificates(replace: list[str]) -> Result:
        return harness.run(secrets.certificates, {Certificates: public}, [str(path), "/none"], replace)

    if not foreign:
        assert (certificates([]).commands, len(certificates([]).noops)) == ([], 1)
        return
    with pytest.raises(OperationError, match=r"it has .* in replace_files") as stopped:
        certificates([])
    assert foreign in str(stopped.value)
    done = certificates([str(path)])
    [command] = done.commands
    assert foreign in done.logs[0]
    subprocess.run(["sh", "-c", command.get_raw_value()], check=True)
    [copy] = tmp_path.glob("it's ca.pem.20*")
    assert (copy.read_bytes(), copy.stat().st_mode & 0o77, path.exists()) == (content, path.stat().st_mode & 0o77, True)
