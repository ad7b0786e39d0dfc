"""What the lab has to build for a site: its hosts, their disks and addresses, from the site's own settings."""

from __future__ import annotations

from pathlib import Path

from pyinfra_cli.inventory import make_inventory

from f3s.settings import HostData, Site, build_site
from lab.build import Plan

REPO = Path(__file__).resolve().parent.parent
GIB = 1 << 30


def site() -> Site:
    """The settings of the inventory at the top of the repository.

    :raises pyinfra.api.exceptions.InventoryError: the data is wrong
    """
    inventory = make_inventory(str(REPO / "inventory.py"), cwd=str(REPO))
    return build_site({host.name: HostData(frozenset(host.groups), host.data.dict()) for host in inventory})


def plans(of: Site) -> list[Plan]:
    """One plan for each host of the site."""
    found = []
    for number, host in enumerate(of.hosts):
        slots: dict[str, tuple[int, str, str]] = {}
        addresses = {of.storage[0].carp.interface: (str(host.lan.address), host.lan.network.prefixlen)}
        if "freebsd" in host.groups:
            slots["ada0"] = (16 * GIB, "QEMU HARDDISK", f"S0ZROOT{number}")
            slots[host.usb.device] = (64 << 20, "QEMU QEMU HARDDISK", f"1-0000:00:0{number}.0-1")
            addresses["wg0"] = (str(host.wireguard.address), host.wireguard.network.prefixlen)
        if "storage" in host.groups and host.pool.disk:
            slots[host.pool.disk] = (1 * GIB, "Samsung-SSD-870", f"S5STNG0{number}")
        platform = "freebsd" if "freebsd" in host.groups else "rocky"
        found.append(Plan(host.name, platform, slots, addresses))
    return found
