"""Plays stories on a stage and turns each into a row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from scenarios.report import Row
from scenarios.stage import CannotError, Stage, StageError
from scenarios.story import Expect, NotSoError, Story

Tell = Callable[[Story], None]


@dataclass(frozen=True)
class Scenario:
    """A story with its name and what is expected of it; its first line of documentation is its title.

    :param blank: it begins with blank disks instead of a deployed cluster
    :param part: another scenario contains all of it, so it is played only when asked for
    """

    name: str
    expect: Expect
    tell: Tell
    blank: bool = False
    part: bool = False

    @property
    def title(self) -> str:
        return (self.tell.__doc__ or "").strip().splitlines()[0]


SCENARIOS: dict[str, Scenario] = {}
"""All scenarios by name, in the order in which they are told."""


def scenario(
    name: str, pause: float | None = None, text: str = "", *, blank: bool = False, part: bool = False
) -> Callable[[Tell], Tell]:
    """Makes a function a scenario.

    :param pause: as in `Expect`
    :param blank, part: as in `Scenario`
    """

    def register(tell: Tell) -> Tell:
        SCENARIOS[name] = Scenario(name, Expect(pause, text), tell, blank, part)
        return tell

    return register


def play(one: Scenario, stage: Stage, tell: Callable[[str], None]) -> Row:
    """Plays it on the intact cluster of the stage; never raises for what the story finds."""
    tell(f"\n== {one.title} ({one.name})")
    begin = time.monotonic()
    story = Story(stage, one.expect, tell)
    verdict, reason = "right", ""
    try:
        one.tell(story)
        if found := story.faults():
            verdict, reason = "wrong", "; ".join(found)
    except CannotError as error:
        verdict, reason = "not run", str(error)
    except (NotSoError, StageError) as error:
        verdict, reason = "wrong", "; ".join([str(error), *story.faults()])
    if verdict != "right":
        tell(f"  {verdict.upper()}: {reason}")
    reports = story.reports
    return Row(
        one.name,
        str(one.expect) or one.title,
        max((report.pause for report in reports), default=None),
        sum(report.read_errors for report in reports),
        sum(report.lost for report in reports),
        sum(report.stray for report in reports),
        verdict,  # type: ignore[arg-type]
        reason,
        round(time.monotonic() - begin, 1),
    )
