"""What f3s_storage is told and what it says; tests/files/test_storage_control.py has the program say it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from f3s.carp import CarpState
from f3s.controller import (
    CONTROL,
    HOLD,
    STARTED,
    STORAGE_CONF,
    Status,
    parse_controller,
    parse_status,
    parse_values,
    wanted_values,
)
from f3s.parsing import UnknownOutput
from f3s.settings import HostSettings
from tests.f3s.settings_data import build, good
from tests.files.storage import conf
from tests.files.stubs import FILES
from tests.shell import lines_of

SITE = build(good())
VALUES = wanted_values(SITE.standby, SITE)
CONF = conf(VALUES).splitlines()
STATUS = """\
status=3
carp=BACKUP
vhid=1@re0
claim=254
started=yes
ready=no
reason=service nfsd did not start: a=b
fsid=10ff002929000000
fsid_number=16
hold=since 2026-03-01 11:00:00
floor=4711
epoch=1
writer=f1
since=1767225600
moved=1767225599
proven=no
decision=BACKUP, not ready: a=b
decided_since=2026-03-01 11:00:05
right=no""".splitlines()


def without(name: str, lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(f"{name}=")]


def test_the_status() -> None:
    said = Status(
        started=True, carp=CarpState.BACKUP, claim=254, reason="service nfsd did not start: a=b", fsid_number=16,
        hold="since 2026-03-01 11:00:00", floor=4711, epoch=1, writer="f1", since=1767225600, moved=1767225599,
        decision="BACKUP, not ready: a=b since 2026-03-01 11:00:05",
    )  # fmt: skip
    assert parse_status(STATUS) == said
    assert parse_controller(["=== status", *STATUS, "=== values", *CONF]) == replace(said, values=VALUES)
    assert parse_controller(["=== absent"]) == Status()
    for other in ([], ["=== status"], ["=== absent", "what"], ["=== status", *STATUS, "=== what"]):
        with pytest.raises(UnknownOutput):
            parse_controller(other)
    assert parse_status([*without("floor", STATUS), "floor="]) == replace(said, floor=None), "a damaged record is none"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ready=yes", {"ready": True}),
        ("ready=unknown", {"ready": None}),
        ("right=yes", {"right": True}),
        ("started=no", {"started": False}),
        ("carp=none", {"carp": None}),
        ("claim=", {"claim": None}),
        ("proven=yes", {"proven": True}),
        ("moved=", {"moved": None}),
        ("writer=", {"writer": "", "epoch": 0, "since": 0}),
        ("fsid=none", {"fsid_number": None}),
    ],
)
def test_each_value(line: str, expected: dict[str, object]) -> None:
    lines = [*without(line.split("=")[0], STATUS), line]
    assert parse_status(lines) == replace(parse_status(STATUS), **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["carp: BACKUP vhid 1 on re0, advskew 0 (configured 0)", "last decision: BACKUP, not serving; could serve"],
        ["status=2", *STATUS[1:]],
        [*STATUS, "advskew=20"],
        [*STATUS, "started=yes"],
        [*STATUS, "what"],
        [*without("carp", STATUS), "carp=master"],
        [*without("ready", STATUS), "ready=perhaps"],
        *(
            [*without(name, STATUS), f"{name}=many"]
            for name in ("floor", "claim", "fsid_number", "epoch", "since", "moved")
        ),
        *(
            without(name, STATUS)
            for name in ("started", "right", "carp", "claim", "ready", "fsid", "writer", "proven", "decided_since")
        ),
    ],
)
def test_what_is_not_known_says_what_to_do(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput, match=r"run tasks/carp\.py|is not a number"):
        parse_status(lines)


@pytest.mark.parametrize("host", SITE.storage_hosts)
def test_storage_conf_is_read_back_as_it_was_written(host: HostSettings) -> None:
    hostile = wanted_values(host, SITE).model_copy(update={"peer": "it's $(x) `y` #z"})
    assert parse_values(conf(hostile).splitlines()) == hostile


@pytest.mark.parametrize(
    "lines",
    [
        without("F3S_VHID", CONF),
        [*CONF, "F3S_OTHER='20'"],
        [*without("F3S_VHID", CONF), "F3S_VHID='one'"],
        [*CONF, "F3S_VIP='192"],
        [*CONF, "what"],
    ],
)
def test_another_storage_conf(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput, match=r"storage\.conf is not of this version of the deploy: run tasks/carp\.py"):
        parse_values(lines)


def test_the_programs_have_the_same_names_for_everything() -> None:
    library = (FILES / "freebsd" / "f3s-storage-lib.sh").read_text()
    paths = "\n".join(re.findall(r"^F3S_\w+=[/$].*", library, re.MULTILINE))
    [said] = lines_of(f"{paths}\necho $F3S_CONFIG $F3S_HOLD $F3S_STARTED $F3S_CONTROL")
    assert said.split() == [STORAGE_CONF, HOLD, STARTED, CONTROL]
    (names,) = re.findall(r"for name in ([A-Z_ \\\n\t]+); do", library)
    # a standby may have no jobs
    assert [f"F3S_{name}" for name in (*names.replace("\\", " ").split(), "JOBS")] == list(VALUES.variables)
