"""`python -m scenarios`: which scenarios, which exit status, what is written."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import pytest

from scenarios import __main__ as program
from scenarios.play import SCENARIOS, scenario
from scenarios.stage import Report, Stage, StageError
from scenarios.story import Story
from tests.scenarios.fake import FakeStage


class Kept(FakeStage):
    def keep(self) -> str:
        return "look into the drawer"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Another set of scenarios, and the fake stage in place of the lab."""
    monkeypatch.setattr(program, "STORIES", dict.fromkeys(program.STAGES, ()))
    before = dict(SCENARIOS)
    SCENARIOS.clear()

    @scenario("good", pause=2)
    def good(story: Story) -> None:
        """All goes well"""
        with story.watched():
            story.say("well")

    @scenario("bad")
    def bad(story: Story) -> None:
        """It does not go well"""
        story.prove(False, "well")

    @scenario("cannot")
    def cannot(story: Story) -> None:
        """Nobody can do that here"""
        story.stage.part("f0", "f1")

    @scenario("small", part=True)
    def small(story: Story) -> None:
        """What another one has as well"""

    @contextlib.contextmanager
    def opened(_: argparse.Namespace) -> Iterator[Callable[[str], AbstractContextManager[Stage]]]:
        yield lambda name: contextlib.nullcontext(Kept(reports={"r0": Report({"stat": 3.0})}))

    module = ModuleType("fake_stage_module")
    module.opened = opened  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_stage_module", module)
    monkeypatch.setattr(program, "STAGES", dict.fromkeys(program.STAGES, "fake_stage_module"))
    yield module
    SCENARIOS.clear()
    SCENARIOS.update(before)


def test_every_scenario_has_a_title_and_is_played_once() -> None:
    assert program.main(["lab", "--list"]) == 0
    wanted = "power-cut planned by-hand reboot missing-stick failback-off cables-primary-first split diverged"
    assert set(wanted.split()) <= set(SCENARIOS)
    assert all(one.title and one.title[-1] != "." for one in SCENARIOS.values())


def test_the_list_says_names_and_titles(fake: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["lab", "--list"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["good    All goes well", "bad     It does not go well"]


def test_an_unknown_name_is_an_error_with_the_names(fake: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["lab", "good", "ugly"]) == 1
    assert "there is no scenario ugly; there are good, bad, cannot, small" in capsys.readouterr().err


def test_rows_are_printed_and_written(fake: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    assert program.main(["lab", "--json", str(file)]) == 1
    # a pause of 3 s is beyond the 2 s of `good`; `small` is only played by name
    verdicts = {row["scenario"]: row["verdict"] for row in json.loads(file.read_text())}
    assert verdicts == {"good": "wrong", "bad": "wrong", "cannot": "not run"}
    said = capsys.readouterr().out
    assert "  the cluster as it was then: look into the drawer\n" in said
    assert said.splitlines()[-4].startswith("scenario  verdict")


def test_rows_of_machines_have_a_place(fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.main(["machines", "--steps-only", "small"]) == 0
    assert [row["scenario"] for row in json.loads((tmp_path / "build/vm-test.json").read_text())] == ["small"]


def test_pauses_are_no_fault_where_only_steps_count(fake: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert program.main(["lab", "good", "cannot", "--steps-only", "--json", str(file)]) == 0
    row = json.loads(file.read_text())[0]
    assert (row["verdict"], row["pause_max_s"], row["expected"]) == (
        "right",
        3.0,
        "every step as told, no line lost or astray",
    )
    assert program.main(["lab", "bad", "--steps-only"]) == 1


def test_a_stage_that_does_not_open_is_a_row(fake: ModuleType, tmp_path: Path) -> None:
    @contextlib.contextmanager
    def broken(name: str) -> Iterator[Stage]:
        if name == "good":
            raise StageError("no machine answers")
        yield FakeStage()

    fake.opened = lambda options: contextlib.nullcontext(broken)  # type: ignore[attr-defined]
    file = tmp_path / "rows.json"
    assert program.main(["lab", "good", "small", "--json", str(file)]) == 1
    assert [(row["verdict"], row["reason"]) for row in json.loads(file.read_text())] == [
        ("wrong", "no machine answers"),
        ("right", ""),
    ]


def test_a_stage_has_words_of_its_own(fake: ModuleType) -> None:
    fake.arguments = lambda made: made.add_argument("--speed")  # type: ignore[attr-defined]
    assert program.parser(["lab"]).parse_args(["lab", "--speed", "3"]).speed == "3"
