from __future__ import annotations

import pytest

from f3s.sockets import ANY
from facts.sockets import Listeners
from tests.lab.cluster import Cluster


@pytest.mark.lab
def test_listeners_of_a_host(lab: Cluster) -> None:
    lab.sh("f0", "service rpcbind onestart")
    found = Listeners().process(lab.sh("f0", Listeners().command()).splitlines())
    assert found is not None
    rpcbind = {(each.protocol, each.address, each.port) for each in found if each.command == "rpcbind"}
    assert {("tcp4", ANY, 111), ("tcp6", ANY, 111), ("udp4", ANY, 111)} <= rpcbind
