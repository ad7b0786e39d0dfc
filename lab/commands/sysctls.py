"""The kernel's modules and variables of a simulated FreeBSD host."""

from __future__ import annotations

import time

from lab.core import Context, Host, part

MODULES = ("kernel", "zfs", "carp", "vmm", "nmdm", "if_bridge", "if_tuntap", "if_wg")
"""What kldload finds in /boot/kernel; ``kernel`` and ``zfs`` are loaded from the start."""

WRITABLE = {
    "kern.init_shutdown_timeout": "120",
    "vfs.nfsd.enable_stringtouid": "0",
    "vfs.nfs.enable_uidtostring": "0",
    # FreeBSD 15.1 (seen), 13.2: 0. rc.d/nfsd sets it at every start
    "vfs.nfsd.nfs_privport": "1",
    # rc.d/nfsd sets it at every start
    "vfs.nfsd.server_max_nfsvers": "4",
}
CARP = {
    "net.inet.carp.ifdown_demotion_factor": "240",
    "net.inet.carp.senderr_demotion_factor": "240",
    "net.inet.carp.demotion": "0",
    "net.inet.carp.log": "1",
    "net.inet.carp.preempt": "0",
    "net.inet.carp.dscp": "56",
    "net.inet.carp.allow": "1",
}


def boot_modules() -> list[str]:
    """What is loaded right after the kernel."""
    return ["kernel", "zfs"]


def _all(host: Host) -> dict[str, str]:
    day = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(host.boot_time))
    fixed = {
        "kern.boottime": f"{{ sec = {int(host.boot_time)}, usec = 0 }} {day}",
        "kern.hostname": host.name,
        "kern.ostype": "FreeBSD",
        "kern.osreldate": "1302001",
    }
    changed = part(host, "sysctl", dict[str, str])
    carp = CARP if "carp" in part(host, "modules", boot_modules) else {}
    return {**fixed, **WRITABLE, **carp, **changed}


def find(ctx: Context, host: Host, name: str) -> dict[str, str]:
    """The variable of that name, or those below it; empty if there is none: that of a module that is not loaded, or
    net.link.bridge.member_ifaddrs, which came with 15.
    """
    known = _all(host)
    if name in known:
        return {name: known[name]}
    below = {oid: value for oid, value in known.items() if oid.startswith(name + ".")}
    missing = name.startswith(("net.inet.carp", "net.inet.ip.fw.")) or name == "net.link.bridge.member_ifaddrs"
    if not below and not missing:
        raise ctx.not_simulated(name)
    return below


def change(host: Host, name: str, value: str) -> bool:
    """Sets a variable; False if it cannot be set."""
    if name not in WRITABLE and name not in CARP:
        return False
    part(host, "sysctl", dict[str, str])[name] = value
    return True
