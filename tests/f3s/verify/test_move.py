"""When the address may be moved on purpose, and when the move is proven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from f3s.carp import CarpState
from f3s.clock import Offset
from f3s.controller import Status
from f3s.verify.model import ClusterView
from f3s.verify.move import Left, Move, plan_failback, plan_failover, unproven
from f3s.verify.tls import Outcome, TlsAnswer
from tests.f3s.settings_data import build, good, with_backup
from tests.f3s.verify.test_checks import NOT_READY, RESILVERING, failed_over, status
from tests.f3s.verify.world import F0, F1, F2, R0, REPLICA, SECONDS, SITE, carp, changed, pool, right_cluster

SERVING = right_cluster()
HOLD = "since 2026-03-01 11:00:00"


def of(cluster: ClusterView, name: str) -> Any:
    return cluster.hosts[name]


@pytest.mark.parametrize("first", [True, False])
def test_a_backup_on_a_third_host_proves_nothing_and_is_in_nobodys_way(first: bool) -> None:
    """Of f2 nothing is known here, and its zrepl does not run."""
    site = build(with_backup(good(), first=first))
    cluster = changed(replace(SERVING, site=site), F2, running={"zrepl": False})
    assert plan_failover(cluster) == Move(Left.ALL)
    held = changed(replace(failed_over(HOLD), site=site), F2, running={"zrepl": False})
    assert plan_failback(held) == Move(Left.ALL)
    diverged = {"written": {REPLICA: 1}}
    for found in (plan_failover(changed(cluster, F1, **diverged)), plan_failback(changed(held, F1, **diverged))):
        assert len(found.refusals) == 1
        assert f"replica of f0_to_f1_nfsdata untouched on {F1}: {REPLICA} has diverged" in found.refusals[0]


NO_ANSWER = TlsAnswer(Outcome.UNREACHABLE, Outcome.UNREACHABLE)


def unheard(cluster: ClusterView) -> ClusterView:
    """Before the proof: no client has been let in."""
    for client in SITE.clients:
        cluster = changed(cluster, client.name, tls=NO_ANSWER)
    return cluster


def killed(**values: Any) -> ClusterView:
    """After `carp backup`, before the proof."""
    return unheard(changed(failed_over(HOLD), F1, **values))


UNABLE = {"controller": status(F1, **NOT_READY), "carp": carp(CarpState.MASTER, claim=254)}
PRIMARY_UNABLE = {"controller": status(F0, **NOT_READY), "carp": carp(CarpState.MASTER, claim=254)}
OUTLIVED = {"controller": status(F0, hold=HOLD, fsid_number=17), "carp": carp(CarpState.MASTER, claim=200)}
NOBODY_SERVES = Move(Left.HOLD, refusals=(f"{F1} is not ready: the key of zdata is not loaded",))


@pytest.mark.parametrize(
    ("plan", "cluster", "move"),
    [
        (plan_failover, SERVING, Move(Left.ALL)),
        (plan_failover, failed_over(HOLD), Move(Left.NOTHING, f"f1 serves already: planned failover {HOLD}")),
        (plan_failover, killed(), Move(Left.PROOF)),
        # what is not proven is not done
        (plan_failover, changed(failed_over(HOLD), F1, controller=None), Move(Left.PROOF)),
        (plan_failover, changed(failed_over(HOLD), F1, controller=status(F1, ready=None)), Move(Left.PROOF)),
        (plan_failover, changed(failed_over(HOLD), F1, **UNABLE), Move(Left.PROOF)),
        (
            plan_failover,
            changed(failed_over(HOLD), R0, tls=TlsAnswer(Outcome.ACCEPTED, Outcome.ACCEPTED)),
            Move(Left.PROOF),
        ),
        # an unplanned one is held only, and not where nobody serves
        (plan_failover, failed_over(None), Move(Left.HOLD)),
        (plan_failover, changed(failed_over(None), F1, **UNABLE), NOBODY_SERVES),
        # what is wrong with the primary's own services is no reason to stay
        (plan_failover, changed(SERVING, R0, tls=NO_ANSWER), Move(Left.ALL)),
        (plan_failover, changed(changed(SERVING, F0, **PRIMARY_UNABLE), R0, tls=NO_ANSWER), Move(Left.ALL)),
        (plan_failback, SERVING, Move(Left.NOTHING, "f0 serves already")),
        (plan_failback, failed_over(HOLD), Move(Left.ALL)),
        (plan_failback, failed_over(None), Move(Left.ALL)),
        # a hold that outlived its peer, and a run that was killed after the move
        (plan_failback, changed(SERVING, F0, **OUTLIVED), Move(Left.ALL)),
        (plan_failback, unheard(SERVING), Move(Left.ALL)),
    ],
)
def test_what_is_left_to_do(plan: Any, cluster: ClusterView, move: Move) -> None:
    assert plan(cluster) == move


def test_a_promoted_standby_is_never_taken_back() -> None:
    found = plan_failover(killed(written={REPLICA: 1}))
    assert any("has diverged" in reason for reason in found.refusals)


@pytest.mark.parametrize("tls", [None, TlsAnswer(Outcome.REFUSED, Outcome.REFUSED)])
@pytest.mark.parametrize(
    ("plan", "cluster"),
    [(plan_failover, SERVING), (plan_failover, failed_over(None)), (plan_failback, failed_over(HOLD))],
)
def test_without_a_client_nothing_is_moved(plan: Any, cluster: ClusterView, tls: TlsAnswer | None) -> None:
    for client in SITE.clients:
        cluster = changed(cluster, client.name, tls=tls)
    assert any("no client in this run can ask" in reason for reason in plan(cluster).refusals)
    storage = replace(cluster, hosts={name: view for name, view in cluster.hosts.items() if name in (F0, F1)})
    assert any("no client in this run can ask" in reason for reason in plan(storage).refusals)


@pytest.mark.parametrize(
    ("host", "values", "says"),
    [
        (F1, {"written": {REPLICA: 1}}, "has diverged"),
        (F1, {"written": None}, "nothing is known"),
        (F1, {"snapshots": ()}, "no snapshot of"),
        (F0, {"now": SECONDS + 3600}, "s old, at most 180 s"),
        (F0, {"now": SECONDS - 3600}, "in the future of f0's clock"),
        (F0, {"clock": Offset(-7200, 1)}, "clock on f0.lan.buetow.org: more than 30 s off"),
        (F1, {"clock": Offset(45, 1)}, "clock on f1.lan.buetow.org: more than 30 s off"),
        (F1, {"clock": None}, "clock on f1"),
        (F1, {"mounts": None}, "mounts on f1"),
        (F1, {"entries": {}}, "nfs.DO_NOT_REMOVE is missing"),
        (F1, {"key_checks": None}, "keys on f1"),
        (F1, {"pools": {}}, "there is no pool zdata"),
        (F1, {"carp": None}, "CARP on f1"),
        (F1, {"carp": carp(CarpState.MASTER)}, "both are MASTER"),
        (F0, {"carp": carp(CarpState.BACKUP)}, "nobody is MASTER"),
        (F1, {"running": None}, "services on f1"),
        (F1, {"controller": status(F1, **NOT_READY)}, "not ready: the key of zdata is not loaded"),
        (F1, {"controller": status(F1, ready=None)}, "not known whether it is ready"),
        (F1, {"controller": None}, "f3s_storage did not say what it does"),
        (F1, {"carp": carp(CarpState.BACKUP, preempt=0)}, "preempt is not 1"),
        (F0, {"running": {**of(SERVING, F0).running, "zrepl": False}}, "zrepl is not running"),
        (F1, {"secrets": {}}, "server.pem is missing"),
        # in progress: somebody's hold, a resilver
        (F1, {"controller": status(F1, hold="since noon")}, "held there by carp backup since"),
        (F0, {"pools": {"zdata": pool("zdata", status=RESILVERING)}}, "resilv"),
    ],
)
def test_failover_is_refused_on_what_is_wrong_or_not_known(host: str, values: dict[str, Any], says: str) -> None:
    plan = plan_failover(changed(SERVING, host, **values))
    assert any(says in reason for reason in plan.refusals), plan
    assert all(" -> " in reason for reason in plan.refusals)
    assert plan.left is Left.ALL


@pytest.mark.parametrize("missing", [F0, F1])
@pytest.mark.parametrize("plan", [plan_failover, plan_failback])
def test_a_host_that_is_not_there(missing: str, plan: Any) -> None:
    views = {name: view for name, view in failed_over(HOLD).hosts.items() if name != missing}
    found = plan(replace(SERVING, hosts=views, absent={missing: "no connection"}))
    assert found.refusals == (f"{missing} is not part of this run: no connection",)


@pytest.mark.parametrize(
    ("host", "values", "says"),
    [
        (F1, {"written": {REPLICA: 1}}, "has diverged"),
        (F1, {"written": None}, "nothing is known"),
        (F0, {"now": SECONDS + 3600}, "s old, at most 180 s"),
        (F0, {"entries": False}, "mounts on f0"),
        (F0, {"datasets": None}, "keys on f0"),
        (F0, {"controller": None}, "services on f0"),
        (F0, {"controller": status(F0, hold=HOLD, **NOT_READY)}, "not ready: the key of zdata is not loaded"),
        (F0, {"controller": status(F0, hold=HOLD, ready=None)}, "not known whether it is ready"),
        (F0, {"secrets": {}}, "server.pem is missing"),
        (F0, {"carp": carp(CarpState.MASTER)}, "both are MASTER"),
        (F1, {"carp": None}, "one MASTER on cluster"),
    ],
)
def test_failback_is_refused_on_what_is_wrong_or_not_known(host: str, values: dict[str, Any], says: str) -> None:
    plan = plan_failback(changed(failed_over(HOLD), host, **values))
    assert any(says in reason for reason in plan.refusals), plan


STATES = {F0: CarpState.BACKUP, F1: CarpState.MASTER}
FINE = TlsAnswer(Outcome.ACCEPTED, Outcome.REFUSED)
READY = Status(ready=True)


def test_a_move_is_proven() -> None:
    assert unproven(SITE.standby, STATES, READY, {"r0": FINE, "r1": None}) == []


@pytest.mark.parametrize(
    ("states", "controller", "answers", "says"),
    [
        ({**STATES, F0: CarpState.MASTER}, READY, {"r0": FINE}, f"{F0} is MASTER instead of BACKUP"),
        ({**STATES, F1: None}, READY, {"r0": FINE}, f"{F1} is not known instead of MASTER"),
        (STATES, None, {"r0": FINE}, f"{F1} is not ready: f3s_storage did not answer"),
        (STATES, Status(ready=None, reason="slow"), {"r0": FINE}, f"{F1} is not ready: slow"),
        (STATES, Status(ready=False, reason="no key"), {"r0": FINE}, f"{F1} is not ready: no key"),
        (STATES, READY, {}, "no client of this run could ask 192.168.1.138:2323"),
        (STATES, READY, {"r0": None}, "no client is let in"),
        (STATES, READY, {"r0": TlsAnswer(Outcome.REFUSED, Outcome.REFUSED)}, "no client is let in"),
        (STATES, READY, {"r0": TlsAnswer(Outcome.ACCEPTED, Outcome.ACCEPTED)}, "lets in anybody"),
    ],
)
def test_a_move_is_not_proven(states: Any, controller: Any, answers: Any, says: str) -> None:
    problems = unproven(SITE.standby, states, controller, answers)
    assert len(problems) == 1
    assert says in problems[0]
