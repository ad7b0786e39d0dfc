"""The deploy, killed again and again, ends as one that never was.

Promotion, return, swap, rotation and the migration of virtual machines have tests of their own for this.
"""

from __future__ import annotations

import os

import pytest

from tests.lab.cluster import F0, F1, Cluster

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("first", range(1, 14) if os.environ.get("CRASH_TEST") else [9])
def test_a_deploy_that_is_killed_again_and_again_is_finished_by_the_next_run(lab: Cluster, first: int) -> None:
    lab.make_secrets()
    lab.killed("deploy.py", "-y", first=first, later=120)
    lab.tick(130)
    assert lab.done("deploy.py", "-y").changed == []
    lab.done("tasks/verify.py", "-y")
    for host in (F0, F1):
        assert lab.sh(host, "sysrc -n rcshutdown_timeout; sysctl -n kern.init_shutdown_timeout") == "300\n330\n"
        assert lab.sh(host, "stat -f '%Lp %Su' /etc/rc.conf.d/netif; ls /etc/rc.conf.d").split() == [
            *("600", "root"),
            *("netif", "zrepl"),
        ]
