"""ifconfig(8): the list, addresses and CARP. Wording and shape as in the transcripts."""

from __future__ import annotations

import ipaddress

from lab.commands import sysctls
from lab.core import Cluster, CommandError, Context, Host, part
from lab.net import model

FLAGS = "flags=8863<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500"
CARP_FLAGS = "flags=8963<UP,BROADCAST,RUNNING,PROMISC,SIMPLEX,MULTICAST> metric 0 mtu 1500"
OPTIONS = (
    "options=4c07bb<RXCSUM,TXCSUM,VLAN_MTU,VLAN_HWTAGGING,JUMBO_MTU,VLAN_HWCSUM,TSO4,TSO6,LRO,VLAN_HWTSO,"
    "LINKSTATE,TXCSUM_IPV6>"
)


def main(ctx: Context) -> int:
    """``-l``; ``[IF]``; ``IF`` with vhid, advskew, advbase, pass, state, alias, -alias, an address."""
    args = list(ctx.args)
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        known = model.interfaces(host)
        has_link = host.name not in model.split(cluster)
        if args == ["-l"]:
            ctx.out(" ".join(known) + "\n")
            return 0
        if not args:
            ctx.out("".join(_show(interface, has_link) for interface in known.values()))
            return 0
        if args[0].startswith("-"):
            raise ctx.not_simulated()
        if args[0] not in known:
            raise CommandError(f"ifconfig: interface {args[0]} does not exist")
        interface = known[args[0]]
        if len(args) == 1:
            ctx.out(_show(interface, has_link))
            return 0
        _change(ctx, cluster, host, interface, args[1:])
    return 0


def _show(interface: model.Interface, has_link: bool) -> str:
    if interface.name.startswith("lo"):
        lines = [f"{interface.name}: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> metric 0 mtu 16384"]
    else:
        flags = CARP_FLAGS if interface.carps else FLAGS
        lines = [f"{interface.name}: {flags}", OPTIONS, f"ether {interface.ether}"]
    for address, length, vhid in interface.addresses:
        net = ipaddress.ip_network(f"{address}/{length}", strict=False)
        mask = f" netmask {int(net.netmask):#010x}"
        broadcast = "" if address.startswith("127.") else f" broadcast {net.broadcast_address}"
        lines.append(f"inet {address}{mask}{broadcast}" + (f" vhid {vhid}" if vhid else ""))
    for carp in interface.carps.values():
        lines.append(f"carp: {carp.state} vhid {carp.vhid} advbase {carp.advbase} advskew {carp.advskew}")
    if not interface.name.startswith("lo"):
        media, status = ("10Gbase-T <full-duplex>", "active") if has_link else ("none", "no carrier")
        lines += [f"media: Ethernet autoselect ({media})", f"status: {status}"]
        lines += ["nd6 options=29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>"]
    return "\n\t".join(lines) + "\n"


def _number(word: str, low: int, high: int, what: str) -> int:
    if not word.isdigit() or not low <= int(word) <= high:
        raise CommandError(f"ifconfig: {what} must be greater than {low - 1} and less than {high + 1}")
    return int(word)


def _change(ctx: Context, cluster: Cluster, host: Host, interface: model.Interface, words: list[str]) -> None:
    given: dict[str, str] = {}
    address = ""
    remove = False
    words = [word for word in words if word != "inet"]
    while words:
        word = words.pop(0)
        if word in ("vhid", "advskew", "advbase", "pass", "state"):
            given[word] = words.pop(0)
        elif word in ("alias", "add"):
            pass
        elif word in ("-alias", "delete", "remove"):
            remove = True
        elif not address and word[0].isdigit():
            address = word
        else:
            raise ctx.not_simulated()
    vhid = _number(given["vhid"], 1, 254, "vhid") if "vhid" in given else 0
    if given and not vhid:
        raise ctx.not_simulated()
    if given.get("state", "master") not in ("master", "backup", "MASTER", "BACKUP"):
        raise CommandError("ifconfig: unknown state")
    if vhid and "carp" not in part(host, "modules", sysctls.boot_modules):
        raise CommandError("ifconfig: SIOCSVH: Protocol not supported")
    model.hear(cluster)
    carp = interface.carps.get(vhid)
    if vhid and carp is None:
        carp = interface.carps[vhid] = model.Carp(vhid)
    if carp:
        carp.advskew = _number(given["advskew"], 0, 254, "advskew") if "advskew" in given else carp.advskew
        carp.advbase = _number(given["advbase"], 1, 255, "advbase") if "advbase" in given else carp.advbase
        carp.password = given.get("pass", carp.password)
    if address:
        _address(interface, address, vhid, remove)
        if carp and carp.state == "INIT" and not remove:
            model.initialize(ctx.store, cluster, host, interface, vhid)
    if vhid and "state" in given:
        model.request(ctx.store, cluster, host, interface, vhid, given["state"].lower())
    model.settle(ctx.store, cluster)


def _address(interface: model.Interface, text: str, vhid: int, remove: bool) -> None:
    address, _, length = text.partition("/")
    ipaddress.IPv4Address(address)
    mine = [entry for entry in interface.addresses if entry[0] == address]
    if remove:
        interface.addresses.remove(mine[0])
        for number in [n for n in interface.carps if all(entry[2] != n for entry in interface.addresses)]:
            del interface.carps[number]
        return
    entry = (address, int(length or 24), vhid)
    if mine:
        interface.addresses[interface.addresses.index(mine[0])] = entry
    else:
        interface.addresses.append(entry)
