"""CARP with preemption: the table of the third round of observations, by advertisements on the virtual clock."""

from __future__ import annotations

import pytest

from lab import actions
from lab.net import model
from lab.rc import boot
from tests.lab.cluster import F0, F1, Cluster

pytestmark = pytest.mark.lab


def claim(lab: Cluster, host: str, skew: int) -> None:
    lab.sh(host, f"ifconfig re0 vhid 1 advskew {skew}")


def join(lab: Cluster, host: str, skew: int) -> None:
    words = f"ifconfig re0 vhid 1 advskew {skew} pass sesame12 alias 192.168.1.138/32"
    lab.sh(host, f"kldload -n carp; sysctl net.inet.carp.preempt=1 >/dev/null; {words}")


def states(lab: Cluster) -> tuple[str, str]:
    one, two = (model.interfaces(lab.hosts.host(host))["re0"].carps[1].state for host in (F0, F1))
    return one, two


def said(lab: Cluster, host: str) -> str:
    """The last thing that the host's kernel said of the vhid."""
    return [line for line in lab.sh(host, "dmesg").splitlines() if "1@re0" in line][-1]


@pytest.fixture
def pair(lab: Cluster) -> Cluster:
    """f0 is MASTER and claims 0, f1 is BACKUP with 100."""
    join(lab, F0, 60)
    join(lab, F1, 100)
    lab.tick(5)
    assert states(lab) == ("MASTER", "BACKUP"), "both boot together: the primary becomes MASTER"
    claim(lab, F0, 0)
    lab.tick(1.3)
    return lab


def test_a_raised_claim_moves_the_address_with_the_next_advertisement(pair: Cluster) -> None:
    claim(pair, F0, 254)
    assert states(pair) == ("MASTER", "BACKUP"), "nothing is sent at once"
    pair.tick(1)
    assert states(pair) == ("BACKUP", "MASTER")
    assert said(pair, F1).endswith("BACKUP -> MASTER (preempting a slower master)")
    assert said(pair, F0).endswith("MASTER -> BACKUP (more frequent advertisement received)")


def test_a_claim_is_compared_after_the_cut_at_240(pair: Cluster) -> None:
    claim(pair, F0, 254)
    claim(pair, F1, 254)
    pair.tick(10)
    assert states(pair) == ("MASTER", "BACKUP"), "equal claims do not preempt"
    claim(pair, F1, 60)
    pair.tick(2)
    assert states(pair) == ("BACKUP", "MASTER")


def test_without_preempt_a_lower_claim_takes_nothing(pair: Cluster) -> None:
    pair.sh(F1, "sysctl net.inet.carp.preempt=0")
    claim(pair, F0, 200)
    pair.tick(10)
    assert states(pair) == ("MASTER", "BACKUP")
    pair.sh(F1, "sysctl net.inet.carp.preempt=1")
    pair.tick(2)
    assert states(pair) == ("BACKUP", "MASTER")


def test_after_a_power_cut_the_backup_waits_for_its_patience(pair: Cluster) -> None:
    boot.crash(pair.store, F0)
    pair.tick(2)
    assert model.interfaces(pair.hosts.host(F1))["re0"].carps[1].state == "BACKUP"
    pair.tick(1.4)
    assert model.interfaces(pair.hosts.host(F1))["re0"].carps[1].state == "MASTER"
    assert said(pair, F1).endswith("BACKUP -> MASTER (master timed out)")


def test_links_that_come_back_one_after_the_other_bring_the_address_back_to_the_claim(pair: Cluster) -> None:
    claim(pair, F0, 254)
    pair.tick(2)
    claim(pair, F0, 60)
    claim(pair, F1, 20)
    for host in (F0, F1):
        actions.cut_off(pair.store, host, away=True)
    assert states(pair) == ("INIT", "INIT")
    assert "carp: demoted by 240 to 240 (interface down)" in pair.sh(F0, "dmesg")
    assert "status: no carrier" in pair.sh(F0, "ifconfig re0")
    pair.tick(8)
    actions.cut_off(pair.store, F0, away=False)
    assert states(pair) == ("BACKUP", "INIT")
    assert pair.sh(F0, "sysctl -n net.inet.carp.demotion") == "0\n"
    pair.tick(5)
    assert states(pair) == ("MASTER", "INIT")
    actions.cut_off(pair.store, F1, away=False)
    pair.tick(1.3)
    assert states(pair) == ("BACKUP", "MASTER")


@pytest.mark.parametrize(("claims", "wins"), [((0, 20), ("MASTER", "BACKUP")), ((60, 20), ("BACKUP", "MASTER"))])
def test_a_healed_split_leaves_the_address_with_the_lowest_claim(
    pair: Cluster, claims: tuple[int, int], wins: tuple[str, str]
) -> None:
    actions.part(pair.store, F0, F1, away=True)
    pair.tick(4)
    assert states(pair) == ("MASTER", "MASTER")
    for host, skew in zip((F0, F1), claims, strict=True):
        claim(pair, host, skew)
    pair.tick(2)
    actions.part(pair.store, F0, F1, away=False)
    assert states(pair) == ("MASTER", "MASTER"), "nobody has heard anything yet"
    pair.tick(1.1)
    assert states(pair) == wins


def test_a_demotion_is_heard_at_once_and_counts_for_the_claim(pair: Cluster) -> None:
    assert pair.sh(F0, "sysctl net.inet.carp.demotion=240") == "net.inet.carp.demotion: 0 -> 240\n"
    assert states(pair) == ("BACKUP", "MASTER")
    pair.sh(F1, "sysctl net.inet.carp.demotion=240")
    pair.tick(5)
    assert states(pair) == ("BACKUP", "MASTER"), "equal demotion: nothing moves"
    pair.sh(F0, "sysctl net.inet.carp.demotion=-240")
    pair.tick(2)
    assert states(pair) == ("MASTER", "BACKUP")
