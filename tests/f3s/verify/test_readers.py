"""What the readers of f3s/verify make of output, and what they refuse."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.carp import CarpState
from f3s.parsing import UnknownOutput
from f3s.pki.certificates import make_ca
from f3s.verify.controller import Controller, parse_controller
from f3s.verify.mount_state import MountState, parse_status
from f3s.verify.tls import Fault, Outcome, TlsAnswer, parse_answer
from tests.f3s.verify.world import NOW

CONTROLLER = """\
=== now
1772366400
=== started
there
=== hold
there
since 2026-03-01 11:00:00
=== failed
absent
=== decision
there
BACKUP, not serving; could serve
since 2026-03-01 11:00:05
=== floor
there
4711
=== values
there
# Installed by the deploy
F3S_ROLE='primary'
F3S_SERVICES='rpcbind mountd'""".splitlines()


def test_the_records_of_the_controller() -> None:
    found = parse_controller(CONTROLLER)
    decision = "BACKUP, not serving; could serve since 2026-03-01 11:00:05"
    values = {"F3S_ROLE": "primary", "F3S_SERVICES": "rpcbind mountd"}
    assert found == Controller(1772366400, True, "since 2026-03-01 11:00:00", None, decision, 4711, values)


@pytest.mark.parametrize(
    ("decision", "state", "ready"),
    [
        ("BACKUP, not serving; could serve; held by carp backup since now", CarpState.BACKUP, True),
        ("INIT, not serving; could serve since now", CarpState.INIT, True),
        ("BACKUP, not serving; could not serve: the key is not loaded since now", CarpState.BACKUP, False),
        ("BACKUP, not serving; would not serve: service nfsd did not start since now", CarpState.BACKUP, False),
        ("MASTER, serving zdata/enc/nfsdata since now", CarpState.MASTER, True),
        ("MASTER, services left as they are for now: zpool list did not end since now", CarpState.MASTER, False),
        ("MASTER but not serving: marker is missing; staying since now", CarpState.MASTER, False),
        ("giving the address to the peer: marker is missing since now", None, False),
        ("stopped since now", None, False),
        (None, None, False),
    ],
)
def test_the_decisions_of_storage_control(decision: str | None, state: CarpState | None, ready: bool) -> None:
    controller = Controller(0, True, None, None, decision)
    assert [each for each in CarpState if controller.decided(each)] == ([state] if state else [])
    assert controller.ready is ready


@pytest.mark.parametrize(
    "lines", [[], CONTROLLER[:-5], [*CONTROLLER[:-4], "x"], [*CONTROLLER[:3], "what", *CONTROLLER[4:]], CONTROLLER[2:]]
)
def test_other_records(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_controller(lines)


def test_the_state_of_mounts() -> None:
    text = """\
/data/a: healthy since 2026-03-01 11:00:00, checked 7 s ago, failed checks in a row: 0, repairs: 2
/data/b: not-mounted since 2026-03-01 11:00:00, checked 700 s ago, failed checks in a row: 3, repairs: 0
    nothing is mounted
    the last check is too old to rely on (is nfs-mount-monitor.timer running?)
/data/c: not checked yet (is nfs-mount-monitor.timer running?)"""
    too_old = "nothing is mounted; the last check is too old to rely on (is nfs-mount-monitor.timer running?)"
    assert parse_status(text.splitlines()) == (
        MountState("/data/a", "healthy", 7),
        MountState("/data/b", "not-mounted", 700, 3, too_old),
        MountState("/data/c", None),
    )


@pytest.mark.parametrize("line", ["    detail of nothing", "/data: fine", "bash: not found"])
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


def test_a_date_that_is_none() -> None:
    expired = ["rc 1", "verify error:num=10:certificate has expired", "notAfter=soon GMT"]
    with pytest.raises(UnknownOutput, match="a date"):
        parse_answer([*OWN, "=== known", *expired, "=== stranger", *REFUSED])


def test_a_file_without_a_certificate() -> None:
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
