from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, ctx_state

from facts.base import HostFact
from operations import base, reasons
from tests.operations.harness import FakeHost, FakeState, run


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
    with ctx_host.use(asked), reasons._silent() as held:  # type: ignore[arg-type]
        asked.log("told later")
        with ctx_host.use(other):  # type: ignore[arg-type]
            other.log("told now")
    assert (asked.logs, other.logs) == ([], ["told now"])
    asked.log("told now, too")
    for report in held:
        report()
    assert asked.logs == ["told now, too", "told later"]


@reasons.operation()
def refuses() -> Generator[Any]:
    base.current_host().log("f1 does not answer", "")
    raise OperationError("nobody knows")
    yield


def test_what_leads_to_a_refusal_is_told_with_it() -> None:
    asked, run = FakeHost({}, "f0"), FakeState(is_executing=False)
    with ctx_state.use(run), ctx_host.use(asked):  # type: ignore[arg-type]
        reasons._asked(asked, None, 1, refuses._inner)  # type: ignore[attr-defined, arg-type]
        assert asked.logs == ["f1 does not answer"]
        run.is_executing = True
        with pytest.raises(OperationError, match="nobody knows"):
            list(refuses._inner())  # type: ignore[attr-defined]
    assert asked.logs == ["f1 does not answer"] * 2


# -- what a run asks --


@reasons.operation()
def switched(wanted: str, then: list[str]) -> Generator[str]:
    """Goes on asking behind each of its commands."""
    if base.known(Switch) == wanted:
        base.current_host().noop("as wanted")
        return
    yield f"switch {wanted}"
    then.append(base.known(Switch))


class Switch(HostFact[str]):
    """Asked of a host that counts its answers."""


class Counting:
    """A run of one host, whose switch another hand may turn."""

    def __init__(self, *, prompt: bool = False) -> None:
        self.switch, self.asked, self.then = "on", 0, []  # type: str, int, list[str]
        self.host = FakeHost({Switch: self.answer})
        self.run = FakeState(is_executing=True, ops={}, check_for_changes=prompt)

    def answer(self) -> str:
        self.asked += 1
        return self.switch

    def operation(self, wanted: str) -> list[str]:
        with ctx_state.use(self.run), ctx_host.use(self.host):  # type: ignore[arg-type]
            commands = []
            for command in switched._inner(wanted, self.then):  # type: ignore[attr-defined]
                commands.append(command)
                self.switch = wanted
        done = SimpleNamespace(operation_meta=SimpleNamespace(executed=bool(commands)))
        self.run.ops.setdefault(self.host, {})[len(self.run.ops.get(self.host, {}))] = done
        return commands


def test_what_is_not_known_stops_whoever_asks() -> None:
    """`known` itself refuses; whoever asks in another way gets None, and mypy wants to know what that means to him."""
    with pytest.raises(OperationError, match=r"^f0\.lan\.buetow\.org: Switch could not be read; nothing was changed$"):
        run(switched, {Switch: None}, "on", [])
    asks = {file.name: file.read_text().count("get_fact(") for file in Path(base.__file__).parent.glob("*.py")}
    # a target of which nothing is known has nothing: its job is woken
    assert {name: count for name, count in asks.items() if count} == {"base.py": 3, "zrepl.py": 1}


def test_operations_that_find_nothing_to_do_share_their_answers() -> None:
    run = Counting()
    assert [run.operation("on") for _ in range(3)] == [[], [], []]
    assert (run.asked, run.host.noops) == (1, ["as wanted"] * 3)


def test_a_change_is_decided_on_answers_of_its_own_and_spoils_the_others() -> None:
    run = Counting()
    run.operation("on")
    run.switch = "off"  # by another hand
    assert run.operation("off") == []
    assert run.asked == 2
    run.switch = "on"
    assert run.operation("on") == []
    assert run.asked == 3
    assert run.operation("off") == ["switch off"]
    assert (run.asked, run.then) == (5, ["off"])
    assert run.operation("off") == []
    assert run.asked == 6
    assert run.host.noops == ["as wanted"] * 4


def test_a_first_answer_is_not_asked_for_twice() -> None:
    run = Counting()
    assert run.operation("off") == ["switch off"]
    assert (run.asked, run.then) == (2, ["off"])


def test_what_a_person_agreed_to_is_looked_at_again() -> None:
    run = Counting(prompt=True)
    run.run.is_executing = False
    run.operation("on")
    run.run.is_executing = True
    assert [run.operation("on") for _ in range(2)] == [[], []]
    assert run.asked == 2
