"""Steps of a permanent swap when their turn comes: planned again, on the right host."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pyinfra.api.exceptions import OperationError

from f3s.returning import Step
from f3s.swapping import Found
from f3s.zfs import Marks
from facts.controller import StorageController
from facts.zfs import Datasets, HistoryMarks, Snapshots
from operations import swapping
from tests.f3s import test_swapping as world
from tests.f3s.verify.world import F0, F1
from tests.operations.harness import Result, run

FACTS = {HistoryMarks: Marks((), {})}


def planned(key: str) -> Step:
    return next(each for each in world.swap(world.SERVES, world.BEGINS).steps() if each.key == key)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Found | None]:
    """What is asked on each host; None: it does not answer."""
    found: dict[str, Found | None] = {F0: world.BEGINS, F1: world.SERVES}

    def known_of(name: str, fact: type) -> object:
        of: Mapping[type, str] = {StorageController: "controller", Datasets: "datasets", Snapshots: "snapshots"}
        return None if found[name] is None else getattr(found[name], of[fact])

    monkeypatch.setattr(swapping, "known_of", known_of)
    return found


def runs(key: str, executing: bool = True) -> Result:
    return run(swapping.step, FACTS, planned(key), world.AFTER, world.MEANS, executing=executing)


def test_the_plan_shows_what_is_done_and_where(hosts: dict[str, Found | None]) -> None:
    for executing in (False, True):
        done = runs("keep", executing)
        assert [(each.name, str(each)) for each in done.commands] == [*planned("keep").commands]


def test_what_is_done_meanwhile_is_not_done_again_and_no_step_is_jumped_over(hosts: dict[str, Found | None]) -> None:
    with pytest.raises(OperationError, match="the next step is now 'what f0 wrote after"):
        runs("take over")
    hosts[F0] = world.PLACED
    assert runs("keep").noops[0].startswith("not needed any more: what f0 wrote")


def test_both_hosts_have_to_answer(hosts: dict[str, Found | None]) -> None:
    hosts[F0] = None
    with pytest.raises(OperationError, match=r"f0\.lan\.buetow\.org could not be asked"):
        runs("keep")


def test_it_is_finished_when_nothing_is_left(hosts: dict[str, Found | None]) -> None:
    def ends() -> Result:
        return run(swapping.finished, FACTS, world.AFTER, world.MEANS, executing=True)

    with pytest.raises(OperationError, match="left to do: what f0 wrote after"):
        ends()
    hosts |= {F0: world.STANDS_BY, F1: world.TAKEN}
    assert ends().noops == ["f1 is the primary, f0 the standby"]
