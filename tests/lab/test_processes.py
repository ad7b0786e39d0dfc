"""Signals, process list, sockets and rcorder of the simulated FreeBSD hosts, where the recording does not show them."""

from __future__ import annotations

import pytest
from pyinfra.api.exceptions import FactProcessError

from facts.carp import CarpRivals
from tests.lab.cluster import Cluster

pytestmark = pytest.mark.lab

NFS = "echo 'V4: /' > /etc/exports; for s in nfsd nfsuserd; do service $s onestart; done"


def test_kill_ends_a_daemon_and_what_it_bound(lab: Cluster) -> None:
    lab.sh("f0", NFS)
    assert "2049" in lab.sh("f0", "sockstat -4l")
    lab.sh("f0", "/bin/kill $(pgrep nfsd | head -n 1)")
    assert lab.attempt("f0", "pgrep nfsd; service nfsd onestatus").out == "nfsd is not running.\n"
    assert "2049" not in lab.sh("f0", "sockstat -4l")


def test_kill_as_a_program_reaches_real_processes_too(lab: Cluster) -> None:
    ran = lab.attempt("f0", "tail -f /etc/rc.conf >/dev/null & /bin/kill $!; wait $!; echo $?; /bin/kill 4000000")
    assert (ran.out, ran.rc) == ("143\n", 1)
    assert ran.err.splitlines()[-1] == "kill: 4000000: No such process"  # the shell may say "Terminated" before


def test_a_signal_with_an_unknown_effect_is_refused(lab: Cluster) -> None:
    ran = lab.attempt("f0", f"{NFS}; /bin/kill -HUP $(pgrep nfsd | head -n 1)")
    assert ran.rc == 99
    assert "lab: not simulated: kill HUP to nfsd" in ran.err
    assert lab.attempt("f0", "service nfsd onestatus").rc == 0


def test_netstat_counts_no_strangers_and_has_no_carp_without_the_module(lab: Cluster) -> None:
    ask = CarpRivals().command(interface="re0", address="192.168.1.138")
    with pytest.raises(FactProcessError):
        CarpRivals().process(lab.sh("f0", ask).splitlines())
    found = CarpRivals().process(lab.sh("f0", f"kldload -n carp; {ask}").splitlines())
    assert found is not None
    assert (found.discarded, found.holders) == (0, frozenset())
    assert lab.attempt("f0", "netstat -rn").rc == 99


def test_sockets_follow_the_flags_of_nfsd_and_mountd(lab: Cluster) -> None:
    lab.sh("f0", f"sysrc nfs_server_flags='-t -h 127.0.0.1' mountd_flags='-r -S -R'; {NFS}")
    local = [line.split()[4:6] for line in lab.sh("f0", "sockstat -4l | grep -E 'nfsd|mountd|2049'").splitlines()]
    assert local == [["tcp4", "127.0.0.1:2049"]]
