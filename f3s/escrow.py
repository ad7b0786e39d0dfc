"""Copies of the keys away from the sticks: all of them sealed in a file, and single ones on paper.

What is sealed is the input of files/once/write-keys.sh, a line for each key. OpenSSL opens it without this project:
``openssl enc`` what a passphrase seals, ``openssl cms`` what a certificate does (docs/runbook.md, All sticks lost).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from f3s.keys import KEY_BYTES, NAME, SUFFIX
from f3s.pki.store import Store

ITERATIONS = 600_000
"""Of PBKDF2 with SHA-256: what OWASP's Password Storage Cheat Sheet asks for."""
SHORTEST = 12
"""Characters of a passphrase."""
SALTED, SALT_BYTES = b"Salted__", 8
"""How a file of openssl-enc(1) begins: this word, then the salt."""
ROW_BYTES = 4
"""Of a key, in a row on paper."""
_NAME = rf"(?P<name>{NAME})\.key"
_LINE = re.compile(rf"write {_NAME} (?P<sha256>[0-9a-f]{{64}}) (?P<content>[A-Za-z0-9+/=]+)")
_TITLE = re.compile(_NAME)
_ROW = re.compile(r"(?P<number>[0-9])(?P<content>[0-9a-f]{8})(?P<check>[0-9a-f]{2})")


class EscrowError(Exception):
    """A copy that cannot be made or used; the text says why, and what to do."""


@dataclass(frozen=True)
class Copies:
    """Keys that somebody has kept, by name without ``.key``. where: of what, as an operator calls it."""

    where: str
    keys: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Export:
    """What is known of the sealed file without opening it. way: how it is sealed; keys: their SHA-256, by name."""

    way: str
    keys: Mapping[str, str]
    FILE: ClassVar = "keys.sealed"
    LIST: ClassVar = "keys.list"

    @classmethod
    def of(cls, store: Store) -> Export | None:
        """That of the secrets folder, None where there is none."""
        listed, there = store.read(cls.LIST), store.read(cls.FILE)
        if listed is None or there is None:
            return None
        way, *rows = listed.decode().splitlines()
        return cls(way, {name.removesuffix(SUFFIX): sha256 for sha256, name in map(str.split, rows)})

    def write(self, store: Store, content: bytes) -> None:
        """Replaces it; the list comes last, so a run that is killed in between only does it again."""
        rows = [f"{sha256}  {name}{SUFFIX}" for name, sha256 in self.keys.items()]
        with store.locked():
            store.write(self.FILE, content)
            store.write(self.LIST, "\n".join([self.way, *rows, ""]).encode())


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def line(name: str, key: bytes, verb: str = "write") -> str:
    """A key for files/once/write-keys.sh."""
    return f"{verb} {name}{SUFFIX} {digest(key)} {base64.b64encode(key).decode()}"


def _text(keys: Mapping[str, bytes]) -> bytes:
    return "".join(f"{line(name, key)}\n" for name, key in sorted(keys.items())).encode()


def sealed(keys: Mapping[str, bytes], passphrase: str) -> bytes:
    """A file that opens with ``openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000``.

    :raises EscrowError: the passphrase is too short
    """
    if len(passphrase) < SHORTEST:
        raise EscrowError(f"the passphrase has to have at least {SHORTEST} characters")
    salt = os.urandom(SALT_BYTES)
    padder, encryptor = padding.PKCS7(128).padder(), _cipher(passphrase, salt).encryptor()
    content = padder.update(_text(keys)) + padder.finalize()
    return SALTED + salt + encryptor.update(content) + encryptor.finalize()


