"""What the readers of f3s/verify make of output, and what they refuse."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.monitor import MountState, parse_status
from f3s.parsing import UnknownOutput
from f3s.pki.certificates import make_ca
from f3s.verify.tls import Fault, Outcome, TlsAnswer, parse_answer
from tests.f3s.verify.world import NOW


def test_the_state_of_mounts() -> None:
    text = """\
{"/data/a": {"state": "not-mounted", "since": "2026-03-01 11:00:00", "age": 7, "failures": 3, "heals": 2,
 "detail": "nothing", "immutable": false, "below": ["a"], "escalated": ""},
 "/data/b": {"state": "unknown", "age": null, "failures": 0, "detail": "", "immutable": true, "below": []}}"""
    assert parse_status(text.splitlines()) == (
        MountState("/data/a", "not-mounted", 7, 3, "nothing", False, ("a",)),
        MountState("/data/b", "unknown"),
    )


@pytest.mark.parametrize("line", ["[]", '{"/data": {}}', "bash: not found"])
def test_other_states(line: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_status([line])


REFUSED = ["rc 1", "80EB:error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:SSL alert number 40"]
CLIENT = make_ca(100, NOW)
OWN = ["=== own", *CLIENT.certificate.public_bytes(Encoding.PEM).decode().splitlines()]
VALID = (CLIENT.certificate.not_valid_before_utc, CLIENT.certificate.not_valid_after_utc)


def test_nothing_answers() -> None:
    found = parse_answer([*OWN, "=== known", "rc 1", "connect:errno=111", "=== stranger", "rc 124"])
    assert found == TlsAnswer(Outcome.UNREACHABLE, Outcome.UNREACHABLE, "connect:errno=111", own=VALID)
    # the server went away in the middle of the handshake
    eof = "80EB:error:0A000126:SSL routines:ssl3_read_n:unexpected eof while reading:ssl/record/rec_layer_s3.c:304:"
    assert parse_answer([*OWN, "=== known", "rc 1", eof, "=== stranger", "rc 1", eof]).known is Outcome.UNREACHABLE


def test_a_refusal_by_a_newer_openssl() -> None:
    """3.2 has other words for the same alert (ssl/ssl_err.c), not another number."""
    alert = "40A7:error:0A000415:SSL routines:ssl3_read_bytes:ssl/tls alert certificate expired:SSL alert number 45"
    found = parse_answer([*OWN, "=== known", "rc 1", alert, "=== stranger", *REFUSED])
    assert (found.known, found.fault) == (Outcome.REFUSED, Fault.EXPIRED)


def test_a_date_and_a_file_that_are_none() -> None:
    expired = ["rc 1", "verify error:num=10:certificate has expired", "notAfter=soon GMT"]
    with pytest.raises(UnknownOutput, match="a date"):
        parse_answer([*OWN, "=== known", *expired, "=== stranger", *REFUSED])
    with pytest.raises(UnknownOutput, match="no certificate"):
        parse_answer(["=== own", "=== known", *REFUSED, "=== stranger", *REFUSED])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["=== known", *REFUSED],
        ["=== known", "=== stranger", *REFUSED],
        ["=== known", "rc x", "=== stranger", *REFUSED],
        # accepted, but by whom?
        ["=== known", "rc 0", "=== stranger", *REFUSED],
        # a failure that is neither a refusal nor silence
        ["=== known", *REFUSED, "=== stranger", "rc 1", ""],
        [
            "=== known",
            "rc 0",
            "-----BEGIN CERTIFICATE-----",
            "AA",
            "-----END CERTIFICATE-----",
            "=== stranger",
            *REFUSED,
        ],
    ],
)
def test_other_answers(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_answer([*OWN, *lines])
