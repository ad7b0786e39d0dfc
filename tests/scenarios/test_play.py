"""Stories on a fake stage: what becomes a row, and of which verdict."""

from __future__ import annotations

import pytest

from scenarios.play import Scenario, Tell, play
from scenarios.report import Row
from scenarios.stage import Ran, Report, StageError
from scenarios.story import STEPS, Expect, NotSoError, Story
from tests.scenarios.fake import FakeStage

FELT = Report({"stat": 1.5, "write": 60.0}, {"stat": {"ESTALE": 2}, "write": {"EROFS": 9}}, 100)


def watched(story: Story) -> None:
    """Somebody looks on"""
    with story.watched():
        story.say("looked")


def fails(story: Story) -> None:
    """Not as told"""
    with story.watched():
        story.prove(False, "pigs fly")


def row(tell: Tell, expect: Expect, stage: FakeStage | None = None) -> Row:
    return play(Scenario("one", expect, tell), stage or FakeStage(), lambda _: None)


def test_a_story_that_comes_to_its_end_is_right() -> None:
    found = row(watched, Expect(5), FakeStage(reports={"r0": Report({"stat": 4.9}, {}, 7)}))
    assert (found.verdict, found.reason, found.pause_max_s) == ("right", "", 4.9)
    assert found.expected == "pause <= 5 s, no error, no remount, no line lost or astray"


@pytest.mark.parametrize(
    ("expect", "report", "reason"),
    [
        (Expect(1), FELT, "a reading client paused for 1.5 s; a reading client got 2 errors"),
        (Expect(2), FELT, "a reading client got 2 errors"),
        (STEPS, FELT, ""),
        (STEPS, Report(acknowledged=9, lost=2), "2 of 9 acknowledged lines are lost"),
        (Expect(2), Report(remounted=True), "the client mounted the share anew"),
        (STEPS, Report(stray=1), "1 lines landed on the client's own disk"),
    ],
)
def test_what_a_client_feels_beyond_the_expected_is_wrong(expect: Expect, report: Report, reason: str) -> None:
    found = row(watched, expect, FakeStage(reports={"r0": report}))
    assert (found.verdict, found.reason) == ("wrong" if reason else "right", reason)
    assert (found.errors, found.lost_lines, found.stray_lines) == (report.read_errors, report.lost, report.stray)


def test_the_worst_of_several_clients_counts() -> None:
    def both(story: Story) -> None:
        """Two look on"""
        with story.watched("r0", "r1"):
            pass

    stage = FakeStage(reports={"r0": Report({"read": 1}), "r1": Report({"read": 3}, {"read": {"EIO": 1}})})
    found = row(both, Expect(2), stage)
    assert (found.pause_max_s, found.errors) == (3, 1)
    assert stage.done == ["probe r0", "probe r1", "report r0", "report r1"]


def test_a_step_that_is_not_so_is_wrong_with_what_the_client_felt() -> None:
    found = row(fails, Expect(1), FakeStage(reports={"r0": FELT}))
    assert found.verdict == "wrong"
    assert found.reason.startswith("not so: pigs fly; a reading client paused")


def test_a_probe_that_has_no_report_hides_no_step_that_failed() -> None:
    assert row(fails, STEPS, FakeStage(reports={"r0": StageError("no report")})).reason == "not so: pigs fly"
    assert row(watched, STEPS, FakeStage(reports={"r0": StageError("no report")})).reason == "no report"


def test_what_a_stage_cannot_do_is_not_run() -> None:
    def parts(story: Story) -> None:
        """Two are parted"""
        story.stage.part("f0", "f1")

    found = row(parts, Expect(5))
    assert (found.verdict, found.reason, found.pause_max_s) == ("not run", "the fake has one wire", None)


def test_a_wait_is_as_long_as_its_timers_and_its_slow_work() -> None:
    stage = FakeStage()
    stage.slow = 10
    with pytest.raises(NotSoError, match="not within 45 s: it rains"):
        Story(stage, STEPS, lambda _: None).within("it rains", lambda: False, timers=25, work=2)
    assert stage.time == pytest.approx(45, abs=5)


def test_a_wait_ends_as_soon_as_it_is_so() -> None:
    stage = FakeStage()
    story = Story(stage, STEPS, lambda _: None)
    assert story.within("it is noon", lambda: stage.time >= 4, timers=60) == pytest.approx(4)


def test_a_command_that_fails_is_a_step_that_fails() -> None:
    story = Story(FakeStage(lambda host, script: Ran(3, "no such thing\n")), STEPS, lambda _: None)
    assert story.attempt("f0", "carp").rc == 3
    with pytest.raises(NotSoError, match="on f0: carp: exit status 3\nno such thing"):
        story.on("f0", "carp")
    with pytest.raises(NotSoError, match=r"pyinfra deploy.py -y: exit status 3"):
        story.deploys("deploy.py", "-y")


def test_a_long_run_that_ends_before_its_middle_is_no_proof() -> None:
    story = Story(FakeStage(), STEPS, lambda _: None)

    def never() -> bool:
        return False

    with pytest.raises(NotSoError, match="ended too early, with exit status 1"):
        story.while_running(lambda: Ran(1, "refused"), until=never, then=lambda: None)
    assert story.while_running(lambda: Ran(0, ""), until=lambda: True, then=lambda: None).rc == 0


def test_a_refusal_is_a_failure_with_its_reason() -> None:
    def story(rc: int) -> Story:
        return Story(FakeStage(lambda host, script: Ran(rc, "-> f1\nno failover: it has diverged\n")), STEPS, print)

    assert story(1).refused("tasks/failover.py", because="has div") == "no failover: it has diverged"
    with pytest.raises(NotSoError, match="exit status 0, no 'has div'"):
        story(0).refused("tasks/failover.py", because="has div")
    with pytest.raises(NotSoError, match="no 'is late'"):
        story(1).refused("tasks/failover.py", because="is late")
