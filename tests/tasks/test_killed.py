"""Runs of carp, nfs and clients that are killed, each by the next one's kill, reach the end of one that never was.

The other tasks have tests of their own for this, at the points that matter to them.
"""

from __future__ import annotations

import pytest

from tests.lab.cluster import F0, F1, Cluster

pytestmark = pytest.mark.lab
R0 = "r0.lan.buetow.org"
TRIED_AGAIN = [f"{R0}: clients: mounted, if the server answers"]
"""By each run, as no server answers here."""


@pytest.mark.parametrize(
    ("task", "hosts", "kills"),
    [("carp", (F0, F1), (7, 24, 41, 58)), ("nfs", (F1,), (3, 6, 9)), ("clients", (R0,), (4, 13, 22, 31, 40))],
)
def test_the_run_after_the_kills_is_the_last_that_changes_anything(
    lab: Cluster, task: str, hosts: tuple[str, ...], kills: tuple[int, ...]
) -> None:
    lab.make_secrets()
    words = (f"tasks/{task}.py", "-y", *(word for host in hosts for word in ("--limit", host)))
    for number in kills:
        killed = lab.pyinfra(*words, LAB_KILL_AT=str(number))
        assert killed.rc == 137, f"it was over before command {number}:\n{killed.output}"
    last = lab.pyinfra(*words)
    assert last.rc == 0, last.output
    assert last.changed, "the kills came too late to matter"
    assert lab.pyinfra(*words).changed == (TRIED_AGAIN if task == "clients" else [])
    if task == "carp":
        lab.tick(10)
        assert [lab.sh(host, "carp 2>/dev/null").split()[0] for host in hosts] == ["MASTER", "BACKUP"]
        for host in hosts:
            assert lab.sh(host, "sysrc -n rcshutdown_timeout; sysctl -n kern.init_shutdown_timeout") == "300\n330\n"
            assert lab.sh(host, "stat -f '%Lp %Su' /etc/rc.conf.d/netif; ls /etc/rc.conf.d").split() == [
                *("600", "root"),
                "netif",
            ]
