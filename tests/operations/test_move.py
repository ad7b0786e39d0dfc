"""The plan of failover and failback from declared facts, and what a refusal says."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from unittest.mock import patch

import pytest
from pyinfra.api.exceptions import DeployError, OperationError

from f3s.verify.model import ClusterView
from operations import move
from tests.f3s.verify.test_checks import failed_over
from tests.f3s.verify.test_move import killed
from tests.f3s.verify.world import F0, F1, REPLICA, changed, right_cluster
from tests.operations.harness import run
from tests.tasks.plan import plan

SERVING = right_cluster()


def titles(task: str, cluster: ClusterView) -> list[str]:
    with patch("bridge.view.looked_at_pair", lambda: cluster):
        return [operation.title for operation in plan(task, F0, {})]


def test_nothing_to_do_says_why() -> None:
    assert run(move.nothing, {}, "f1 serves already").noops == ["f1 serves already"]


def test_the_steps_of_a_failover() -> None:
    assert titles("failover", SERVING) == [
        "failover: the address goes to f1 and is held there",
        "failover: f1 serves, or the address comes back",
    ]


def test_nothing_is_done_twice() -> None:
    assert titles("failover", failed_over("since now")) == ["failover: nothing to do"]
    assert titles("failback", SERVING) == ["failback: nothing to do"]


def test_a_rerun_after_a_kill_proves_what_was_moved() -> None:
    assert titles("failover", killed()) == ["failover: f1 serves, or the address comes back"]


def test_an_unplanned_failover_gets_a_hold() -> None:
    assert titles("failover", failed_over(None)) == ["failover: f1 serves already, and is held there"]


def test_the_steps_of_a_failback() -> None:
    assert titles("failback", failed_over("since now")) == [
        "failback: f0 takes the address",
        "failback: f0 serves, or the address goes back",
    ]


@pytest.mark.parametrize(("task", "cluster"), [("failover", SERVING), ("failback", failed_over("since now"))])
def test_a_refusal_has_every_reason(task: str, cluster: ClusterView) -> None:
    broken = changed(changed(cluster, F1, written={REPLICA: 1}), F0, pools={})
    with pytest.raises(DeployError) as caught:
        titles(task, broken)
    text = str(caught.value)
    assert "has diverged" in text
    assert "there is no pool zdata" in text


@pytest.mark.parametrize("task", ["failover", "failback"])
def test_without_the_primary_nothing_can_be_moved(task: str) -> None:
    with pytest.raises(DeployError, match=rf"{F0} does not take part in this run"):
        plan(task, F1, {})


@pytest.mark.parametrize(("problems", "undone"), [([], []), (["f1 is BACKUP instead of MASTER"], ["master"])])
def test_what_is_not_proven_is_undone(problems: list[str], undone: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(move, "look", lambda target, site: problems)
    monkeypatch.setattr(move, "_carp", given.append)
    refused = pytest.raises(OperationError, match="undone: f1 is BACKUP") if problems else nullcontext()
    with refused:
        run(move.proven_or_undone, {}, SERVING.site.standby, SERVING.site, "master")
    assert given == undone


def test_the_plan_does_not_look_before_the_address_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(move, "look")
    assert run(move.proven_or_undone, {}, SERVING.site.standby, SERVING.site, "master", executing=False).commands == []


def test_a_step_says_how_long_it_took_and_keeps_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move, "CARP", "/usr/bin/false")
    [line] = run(move.given, {}, "backup").commands
    done = subprocess.run(["sh", "-c", str(line)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "carp backup: 0 s\n")
