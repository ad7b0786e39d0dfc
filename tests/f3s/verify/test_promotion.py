"""May the standby be promoted: what proves that the primary is out, and what is named as missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from f3s.carp import CarpState
from f3s.controller import WITH_ALL
from f3s.verify.model import ClusterView
from f3s.verify.promotion import Promotion, plan_promotion
from tests.f3s.verify.test_checks import NOT_READY, failed_over, status
from tests.f3s.verify.world import F0, F1, REPLICA, SITE, carp, changed, right_cluster

RIGHT = right_cluster()
NEWEST = max((s for s in RIGHT.hosts[F1].snapshots or () if s.dataset == REPLICA), key=lambda s: s.createtxg)
FROM = NEWEST.short_name


def dead() -> ClusterView:
    """f0 does not answer, f1 serves."""
    cluster = failed_over(None)
    hosts = {name: view for name, view in cluster.hosts.items() if name != F0}
    return replace(cluster, hosts=hosts, absent={F0: "no connection"})


def reasons(cluster: ClusterView, *words: Any, target: str = "f1") -> str:
    return "\n".join(plan_promotion(cluster, target, *words).refusals)


@pytest.mark.parametrize("name", ["f0", F0])
def test_a_dead_primary_with_the_operators_words(name: str) -> None:
    found = plan_promotion(dead(), F1, name, FROM)
    assert (found.stop, found.refusals, found.why) == (False, (), "")
    assert found.missing.startswith(f"what f0 wrote after {FROM} (")
    assert found.missing.endswith(" s before now) is missing on f1")


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (42, "42 s before f1 took the address)"),
        (-9, "9 s after f1 took the address, so the clocks differ, or f0 lived"),
    ],
)
def test_what_is_missing_ends_with_the_move_of_the_address(later: int, says: str) -> None:
    moved = status(F1, carp=CarpState.MASTER, moved=NEWEST.creation + later)
    assert says in plan_promotion(changed(dead(), F1, controller=moved), "f1", "f0", FROM).missing


@pytest.mark.parametrize(
    ("cluster", "words", "says"),
    [
        (dead(), (None, FROM), "it may live behind a cut link, or stand still"),
        (dead(), ("f2", FROM), "--data promote_powered_off=f0"),
        (dead(), ("f0", None), f"--data promote_from={FROM}"),
        (dead(), ("f0", "zrepl_20200101_000000_000"), f"what f0 wrote after {FROM}"),
        (changed(dead(), F1, carp=carp(CarpState.BACKUP, SITE.standby)), ("f0", FROM),
         "f1 is not MASTER, so another host has the address: f0 is not out"),
        (RIGHT, (None, FROM), "tasks/failover.py moves it without a loss"),
        (failed_over("since now"), ("f0", None), "f0 answers, so it has power"),
        # it answers and did not hand over: it may have more
        (failed_over(None), (None, None), "--data promote_from="),
        (changed(dead(), F1, controller=status(F1, **NOT_READY)), ("f0", FROM), "services on f1"),
        (changed(dead(), F1, snapshots=()), ("f0", FROM), "has no snapshot"),
        (changed(failed_over("since now"), F0, controller=status(F0, started=False)), ("f0", None),
         "f0 serves nobody, as f3s_storage is stopped there: `doas service f3s_storage start` on it"),
        (replace(dead(), hosts={}), ("f0", FROM), "f1.lan.buetow.org is not part of this run: not asked"),
    ],
)  # fmt: skip
def test_nobody_is_promoted(cluster: ClusterView, words: tuple[Any, ...], says: str) -> None:
    assert says in reasons(cluster, *words)


def test_a_primary_that_answers() -> None:
    """After a planned failover nothing is missing; where it did not hand over, what is missing has to be named."""
    assert plan_promotion(failed_over("since now"), "f1", None, None) == Promotion(stop=True, start=True)
    assert plan_promotion(failed_over(None), "f1", None, FROM).refusals == ()


@pytest.mark.parametrize(
    ("hold", "floor", "missing"),
    [("since now", -1, False), ("since now", 0, True), (f"since now, {WITH_ALL}", 0, False)],
)
def test_a_hold_proves_nothing_where_the_address_had_moved_before(hold: str, floor: int, missing: bool) -> None:
    """f0 crashed and is back, and tasks/failover.py only set the hold: what f0 has may not be replicated yet."""
    cluster = failed_over(hold)
    theirs = cluster.hosts[F0].controller
    assert theirs is not None
    cluster = changed(cluster, F0, controller=replace(theirs, floor=NEWEST.createtxg + floor))
    assert (f"--data promote_from={FROM}" in reasons(cluster, None, None)) is missing


@pytest.mark.parametrize("target", ["f0", "f9"])
def test_the_wrong_host(target: str) -> None:
    assert "is not the standby f1" in reasons(dead(), "f0", FROM, target=target)


def test_again() -> None:
    writes = status(F1, writer="f1", epoch=1, carp=CarpState.MASTER, proven=True)
    assert plan_promotion(changed(dead(), F1, controller=writes), "f1", None, None).why == (
        "f1 writes already, since epoch 1"
    )
    assert plan_promotion(changed(dead(), F1, controller=replace(writes, ready=False)), "f1", None, None) == Promotion()
    stopped = changed(
        changed(failed_over("since now"), F1, controller=writes), F0, controller=status(F0, started=False)
    )
    assert plan_promotion(stopped, "f1", None, None).start, "an earlier run ended before that"
