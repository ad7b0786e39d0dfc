from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from f3s.escrow import EscrowError, Export, digest, line, opened, paper, sealed, sealed_for
from f3s.pki.store import Store

KEYS = {"f0.lan.buetow.org:zdata": bytes(range(32)), "own": bytes(range(100, 132)), "schlüssel": bytes(32)}
LINES = [line(name, key) for name, key in KEYS.items()]
WORDS = "correct horse battery"


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *words], capture_output=True, check=True, text=True).stdout


def nobody_is_asked() -> str:
    raise AssertionError("it needs no passphrase")


@pytest.fixture
def escrow(tmp_path: Path) -> Path:
    """A folder with a certificate and its key."""
    words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=escrow")
    openssl(*words, "-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem")
    return tmp_path


def test_what_a_passphrase_seals_is_opened_here_and_by_the_lines_of_the_runbook(tmp_path: Path) -> None:
    content = sealed(KEYS, WORDS)
    assert opened(content, lambda: WORDS) == KEYS
    (tmp_path / "keys.sealed").write_bytes(content)
    runbook = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
    (lines,) = re.findall(r"^openssl enc .*?(?=^```)", runbook, re.DOTALL | re.MULTILINE)
    typed = lines.replace("-in keys", f"-pass 'pass:{WORDS}' -in keys").replace("/keys/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", typed], cwd=tmp_path, check=True)
    assert {file.stem: file.read_bytes() for file in tmp_path.glob("*.key")} == KEYS


def test_openssl_alone_opens_what_is_for_a_certificate_and_that_is_a_copy_as_well(escrow: Path) -> None:
    (file := escrow / "keys.sealed").write_bytes(sealed_for(KEYS, (escrow / "certificate.pem").read_bytes()))
    out = openssl("cms", "-decrypt", "-inform", "DER", "-in", file, "-inkey", escrow / "key.pem")
    assert out.splitlines() == LINES
    assert opened(out.encode(), nobody_is_asked) == KEYS
    with pytest.raises(EscrowError, match="openssl cms -decrypt"):
        opened(file.read_bytes(), nobody_is_asked)


def test_the_same_keys_are_never_sealed_in_the_same_way() -> None:
    assert sealed(KEYS, WORDS) != sealed(KEYS, WORDS)


def test_a_wrong_passphrase_and_a_damaged_file_say_so() -> None:
    content = sealed(KEYS, WORDS)
    for wrong in range(3):
        with pytest.raises(EscrowError, match="not the right one, or the file is damaged"):
            opened(content, lambda words=f"{WORDS}{wrong}": words)  # type: ignore[misc]
    turned = bytes([content[40] ^ 1])
    for damaged in (content[:-16], content[:-1], content[:16], content[:40] + turned + content[41:]):
        with pytest.raises(EscrowError, match="not the right one, or the file is damaged"):
            opened(damaged, lambda: WORDS)


def test_a_short_passphrase_seals_nothing() -> None:
    with pytest.raises(EscrowError, match="at least 12 characters"):
        sealed(KEYS, "short")


def test_only_for_a_certificate_with_an_rsa_key(escrow: Path) -> None:
    words = ("req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", "/dev/null")
    with pytest.raises(EscrowError, match="not an RSA key"):
        sealed_for(KEYS, openssl(*words).encode())
    with pytest.raises(EscrowError, match="no certificate in PEM"):
        sealed_for(KEYS, b"x")


def test_paper_has_a_key_and_knows_a_slip_of_the_pen() -> None:
    ((name, key), *_) = KEYS.items()
    written = paper(name, key)
    assert written.splitlines()[:2] == [f"{name}.key", "1 0001 0203 1a"]
    assert opened(written.upper().replace(name.upper() + ".KEY", name + ".key").encode(), nobody_is_asked) == {
        name: key
    }
    rows = written.splitlines()
    for changed, said in (
        ([*rows[:3], rows[3].replace("08", "80"), *rows[4:]], "row 3"),
        ([rows[0], rows[2], rows[1], *rows[3:]], "row 1"),
        ([*rows[:-1], "8 1c1d"], "row 8"),
        (rows[:-1], "in it .* has 28"),
        (rows[1:], "neither a key nor the name of one"),
        ([], "no key in it"),
    ):
        with pytest.raises(EscrowError, match=said):
            opened("\n".join(changed).encode(), nobody_is_asked)


def test_a_line_that_was_damaged_gives_no_key() -> None:
    with pytest.raises(EscrowError, match=r"own\.key in it is damaged"):
        opened(LINES[1].replace("ZGVm", "ZGVn").encode(), nobody_is_asked)


def test_what_an_export_has_is_known_without_opening_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "secrets")
    with store.locked():
        pass
    assert Export.of(store) is None
    made = Export("with a passphrase", {name: digest(key) for name, key in KEYS.items()})
    made.write(store, sealed(KEYS, WORDS))
    assert Export.of(store) == made
    assert not any(key in b"".join(file.read_bytes() for file in store.folder.iterdir()) for key in KEYS.values())
    (store.folder / Export.FILE).unlink()
    assert Export.of(store) is None
