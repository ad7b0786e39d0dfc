from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, ctx_state

from operations import reasons
from tests.operations.harness import FakeHost, FakeState


def test_the_host_that_comes_last_speaks_for_all_also_for_one_that_did_not_answer() -> None:
    f0, f1, f2 = hosts = [FakeHost({}, f"f{number}") for number in range(3)]
    run: Any = FakeState(is_executing=False, inventory=hosts)
    run.activated_hosts, run.active_hosts = set(hosts), {f0, f1}
    with ctx_state.use(run):
        for host, why in ((f1, "full"), (f0, "broken")):
            with ctx_host.use(host):  # type: ignore[arg-type]
                with reasons.noted():
                    raise OperationError(f"{host.name}: {why}")
                reasons.none_left()
        with ctx_host.use(f2), pytest.raises(OperationError) as refusal:  # type: ignore[arg-type]
            reasons.none_left()
    head, *listed = str(refusal.value).splitlines()
    assert head.startswith("3 reasons to stop. No host was changed.")
    assert listed == ["- [here] f0: broken", "- [here] f1: full", "- [-] f2: a question failed, see the error above"]


def test_a_host_that_is_only_asked_silences_no_other() -> None:
    """pyinfra has all hosts ask at the same time, and one waits for its host while another goes on."""
    asked, other = FakeHost({}, "f0"), FakeHost({}, "f1")
    run: Any = FakeState(is_executing=False)
    run.config.DIFF = True
    with ctx_state.use(run), ctx_host.use(asked), reasons._silent():  # type: ignore[arg-type]
        asked.log("told later")
        assert reasons.silent()
        with ctx_host.use(other):  # type: ignore[arg-type]
            other.log("told now")
            assert (reasons.silent(), run.config.DIFF) == (False, True)
    asked.log("told now, too")
    assert (asked.logs, other.logs) == (["told now, too"], ["told now"])


def test_what_leads_to_a_refusal_is_told_with_it() -> None:
    asked, run = FakeHost({}, "f0"), FakeState(is_executing=False)
    with ctx_state.use(run), ctx_host.use(asked), reasons._silent(), reasons.noted():  # type: ignore[arg-type]
        asked.log("f1 does not answer")
        raise OperationError("nobody knows")
    assert asked.logs == ["f1 does not answer"]
