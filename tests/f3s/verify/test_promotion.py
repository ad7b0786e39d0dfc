"""May the standby be promoted: what proves that the primary is out, and what is named as missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from f3s.carp import CarpState
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
    assert found.missing.endswith(" s ago) is missing on f1")


def test_silence_is_no_proof() -> None:
    assert "it may live behind a cut link, or stand still" in reasons(dead(), None, FROM)
    assert "--data promote_powered_off=f0" in reasons(dead(), "f2", FROM)


def test_what_would_be_missing_has_to_be_named() -> None:
    for other in (None, "zrepl_20200101_000000_000"):
        said = reasons(dead(), "f0", other)
        assert f"what f0 wrote after {FROM}" in said
        assert said.endswith(f"--data promote_from={FROM}")


def test_who_has_the_address_is_not_out() -> None:
    cluster = changed(dead(), F1, carp=carp(CarpState.BACKUP, SITE.standby))
    assert reasons(cluster, "f0", FROM) == "f1 is not MASTER, so another host has the address: f0 is not out"
    assert "tasks/failover.py moves it without a loss" in reasons(RIGHT, None, FROM)


def test_after_a_planned_failover_nothing_is_missing() -> None:
    assert plan_promotion(failed_over("since now"), "f1", None, None) == Promotion(stop=True)
    assert "f0 answers, so it has power" in reasons(failed_over("since now"), "f0", None)


def test_a_primary_that_answers_and_did_not_hand_over_may_have_more() -> None:
    assert "--data promote_from=" in reasons(failed_over(None), None, None)
    assert plan_promotion(failed_over(None), "f1", None, FROM).refusals == ()


def test_a_standby_that_is_not_ready_is_not_promoted() -> None:
    assert "services on f1" in reasons(changed(dead(), F1, controller=status(F1, **NOT_READY)), "f0", FROM)
    assert "has no snapshot" in reasons(changed(dead(), F1, snapshots=()), "f0", FROM)


def test_the_wrong_host() -> None:
    for target in ("f0", "f9"):
        assert "is not the standby f1" in reasons(dead(), "f0", FROM, target=target)
    assert "f1.lan.buetow.org is not part of this run: not asked" in reasons(replace(dead(), hosts={}), "f0", FROM)


def test_again() -> None:
    writes = status(F1, writer="f1", epoch=1, carp=CarpState.MASTER, proven=True)
    assert plan_promotion(changed(dead(), F1, controller=writes), "f1", None, None).why == (
        "f1 writes already, since epoch 1"
    )
    killed = changed(dead(), F1, controller=replace(writes, ready=False))
    assert plan_promotion(killed, "f1", None, None) == Promotion()
