"""Every command of README.md and docs/day-two.md, in its order, against a simulated cluster of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import Block, Runner, blocks
from tests.lab.cluster import REPOSITORY, Cluster

pytestmark = pytest.mark.lab

README = blocks((REPOSITORY / "README.md").read_text())
CHAPTERS = {
    # chapters that go on from where the one before left the cluster
    "play": ("Five minutes to the demo",),
    "first run, day two": ("From three FreeBSD boxes to a first plan", "Day two"),
}


def chapter(*headings: str) -> list[Block]:
    return [block for block in README if block.heading in headings]


def test_every_chapter_with_commands_is_followed() -> None:
    assert {block.heading for block in README} == {heading for headings in CHAPTERS.values() for heading in headings}


@pytest.mark.parametrize("headings", CHAPTERS.values(), ids=CHAPTERS.keys())
def test_python_and_pyinfra_are_those_of_the_project(headings: tuple[str, ...]) -> None:
    first = next(block for block in chapter(*headings) if block.where == ("controller",))
    assert first.lines[0] == ". .venv/bin/activate"


@pytest.mark.parametrize(("name", "start"), [("play", "everything"), ("first run, day two", "installed")])
def test_the_commands_do_what_the_text_says(
    name: str, start: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Who plays does so with what these commands have made (`everything`): they find it, and change nothing."""
    lab = request.getfixturevalue(start).copy(tmp_path / "state")
    Runner(lab, "README.md").follow(chapter(*CHAPTERS[name]))


def test_the_commands_of_day_two_do_what_the_text_says(tmp_path: Path, everything: Cluster) -> None:
    day_two = blocks((REPOSITORY / "docs/day-two.md").read_text())
    Runner(everything.copy(tmp_path / "state"), "docs/day-two.md").follow(day_two)
