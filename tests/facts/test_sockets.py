from __future__ import annotations

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.sockets import ANY, Listener
from facts.base import END
from facts.sockets import Listeners
from tests.lab.cluster import Cluster


@pytest.mark.lab
def test_listeners_of_a_host(lab: Cluster) -> None:
    lab.sh("f0", "service rpcbind onestart")
    found = Listeners().process(lab.sh("f0", Listeners().command()).splitlines())
    assert found is not None
    rpcbind = {(each.protocol, each.address, each.port) for each in found if each.command == "rpcbind"}
    assert {("tcp4", ANY, 111), ("tcp6", ANY, 111), ("udp4", ANY, 111)} <= rpcbind


def test_nobody_and_unknown() -> None:
    assert Listeners().process([END]) == ()
    assert Listeners().process(["root sshd 1 3 tcp4 *:22 *:*", END]) == (Listener("sshd", 1, "tcp4", ANY, 22),)
    for lines in (["sockstat: something else", END], []):
        with pytest.raises(FactProcessError):
            Listeners().process(lines)
