"""The plan of failover and failback from declared facts, and what a refusal says."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from pyinfra.api.exceptions import DeployError, OperationError

from f3s.controller import Status
from f3s.verify.model import ClusterView
from facts.carp import Carp
from facts.controller import StorageController
from operations import move
from tests.f3s.verify.test_checks import failed_over
from tests.f3s.verify.test_move import killed
from tests.f3s.verify.world import F0, F1, R0, REPLICA, changed, right_cluster
from tests.operations.harness import run
from tests.shell import shell
from tests.tasks.plan import plan

SERVING = right_cluster()


def titles(task: str, cluster: ClusterView) -> list[str]:
    with patch("bridge.view.looked_at_pair", lambda: cluster):
        return [operation.title for operation in plan(task, F0, {})]


def test_nothing_to_do_says_why() -> None:
    assert run(move.nothing, {}, "f1 serves already").noops == ["f1 serves already"]


PLANNED = failed_over("since now")


@pytest.mark.parametrize(
    ("task", "cluster", "steps"),
    [
        ("failover", SERVING, ["the address goes to f1 and is held there", "f1 serves, or the address comes back"]),
        ("failover", PLANNED, ["nothing to do"]),
        ("failover", killed(), ["f1 serves, or the address comes back"]),
        ("failover", failed_over(None), ["f1 serves already, and is held there"]),
        ("failback", PLANNED, ["f0 takes the address", "f0 serves, or the address goes back"]),
        ("failback", SERVING, ["nothing to do"]),
    ],
    ids=["failover", "it is done", "after a kill it is proven", "unplanned: it is held", "failback", "f0 serves"],
)
def test_the_steps(task: str, cluster: ClusterView, steps: list[str]) -> None:
    assert titles(task, cluster) == [f"{task}: {step}" for step in steps]


@pytest.mark.parametrize(("task", "cluster"), [("failover", SERVING), ("failback", PLANNED)])
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


@pytest.mark.parametrize(
    ("said", "problems"),
    [
        ([Status(ready=True)], []),
        ([None, Status(ready=True)], []),
        ([Status(ready=None, reason="slow"), Status(ready=True)], []),
        ([Status(ready=None, reason="slow")] * 2, [f"{F1} is not ready: slow"]),
        ([Status(ready=False, reason="no key")], [f"{F1} is not ready: no key"]),
    ],
)
def test_who_serves_is_asked_of_both_hosts_and_the_clients_and_slow_is_asked_again(
    said: list[Status | None], problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, left = PLANNED, iter(said)

    def answer(member: Any, fact: type, **arguments: object) -> object:
        if fact is StorageController:
            assert member.name == F1
            return next(left)
        return seen.hosts[member.name].carp if fact is Carp else seen.hosts[member.name].tls

    hosts = {name: SimpleNamespace(name=name, connected=name != R0) for name in seen.hosts}
    monkeypatch.setattr(move, "inventory", SimpleNamespace(get_host=hosts.__getitem__))
    monkeypatch.setattr(move, "ask", answer)
    assert move.look(seen.site.standby, seen.site) == problems
    assert next(left, "all asked") == "all asked"


def test_the_plan_does_not_look_before_the_address_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(move, "look")
    assert run(move.proven_or_undone, {}, SERVING.site.standby, SERVING.site, "master", executing=False).commands == []


def test_a_step_says_how_long_it_took_and_keeps_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move, "CARP", "/usr/bin/false")
    [line] = run(move.given, {}, "backup").commands
    done = shell(str(line))
    assert (done.returncode, done.stdout) == (1, "carp backup: 0 s\n")


def promotion(cluster: ClusterView, host: str, **data: str) -> list[str]:
    with patch("bridge.view.looked_at_pair", lambda: cluster):
        return [each.title for each in plan("promote", host, {}, promote="f1", **data) if "--" not in each.title]


OUT, WRITES = "promote: the old primary is out", "promote: the standby writes"


def test_the_steps_of_a_promotion() -> None:
    learns = "promote: f0 learns of it, and stays out"
    assert promotion(PLANNED, F0) == ["promote: f0 stops serving", OUT, WRITES, learns]
    assert promotion(PLANNED, F1) == [OUT, "promote: f1 writes from now on", WRITES]
    assert promotion(PLANNED, R0) == [OUT, WRITES]
    with pytest.raises(DeployError, match=r"no promotion now:\n- f0 has the address"):
        promotion(SERVING, F1)


@pytest.mark.parametrize(
    ("state", "rc", "says"), [("BACKUP", 0, "stopped\nf3s"), ("MASTER", 1, "f3s_storage stop: 0 s")]
)
def test_a_primary_that_has_the_address_again_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, rc: int, says: str
) -> None:
    """Somebody reads the plan, and automatic failback is faster: what clients write on it is nowhere else."""
    monkeypatch.setattr(move, "CARP", str(tmp_path / "carp"))
    (tmp_path / "carp").write_text(f"#!/bin/sh\necho {state} vhid 1 on re0\n")
    (tmp_path / "carp").chmod(0o755)
    [line] = run(move.stopped, {}).commands
    done = shell(f"service() {{ echo stopped; }}; {line}")
    assert done.returncode == rc
    assert done.stdout.startswith(says)


@pytest.mark.parametrize("theirs", [None, Status(started=True)])
def test_nothing_is_promoted_beside_a_primary_that_was_not_stopped(theirs: Status | None) -> None:
    old = SERVING.site.primary
    with (
        patch("operations.move.ask", lambda *_, **__: theirs),
        pytest.raises(OperationError, match="nothing was promoted"),
    ):
        run(move.promoted, {}, old, True)
    assert run(move.promoted, {}, old, False).commands
