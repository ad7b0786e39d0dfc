"""What the lab has to build for a site: its hosts, their disks and addresses, from the site's own settings."""

from __future__ import annotations

from bridge.settings import REPOSITORY, load_site
from f3s.settings import Site
from lab.build import Plan

GIB = 1 << 30


def site() -> Site:
    """The settings of the inventory at the top of the repository.

    :raises pyinfra.api.exceptions.InventoryError: the data is wrong
    """
    return load_site(str(REPOSITORY / "inventory.py"))


def _length(network: str) -> int:
    return int(network.split("/")[1])


def plans(of: Site) -> list[Plan]:
    """One plan for each host of the site."""
    found = []
    for number, host in enumerate(of.hosts):
        slots: dict[str, tuple[int, str, str]] = {}
        addresses = {of.primary.carp.interface: (host.lan.address, _length(host.lan.network))}
        if host.is_freebsd:
            slots["ada0"] = (16 * GIB, "QEMU HARDDISK", f"S0ZROOT{number}")
            slots[host.usb.device] = (64 << 20, "QEMU QEMU HARDDISK", f"1-0000:00:0{number}.0-1")
            addresses["wg0"] = (host.wireguard.address, _length(host.wireguard.network))
            slots[host.pool.disk or "ada1"] = (1 * GIB, "Samsung-SSD-870", f"S5STNG0{number}")
        platform = "freebsd" if host.is_freebsd else "rocky"
        found.append(Plan(host.name, platform, slots, addresses))
    return found
