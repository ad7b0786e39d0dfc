from __future__ import annotations

import pytest
from pyinfra.api.exceptions import OperationError

from f3s.services import ServiceState
from facts.base import script
from facts.rcconf import PERIODIC_CONF, Variables
from facts.services import Services
from operations import rcconf, services
from tests.operations.harness import Result, run


def variables(found: dict[str, str | None], wanted: dict[str, str], **more: str) -> Result:
    return run(rcconf.variables, {Variables: found}, wanted, **more)


def test_only_what_differs_is_set() -> None:
    result = variables({"a": "NO", "b": "x", "c": None}, {"a": "YES", "b": "x", "c": ""})
    assert result.commands == ["sysrc a=YES", "sysrc c=''"]
    result = variables({"a": "YES"}, {"a": "YES"})
    assert (result.commands, result.noops) == ([], ["a=YES in /etc/rc.conf"])
    result = variables({"a": None}, {"a": "it's; reboot"}, file=PERIODIC_CONF)
    assert result.commands == ["sysrc -f /etc/periodic.conf a='it'\"'\"'s; reboot'"]


def test_services() -> None:
    up, down = {Services: {"x": ServiceState.RUNNING}}, {Services: {"x": ServiceState.STOPPED}}
    assert run(services.stopped, up, "x").commands == [script("stop-service", "x")]
    assert run(services.stopped, down, "x").noops == ["x is not running"]


def test_a_missing_service_is_an_error_but_not_in_the_plan() -> None:
    facts = {Services: {"x": ServiceState.MISSING}}
    assert run(services.stopped, facts, "x", executing=False).noops == ["x is not running"]
    with pytest.raises(OperationError, match="there is no service x"):
        run(services.stopped, facts, "x")
