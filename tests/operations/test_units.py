from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError

from f3s.units import Unit, Units
from facts.base import END
from facts.units import UnitStates
from operations import units
from tests.operations.harness import Result, run
from tests.shell import program_of

# `TZ=UTC systemctl show -p ...` of systemd 252: one block a unit, in the order in which they were named
SHOW = """\
Id=stunnel.service
LoadState=loaded
ActiveState=active
NeedDaemonReload=no
UnitFileState=enabled
ActiveEnterTimestamp=Sun 2026-11-22 16:00:00 UTC

Id=nfs-mount-monitor.timer
LoadState=not-found
ActiveState=inactive
NeedDaemonReload=no
UnitFileState=
ActiveEnterTimestamp=

File=1795363100 /etc/stunnel/stunnel.conf""".splitlines()

GOOD = Unit(exists=True, active=True, enabled=True, stale=False, since=1000)
START = "systemctl start stunnel.service"
CONF = "/etc/stunnel/stunnel.conf"


def unit(**changes: Any) -> Unit:
    return Unit(**{**GOOD.__dict__, **changes})


def test_fact() -> None:
    state = UnitStates().process([*SHOW, END])
    timer = unit(exists=False, active=False, enabled=False, since=None)
    assert state == Units(
        {"stunnel.service": unit(since=1795363200), "nfs-mount-monitor.timer": timer}, {CONF: 1795363100}
    )


@pytest.mark.parametrize(
    "lines",
    [SHOW[1:], SHOW[:3], [*SHOW, "Failed to connect to bus"], [line.replace("Sun 2026-11-22", "n/a") for line in SHOW]],
)
def test_output_that_is_not_known(lines: list[str]) -> None:
    with pytest.raises(FactProcessError):
        UnitStates().process([*lines, END])


def running(state: Unit, changed: int | None = 999, **arguments: Any) -> Result:
    value = Units({"stunnel.service": state}, {} if changed is None else {CONF: changed})
    return run(units.running, {UnitStates: value}, "stunnel.service", files=[CONF], **arguments)


def test_a_unit_that_runs_with_its_files_is_left_alone() -> None:
    assert running(GOOD) == Result([], ["stunnel.service is enabled and runs with its present files"])
    assert running(GOOD, changed=1000).commands == []
    assert running(GOOD, changed=None).commands == []


@pytest.mark.parametrize(
    ("state", "changed", "commands"),
    [
        (GOOD, 1001, ["systemctl restart stunnel.service"]),
        (unit(active=False, since=None), 1001, [START]),
        (unit(active=False), 1001, [START]),
        (unit(enabled=False), 999, ["systemctl enable stunnel.service"]),
        (unit(enabled=False, active=False, since=None), 999, ["systemctl enable stunnel.service", START]),
    ],
)
def test_what_is_missing_is_done(state: Unit, changed: int, commands: list[str]) -> None:
    assert running(state, changed).commands == commands


def test_a_unit_that_is_not_there_is_an_error_when_it_should_be() -> None:
    missing = unit(exists=False, active=False, enabled=False, since=None)
    assert len(running(missing, executing=False).commands) == 2, "an earlier operation of the plan installs it"
    with pytest.raises(OperationError, match=r"knows no stunnel\.service"):
        running(missing)


@pytest.mark.parametrize(("state", "reloads"), [(GOOD, False), (unit(stale=True), True), (unit(exists=False), True)])
def test_reload(state: Unit, reloads: bool) -> None:
    value = Units({"a.service": GOOD, "b.mount": state}, {})
    result = run(units.reloaded, {UnitStates: value}, ["a.service", "b.mount"])
    assert result.commands == ["systemctl daemon-reload"] * reloads


def test_the_command_names_every_unit_and_file() -> None:
    text = program_of(UnitStates().command(names=("a.service", "b.timer"), files=("/etc/it's",)))
    assert "-- a.service b.timer" in text
    assert """stat -L -c 'File=%Y %n' -- '/etc/it'"'"'s'""" in text
