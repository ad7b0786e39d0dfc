"""When the address may be moved on purpose, and when the move is proven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from f3s.carp import CarpState
from f3s.verify.model import ClusterView
from f3s.verify.move import Move, catch_up_seconds, plan_failback, plan_failover, served_job, unproven
from f3s.verify.tls import Outcome, TlsAnswer
from tests.f3s.verify.test_checks import failed_over
from tests.f3s.verify.world import F0, F1, REPLICA, SECONDS, SITE, carp, changed, right_cluster

SERVING = right_cluster()
HOLD = "since 2026-03-01 11:00:00"


def of(cluster: ClusterView, name: str) -> Any:
    return cluster.hosts[name]


def test_the_job_and_the_time_it_gets() -> None:
    job = served_job(SITE)
    assert (job.name, catch_up_seconds(job)) == ("f0_to_f1_nfsdata", 180)


def test_failover_of_a_cluster_that_is_right() -> None:
    assert plan_failover(SERVING) == Move(moves=True)


def test_failover_twice() -> None:
    assert plan_failover(failed_over(HOLD)) == Move(done=f"f1 serves already: planned failover {HOLD}")


def test_an_unplanned_failover_is_held_only() -> None:
    assert plan_failover(failed_over(None)) == Move(moves=False)


@pytest.mark.parametrize(
    ("host", "values", "says"),
    [
        (F1, {"written": {REPLICA: 1}}, "has diverged"),
        (F1, {"written": None}, "nothing is known"),
        (F1, {"snapshots": ()}, "no snapshot of"),
        (F0, {"now": SECONDS + 3600}, "s old, at most 180 s"),
        (F1, {"mounts": None}, "mounts on f1"),
        (F1, {"entries": {}}, "nfs.DO_NOT_REMOVE is missing"),
        (F1, {"key_checks": None}, "keys on f1"),
        (F1, {"pools": {}}, "there is no pool zdata"),
        (F1, {"carp": None}, "CARP on f1"),
        (F1, {"carp": carp(CarpState.MASTER)}, "both are MASTER"),
        (F0, {"carp": carp(CarpState.BACKUP)}, "nobody is MASTER"),
        (F1, {"running": None}, "services on f1"),
        (F1, {"controller": replace(of(SERVING, F1).controller, failed="nfsd did not start")}, "nfsd did not start"),
        (F0, {"running": {**of(SERVING, F0).running, "zrepl": False}}, "zrepl is not running"),
    ],
)
def test_failover_is_refused_on_what_is_wrong_or_not_known(host: str, values: dict[str, Any], says: str) -> None:
    plan = plan_failover(changed(SERVING, host, **values))
    assert any(says in reason for reason in plan.refusals), plan
    assert all(" -> " in reason for reason in plan.refusals)
    assert not plan.done


def test_what_is_wrong_with_the_primarys_own_services_is_no_reason_to_stay() -> None:
    cluster = changed(SERVING, F0, running={**of(SERVING, F0).running, "stunnel": False})
    assert plan_failover(cluster) == Move(moves=True)


@pytest.mark.parametrize("missing", [F0, F1])
@pytest.mark.parametrize("plan", [plan_failover, plan_failback])
def test_a_host_that_is_not_there(missing: str, plan: Any) -> None:
    views = {name: view for name, view in failed_over(HOLD).hosts.items() if name != missing}
    found = plan(replace(SERVING, hosts=views, absent={missing: "no connection"}))
    assert found.refusals == (f"{missing} is not part of this run: no connection",)


def test_failback() -> None:
    assert plan_failback(SERVING) == Move(done="f0 serves already")
    for hold in (HOLD, None):
        assert plan_failback(failed_over(hold)) == Move(moves=True)


def test_failback_ends_a_hold_that_outlived_its_peer() -> None:
    cluster = changed(SERVING, F0, controller=replace(of(SERVING, F0).controller, hold=HOLD))
    assert plan_failback(cluster) == Move(moves=True)


def test_failback_tries_again_what_did_not_start_before() -> None:
    cluster = failed_over(HOLD)
    failed = replace(of(cluster, F0).controller, failed="service stunnel did not start")
    assert plan_failback(changed(cluster, F0, controller=failed)) == Move(moves=True)


@pytest.mark.parametrize(
    ("host", "values", "says"),
    [
        (F1, {"written": {REPLICA: 1}}, "has diverged"),
        (F1, {"written": None}, "nothing is known"),
        (F0, {"now": SECONDS + 3600}, "s old, at most 180 s"),
        (F0, {"entries": False}, "mounts on f0"),
        (F0, {"datasets": None}, "keys on f0"),
        (F0, {"controller": None}, "services on f0"),
        (F0, {"carp": carp(CarpState.MASTER)}, "both are MASTER"),
        (F1, {"carp": None}, "one MASTER on cluster"),
    ],
)
def test_failback_is_refused_on_what_is_wrong_or_not_known(host: str, values: dict[str, Any], says: str) -> None:
    plan = plan_failback(changed(failed_over(HOLD), host, **values))
    assert any(says in reason for reason in plan.refusals), plan


STATES = {F0: CarpState.BACKUP, F1: CarpState.MASTER}
FINE = TlsAnswer(Outcome.ACCEPTED, Outcome.REFUSED)


def test_a_move_is_proven() -> None:
    assert unproven(SITE.standby, STATES, (), {"r0": FINE, "r1": None}) == []
    # no client takes part in the run: then nobody can be asked
    assert unproven(SITE.standby, STATES, (), {}) == []


@pytest.mark.parametrize(
    ("states", "missing", "answers", "says"),
    [
        ({**STATES, F0: CarpState.MASTER}, (), {"r0": FINE}, f"{F0} is MASTER instead of BACKUP"),
        ({**STATES, F1: None}, (), {"r0": FINE}, f"{F1} is not known instead of MASTER"),
        (STATES, None, {"r0": FINE}, "are not known"),
        (STATES, ("nfsd",), {"r0": FINE}, "not running on f1.lan.buetow.org: nfsd"),
        (STATES, (), {"r0": None}, "no client is let in"),
        (STATES, (), {"r0": TlsAnswer(Outcome.REFUSED, Outcome.REFUSED)}, "no client is let in"),
        (STATES, (), {"r0": TlsAnswer(Outcome.ACCEPTED, Outcome.ACCEPTED)}, "lets in anybody"),
    ],
)
def test_a_move_is_not_proven(states: Any, missing: Any, answers: Any, says: str) -> None:
    problems = unproven(SITE.standby, states, missing, answers)
    assert len(problems) == 1
    assert says in problems[0]
