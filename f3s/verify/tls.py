"""The TLS answer on the virtual IP, asked by a client twice: with its own certificate, and with none."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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


class Fault(enum.Enum):
    """What is wrong with the dates of a certificate, to the side that refuses it."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not valid yet"


_FAULTS = {
    # RFC 5246, 7.2.2: what OpenSSL makes of its verify errors (ssl_x509err2alert). bad_certificate may be another one
    "alert number 45": Fault.EXPIRED,
    "alert number 42": Fault.NOT_YET_VALID,
    # its own verify errors (x509_vfy.h)
    "verify error:num=10:": Fault.EXPIRED,
    "verify error:num=9:": Fault.NOT_YET_VALID,
}
_NAMED = re.compile(r"^not(?:Before|After)=(.*) GMT$", re.MULTILINE)


@dataclass(frozen=True)
class TlsAnswer:
    """Both handshakes.

    + known, stranger: how the one with and the one without the client's certificate ended
    + detail: what openssl said about the first
    + sha256: fingerprint of the served certificate, hex; None if none was seen
    + not_after: its end
    + own: from when and until when the client's certificate is valid
    + fault: what is wrong with the dates: to the server, of the client's certificate or of its own revocation list; to
      the client (NOT_VERIFIED), of the server's certificate
    + named: in the second case, the date in the server's certificate that the client refuses
    """

    known: Outcome
    stranger: Outcome
    detail: str = ""
    sha256: str | None = None
    not_after: datetime | None = None
    own: tuple[datetime, datetime] | None = None
    fault: Fault | None = None
    named: datetime | None = None


def parse_answer(lines: Iterable[str]) -> TlsAnswer:
    """Read the sections `own`, `known` and `stranger` of files/once/tls-answer.sh.

    Raises UnknownOutput on other output, and on a failure that is neither a refusal nor an unreachable server: then it
    is not known who gets in.
    """
    found = sections(lines, "own", "known", "stranger")
    known, stranger = _outcome(found["known"]), _outcome(found["stranger"])
    own, (certificate, said) = _certificate(found["own"])[0], _certificate(found["known"])
    if own is None:
        raise UnknownOutput("the client's file has no certificate")
    if certificate is None and known is Outcome.ACCEPTED:
        raise UnknownOutput("a handshake without a server certificate")
    text = "\n".join(said[1:])
    date = _NAMED.search(text)
    return TlsAnswer(
        known,
        stranger,
        "; ".join(said[1:]),
        certificate.fingerprint(hashes.SHA256()).hex() if certificate else None,
        certificate.not_valid_after_utc if certificate else None,
        (own.not_valid_before_utc, own.not_valid_after_utc),
        next((fault for wording, fault in _FAULTS.items() if wording in text), None),
        _date(date[1]) if date else None,
    )


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError as error:
        raise UnknownOutput(f"a date of a certificate: {error}") from error


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
    # the last one: the server went away during the handshake
    if status == TIMED_OUT or "errno=" in text or "connect:" in text or "unexpected eof" in text:
        return Outcome.UNREACHABLE
    raise UnknownOutput(f"openssl s_client ended with {status} and {text!r}")


_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _certificate(lines: Sequence[str]) -> tuple[x509.Certificate | None, list[str]]:
    """The first certificate, and the other lines."""
    if _BEGIN not in lines or _END not in lines:
        return None, list(lines)
    pem = lines[lines.index(_BEGIN) : lines.index(_END) + 1]
    try:
        certificate = x509.load_pem_x509_certificate("\n".join([*pem, ""]).encode())
    except ValueError as error:
        raise UnknownOutput(f"not a certificate: {error}") from error
    return certificate, [line for line in lines if line not in pem]
