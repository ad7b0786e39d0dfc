"""CARP as recorded from FreeBSD 13.2 (transcripts: carp, idmap)."""

from __future__ import annotations

import pytest

from f3s.carp import (
    Aliases,
    CarpState,
    CarpView,
    VirtualHost,
    alias_words,
    parse_aliases,
    parse_carp,
    parse_ifconfig,
    rc_file,
    rc_interface,
)
from f3s.parsing import UnknownOutput
from tests.shell import lines_of

F0 = """\
vtnet0: flags=8963<UP,BROADCAST,RUNNING,PROMISC,SIMPLEX,MULTICAST> metric 0 mtu 1500
	options=4c07bb<RXCSUM,TXCSUM,VLAN_MTU,VLAN_HWTAGGING,JUMBO_MTU,VLAN_HWCSUM,TSO4,TSO6,LRO,VLAN_HWTSO,LINKSTATE,TXCSUM_IPV6>
	ether 52:54:00:00:01:30
	inet 192.168.1.130 netmask 0xffffff00 broadcast 192.168.1.255
	inet 192.168.1.138 netmask 0xffffffff broadcast 192.168.1.138 vhid 1
	carp: MASTER vhid 1 advbase 1 advskew 0
	media: Ethernet autoselect (10Gbase-T <full-duplex>)
	status: active
	nd6 options=29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>"""
CIDR = F0.replace("138 netmask 0xffffffff", "138/32").replace("130 netmask 0xffffff00", "130/24")
TWO_LINES = "\tcarp: MASTER vhid 1 advbase 1 advskew 254\n\tcarp: INIT vhid 2 advbase 1 advskew 0"


@pytest.mark.parametrize("text", [F0, CIDR])
def test_a_recorded_interface(text: str) -> None:
    view = parse_ifconfig(text.splitlines(), 0, 0)
    assert view.virtual_hosts == {1: VirtualHost(CarpState.MASTER, 1, 0, ("192.168.1.138",))}
    assert view.plain_addresses == ("192.168.1.130",)
    assert view.loaded


def test_a_host_of_freebsd_15_with_a_bridge() -> None:
    """The shapes are those of 15.1: a line for the peer, and ifconfig(8) of a bridge."""
    peers = F0.replace("advskew 0\n", "advskew 0\n\t      peer 192.168.1.131 peer6 ff02::12\n")
    peers = peers.replace("vtnet0", "igb0.10")
    bridge = (
        "vm-public: flags=1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu 1500\n"
        "\tether 58:9c:fc:10:6f:43\n\tinet 10.0.0.1 netmask 0xffffff00 broadcast 10.0.0.255 vhid 7\n"
        "\tcarp: BACKUP vhid 7 advbase 1 advskew 100\n\t      peer 224.0.0.18 peer6 ff02::12\n"
        "\tmember: igb0x10 flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>\n"
    )
    member = bridge.replace("igb0x10", "igb0.10")

    def read(text: str, *more: str, release: int = 1501000) -> CarpView:
        lines = f"=== interface\nigb0.10\n=== ifconfig\n{text}\n=== release\n{release}\n=== bridge".splitlines()
        return parse_carp([*lines, *more, "=== sysctl", "0", "1"])

    found = read(f"{peers}\n{member}", "1")
    assert found.virtual_hosts[1] == VirtualHost(CarpState.MASTER, 1, 0, ("192.168.1.138",), "192.168.1.131")
    assert found.elsewhere == {"vm-public": {7: VirtualHost(CarpState.BACKUP, 1, 100, ("10.0.0.1",), "224.0.0.18")}}
    assert (found.bridge, found.takes_addresses, found.release) == ("vm-public", True, 1501000)
    assert read(f"{bridge}{peers}").bridge is None
    assert not read(peers, "0").takes_addresses
    takes = [read(peers, release=release).takes_addresses for release in (1302001, 1501000, 1600000)]
    assert takes == [True, True, False]
    with pytest.raises(UnknownOutput, match=r"there is no igb0\.10 among vm-public"):
        read(member)


def test_a_vhid_that_only_a_mistyped_command_made() -> None:
    view = parse_ifconfig(TWO_LINES.splitlines(), None, None)
    assert view.virtual_hosts[1] == VirtualHost(CarpState.MASTER, 1, 254)
    assert view.virtual_hosts[2].state is CarpState.INIT
    assert not view.loaded


@pytest.mark.parametrize(
    "line",
    [
        "\tcarp: SLAVE vhid 1 advbase 1 advskew 0",
        "\tcarp: MASTER vhid one advbase 1 advskew 0",
        "\tinet somewhere",
        "\tinet 192.168.1.138 netmask 0xffffffff vhid 7",
    ],
)
def test_unknown_lines_are_refused(line: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_ifconfig([line], 0, 0)


def test_the_boot_file_is_what_sh_reads() -> None:
    words = alias_words(1, 1, 100, "p.+_-w0rd", "192.168.1.138")
    text = rc_file("igb0.10", 2, words)
    said = lines_of(text + 'set -- $ifconfig_igb0_10_alias2; echo "$#:$*"')
    assert said == ["11:inet vhid 1 advbase 1 advskew 100 pass p.+_-w0rd alias 192.168.1.138/32"]
    unicast = alias_words(1, 1, 100, "x", "192.168.1.138", ("peer", "192.168.1.131"))
    assert unicast.endswith(" pass x peer 192.168.1.131 alias 192.168.1.138/32")


def test_interface_names_in_variables() -> None:
    assert [rc_interface(name) for name in ("re0", "igb0.10", "my-nic")] == ["re0", "igb0_10", "my_nic"]


@pytest.mark.parametrize(
    ("ours", "others", "free"), [((), (), 0), ((0,), (), 0), ((), (0, 1), 2), ((1,), (0, 2), 1), ((3,), (1,), 0)]
)
def test_the_first_free_number_fills_the_gap(ours: tuple[int, ...], others: tuple[int, ...], free: int) -> None:
    assert Aliases(ours, others, foreign_file=False).free == free


def test_aliases() -> None:
    assert parse_aliases(["other 2", "ours 0", "other 1", "file foreign"]) == Aliases((0,), (1, 2), True)
    for lines in (["ours 0"], ["ours x", "file absent"], ["mine 1", "file absent"], ["file maybe"]):
        with pytest.raises(UnknownOutput):
            parse_aliases(lines)
