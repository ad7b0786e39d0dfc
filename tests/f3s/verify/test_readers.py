"""What the readers of f3s/verify make of output, and what they refuse."""

from __future__ import annotations

import pytest

from f3s.parsing import UnknownOutput
from f3s.verify.controller import Controller, parse_controller
from f3s.verify.mount_state import MountState, parse_status
from f3s.verify.tls import Outcome, TlsAnswer, parse_answer

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
BACKUP, could serve
since 2026-03-01 11:00:05""".splitlines()


def test_the_records_of_the_controller() -> None:
    found = parse_controller(CONTROLLER)
    assert found == Controller(
        1772366400, True, "since 2026-03-01 11:00:00", None, "BACKUP, could serve since 2026-03-01 11:00:05"
    )


@pytest.mark.parametrize("lines", [[], CONTROLLER[:-4], [*CONTROLLER[:3], "what", *CONTROLLER[4:]], CONTROLLER[2:]])
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


def test_nothing_answers() -> None:
    found = parse_answer(["=== known", "rc 1", "connect:errno=111", "=== stranger", "rc 124"])
    assert found == TlsAnswer(Outcome.UNREACHABLE, Outcome.UNREACHABLE, "connect:errno=111")


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
        parse_answer(lines)
