"""What f3s_storage is told and what it says; tests/files/test_storage_control.py has the program say it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from f3s.carp import CarpState
from f3s.controller import (
    HOLD,
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

SITE = build(good())
VALUES = wanted_values(SITE.standby, SITE)
CONF = conf(VALUES).splitlines()
STATUS = """\
status=1
carp=BACKUP
vhid=1@re0
advskew=254
advskew_configured=0
started=yes
dataset=unready
dataset_reason=the key of zdata/enc/nfsdata is not loaded
service.rpcbind=stopped
hold=since 2026-03-01 11:00:00
failed=service nfsd did not start
floor=4711
decided_as=BACKUP
decided_ready=no
decision=BACKUP, not serving; could not serve: a=b
decided_since=2026-03-01 11:00:05
right=yes""".splitlines()


def without(name: str, lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(f"{name}=")]


def test_the_status() -> None:
    said = Status(
        started=True,
        right=True,
        carp=CarpState.BACKUP,
        hold="since 2026-03-01 11:00:00",
        failed="service nfsd did not start",
        floor=4711,
        decision="BACKUP, not serving; could not serve: a=b since 2026-03-01 11:00:05",
        decided_as=CarpState.BACKUP,
    )
    assert parse_status(STATUS) == said
    assert parse_controller(["=== status", *STATUS, "=== values", *CONF]) == replace(said, values=VALUES)
    assert parse_controller(["=== absent"]) == Status()
    for other in ([], ["=== status"], ["=== absent", "what"], ["=== status", *STATUS, "=== what"]):
        with pytest.raises(UnknownOutput):
            parse_controller(other)
    assert parse_status([*without("floor", STATUS), "floor="]) == replace(said, floor=None), "a damaged record is none"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["carp: BACKUP vhid 1 on re0, advskew 0 (configured 0)", "last decision: BACKUP, not serving; could serve"],
        ["status=2", *STATUS[1:]],
        [*STATUS, "claim=20"],
        [*STATUS, "started=yes"],
        [*STATUS, "what"],
        [*without("carp", STATUS), "carp=master"],
        [*without("floor", STATUS), "floor=many"],
        *(without(name, STATUS) for name in ("started", "right", "carp", "decided_as", "decided_since")),
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
        [*CONF, "F3S_CLAIM='20'"],
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
    for line in (f"F3S_CONFIG={STORAGE_CONF}", f"F3S_HOLD={HOLD}"):
        assert f"{line}\n" in library
    (names,) = re.findall(r"for name in ([A-Z_ \\\n\t]+); do", library)
    assert [f"F3S_{name}" for name in names.replace("\\", " ").split()] == list(VALUES.variables)
