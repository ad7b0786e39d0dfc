"""What tests ask of a way that is planned in steps: f3s/returning.py, f3s/machines.py, f3s/swapping.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from f3s.machines import MachineWay
from f3s.returning import Programs, Way
from f3s.swapping import Swap

PROGRAMS = Programs("send", "receive", "stop", "start", "standby")
Planned = Way | MachineWay | Swap


def commands(way: Planned, key: str) -> list[str]:
    """Those of one step, wherever they run."""
    return [str(line) for step in way.steps() if step.key == key for _, line in step.commands]


def places(way: Planned) -> dict[str, set[str]]:
    """On which hosts each step runs."""
    return {step.key: {host for host, _ in step.commands} for step in way.steps()}


def sent(way: Way | MachineWay) -> tuple[str, str] | None:
    """What is sent, and how it is received, behind the port."""
    found = way.transfer()
    return (found[0].partition("8889 ")[2], found[1].partition("8889 ")[2]) if found else None


def assert_nothing_is_destroyed(ways: Iterable[Planned], *more: str) -> None:
    for way in ways:
        for step in way.steps():
            for _, line in step.commands:
                assert not {"destroy", "rollback", "-F", *more} & set(line.split())


def steps_left(way: Planned, refusals: Callable[..., list[str]]) -> list[str]:
    """The steps of a way that nothing refuses."""
    assert refusals(way) == []
    return [step.key for step in way.steps()]
