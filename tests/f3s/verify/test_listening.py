"""The row of verify about who listens where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from f3s.sockets import ANY, Listener
from f3s.verify.model import State
from tests.f3s.settings_data import build, change, good
from tests.f3s.verify.world import F0, F1, SITE, changed, listeners, one, right_cluster

RIGHT = right_cluster()
VIP = SITE.primary.vip.address


def test_all_right() -> None:
    there = (*listeners(SITE.primary), Listener("nfsd", 1, "tcp6", "::1", 2049))
    for cluster, name in ((RIGHT, F0), (RIGHT, F1), (changed(RIGHT, F0, listeners=there), F0)):
        row = one(cluster, "listening", name)
        assert (row.state, row.reason) == (State.RIGHT, "NFS on loopback alone")
    assert one(changed(RIGHT, F1, listeners=()), "listening", F1).reason == "nobody takes NFS"


@pytest.mark.parametrize(
    ("listener", "says"),
    [
        (Listener("nfsd", 2073, "tcp4", ANY, 2049), "nfsd (process 2073) takes NFS without TLS on port 2049 of tcp4 *"),
        (Listener("nfsd", 2073, "tcp6", ANY, 2049), "nfsd (process 2073) takes NFS without TLS on port 2049 of tcp6 *"),
        (Listener("?", None, "udp4", ANY, 2049), "the kernel takes NFS without TLS on port 2049 of udp4 *"),
        (Listener("nfsd", 1, "tcp4", VIP, 2049), f"nfsd (process 1) takes NFS without TLS on port 2049 of tcp4 {VIP}"),
    ],
)
def test_nfs_beside_the_tunnel_is_wrong(listener: Listener, says: str) -> None:
    row = one(changed(RIGHT, F0, listeners=(*listeners(SITE.primary), listener)), "listening", F0)
    assert (row.state, row.reason) == (State.WRONG, says)
    assert "service nfsd onerestart" in row.next_step


def test_nfs_for_others_is_right_where_the_data_say_so() -> None:
    data = good()
    for name in (F0, F1):
        change(data, (name,), nfs_for_others=True)
    shared = replace(RIGHT, site=build(data))
    open_to_all = Listener("nfsd", 2073, "tcp4", ANY, 2049)
    row = one(changed(shared, F0, listeners=(open_to_all,)), "listening", F0)
    assert (row.state, row.reason) == (State.RIGHT, "NFS for others, too, as nfs_for_others says")


def test_a_stunnel_that_its_rc_script_does_not_know_is_wrong() -> None:
    stray = Listener("stunnel", 1679, "tcp4", VIP, 2323)
    running = {"nfsd": True, "stunnel": False}
    row = one(changed(RIGHT, F1, listeners=(stray,), running=running), "listening", F1)
    assert (row.state, row.reason) == (
        State.WRONG,
        f"stunnel (process 1679) listens on {VIP}:2323, unknown to its rc script",
    )
    assert row.next_step.startswith("doas kill 1679; then ")


def test_unknown_stays_unknown() -> None:
    assert one(changed(RIGHT, F0, listeners=None), "listening", F0).state is State.UNKNOWN
    assert one(changed(RIGHT, F0, running=None), "listening", F0).state is State.UNKNOWN
