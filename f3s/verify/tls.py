"""The TLS answer on the virtual IP, asked by a client twice: with its own certificate, and with none."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from f3s.parsing import UnknownOutput, number, sections

TIMED_OUT = 124
"""Exit status of timeout(1)."""


class Outcome(enum.Enum):
    """How a handshake ended."""

    ACCEPTED = "accepted"
    REFUSED = "refused by the server"
    NOT_VERIFIED = "the server's certificate was not accepted"
    UNREACHABLE = "nothing answers"


@dataclass(frozen=True)
class TlsAnswer:
    """Both handshakes.

    + known, stranger: how the one with and the one without the client's certificate ended
    + detail: what openssl said about the first
    + sha256: fingerprint of the served certificate, hex; None where none was seen
    + not_after: its end
    """

    known: Outcome
    stranger: Outcome
    detail: str = ""
    sha256: str | None = None
    not_after: datetime | None = None


def parse_answer(lines: Iterable[str]) -> TlsAnswer:
    """Read the sections `known` and `stranger` of files/tls-answer.sh.

    Raises UnknownOutput on other output, and on a failure that says neither that the server refused nor that it
    cannot be reached: then nothing is known about who gets in.
    """
    found = sections(lines)
    if found.keys() != {"known", "stranger"}:
        raise UnknownOutput(f"sections of the TLS answer: {sorted(found)}")
    known, stranger = _outcome(found["known"]), _outcome(found["stranger"])
    certificate = _certificate(found["known"])
    said = [line for line in found["known"][1:] if not _is_pem(line, found["known"])]
    if certificate is None:
        if known is Outcome.ACCEPTED:
            raise UnknownOutput("a handshake without a server certificate")
        return TlsAnswer(known, stranger, "; ".join(said))
    return TlsAnswer(
        known,
        stranger,
        "; ".join(said),
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.not_valid_after_utc,
    )


def _outcome(lines: Sequence[str]) -> Outcome:
    if not lines or not lines[0].startswith("rc "):
        raise UnknownOutput("no exit status of openssl s_client")
    status = number(lines[0].removeprefix("rc "), "the exit status of openssl s_client")
    text = "\n".join(lines[1:])
    if status == 0:
        return Outcome.ACCEPTED
    if "verify error:" in text:
        return Outcome.NOT_VERIFIED
    if "alert" in text:
        return Outcome.REFUSED
    # the last: the server went away in the middle of the handshake
    if status == TIMED_OUT or "errno=" in text or "connect:" in text or "unexpected eof" in text:
        return Outcome.UNREACHABLE
    raise UnknownOutput(f"openssl s_client ended with {status} and {text!r}")


_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _certificate(lines: Sequence[str]) -> x509.Certificate | None:
    if _BEGIN not in lines or _END not in lines:
        return None
    pem = "\n".join([*lines[lines.index(_BEGIN) : lines.index(_END) + 1], ""])
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise UnknownOutput(f"not a certificate: {error}") from error


def _is_pem(line: str, lines: Sequence[str]) -> bool:
    if _BEGIN not in lines or _END not in lines:
        return False
    return line in lines[lines.index(_BEGIN) : lines.index(_END) + 1]
