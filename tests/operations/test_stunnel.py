from __future__ import annotations

import pytest
from pyinfra.api.exceptions import OperationError

from facts.stunnel import Stunnel, StunnelState
from operations import stunnel
from tests.operations.harness import Result, run

FILES = ["/etc/c.conf", "/etc/it's.pem"]


def reloaded(state: StunnelState | None) -> Result:
    return run(stunnel.reloaded, {Stunnel: state}, "/var/run/stunnel/it's.pid", "/var/run/stamp", FILES)


def test_a_running_one_with_unread_files_is_reloaded_by_its_pid_file() -> None:
    assert reloaded(StunnelState(running=True, unread=(FILES[0],))).commands == [
        "touch /var/run/stamp.new && pkill -HUP -F '/var/run/stunnel/it'\"'\"'s.pid' -x stunnel "
        "&& mv -f /var/run/stamp.new /var/run/stamp"
    ]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (StunnelState(running=True), "has read its files"),
        (StunnelState(running=False), "does not run here"),
    ],
)
def test_nothing_to_do(state: StunnelState, says: str) -> None:
    result = reloaded(state)
    assert result.commands == []
    assert [says in noop for noop in result.noops] == [True]


def test_an_unknown_state_stops_it() -> None:
    with pytest.raises(OperationError, match="could not be read"):
        reloaded(None)