def sealed_for(keys: Mapping[str, bytes], certificate: bytes) -> bytes:
    """A file for whoever has the private key of a certificate (PEM): ``openssl cms -decrypt -inform DER -inkey KEY``.

    :raises EscrowError: it is not a certificate with an RSA key
    """
    try:
        recipient = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise EscrowError(f"it is no certificate in PEM: {error}") from None
    if not isinstance(recipient.public_key(), RSAPublicKey):
        raise EscrowError("its key is not an RSA key, and only for one of those can a file be sealed")
    envelope = PKCS7EnvelopeBuilder().set_data(_text(keys)).add_recipient(recipient)
    envelope = envelope.set_content_encryption_algorithm(algorithms.AES256)
    return envelope.encrypt(Encoding.DER, [PKCS7Options.Binary])


def opened(content: bytes, passphrase: Callable[[], str]) -> dict[str, bytes]:
    """The keys, by name without ``.key``, of a copy: a file that a passphrase seals, what OpenSSL has got out of one,
    or rows typed from paper.

    + passphrase: gives it; called only where there is one

    :raises EscrowError: they cannot be read
    """
    if not content.startswith(SALTED):
        return _parsed(content)
    salt, rest = content[len(SALTED) :][:SALT_BYTES], content[len(SALTED) + SALT_BYTES :]
    try:
        decryptor, unpadder = _cipher(passphrase(), salt).decryptor(), padding.PKCS7(128).unpadder()
        padded = decryptor.update(rest) + decryptor.finalize()
        return _parsed(unpadder.update(padded) + unpadder.finalize())
    except (ValueError, EscrowError):
        raise EscrowError("the passphrase does not open it: it is not the right one, or the file is damaged") from None


def _cipher(passphrase: str, salt: bytes) -> Cipher[modes.CBC]:
    derived = PBKDF2HMAC(hashes.SHA256(), 32 + 16, salt, ITERATIONS).derive(passphrase.encode())
    return Cipher(algorithms.AES256(derived[:32]), modes.CBC(derived[32:]))


def paper(name: str, key: bytes) -> str:
    """A key to be written down: its name and rows of hex digits, each with its number and two digits that prove it."""
    parts = [key[start : start + ROW_BYTES] for start in range(0, len(key), ROW_BYTES)]
    rows = [f"{at} {part[:2].hex()} {part[2:].hex()} {_check(name, at, part)}" for at, part in enumerate(parts, 1)]
    return "\n".join([f"{name}{SUFFIX}", *rows, ""])


def _check(name: str, number: int, part: bytes) -> str:
    return digest(f"{name} {number} ".encode() + part)[:2]


def _parsed(content: bytes) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    name = ""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise EscrowError(
            "it is not a copy of keys. One for a certificate is opened by `openssl cms -decrypt -inform DER -in FILE "
            "-inkey KEY`, and what that prints is one"
        ) from None
    for text in filter(None, map(str.strip, lines)):
        if match := _LINE.fullmatch(text):
            key = base64.b64decode(match["content"])
            if digest(key) != match["sha256"]:
                raise EscrowError(f"{match['name']}{SUFFIX} in it is damaged")
            keys[match["name"]] = key
        elif match := _TITLE.fullmatch(text):
            name = match["name"]
            keys[name] = b""
        elif name:
            keys[name] += _row(name, len(keys[name]) // ROW_BYTES + 1, text)
        else:
            raise EscrowError(f"a line of it is neither a key nor the name of one: {text[:20]}...")
    if short := [name for name, key in keys.items() if len(key) != KEY_BYTES]:
        raise EscrowError(f"a key has {KEY_BYTES} bytes, and in it {short[0]}{SUFFIX} has {len(keys[short[0]])}")
    if not keys:
        raise EscrowError("it has no key in it")
    return keys


def _row(name: str, number: int, text: str) -> bytes:
    match = _ROW.fullmatch("".join(text.lower().split()))
    part = bytes.fromhex(match["content"]) if match else b""
    if match is None or int(match["number"]) != number or match["check"] != _check(name, number, part):
        raise EscrowError(f"row {number} of {name}{SUFFIX} is not as it was written: look at each digit of it")
    return part
