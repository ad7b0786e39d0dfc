"""getenforce, selinuxenabled and semanage port: SELinux is enforcing, and keeps track of the labels of ports only."""

from __future__ import annotations

from lab.core import CommandError, Context, Host, part

PORTS = {
    ("http_port_t", "tcp"): ["80", "81", "443", "488", "8008", "8009", "8443", "9000"],
    ("nfs_port_t", "tcp"): ["2049", "20048-20049"],
    ("nfs_port_t", "udp"): ["2049", "20048-20049"],
    ("ssh_port_t", "tcp"): ["22"],
    ("unreserved_port_t", "tcp"): ["61001-65535", "1024-32767"],
    ("unreserved_port_t", "udp"): ["61001-65535", "1024-32767"],
}
"""A part of the targeted policy of Enterprise Linux 9."""


def _added(host: Host) -> list[tuple[str, str, str]]:
    """(type, protocol, port) of what was added to the policy."""
    return part(host, "selinux ports", list[tuple[str, str, str]])


def getenforce(ctx: Context) -> int:
    if ctx.args:
        raise ctx.not_simulated()
    ctx.out("Enforcing\n")
    return 0


def selinuxenabled(ctx: Context) -> int:
    return 0


def semanage(ctx: Context) -> int:
    """semanage-port(8): ``port -l -n`` and ``port -a -t stunnel_port_t -p tcp PORT``."""
    match ctx.args:
        case ["port", "-l", "-n"]:
            table = {key: list(ports) for key, ports in PORTS.items()}
            for kind, protocol, port in _added(ctx.host(ctx.store.read())):
                table.setdefault((kind, protocol), []).insert(0, port)
            for (kind, protocol), ports in sorted(table.items()):
                ctx.out(f"{kind:<30} {protocol:<8} {', '.join(ports)}\n")
        case ["port", "-a", "-t", "stunnel_port_t" as kind, "-p", "tcp" as protocol, port] if port.isdigit():
            with ctx.cluster() as cluster:
                added = _added(ctx.host(cluster))
                taken = [p for (_, proto), ports in PORTS.items() if proto == protocol for p in ports]
                if port in taken or any(entry[1:] == (protocol, port) for entry in added):
                    raise CommandError(f"ValueError: Port {protocol}/{port} already defined")
                added.append((kind, protocol, port))
        case _:
            raise ctx.not_simulated()
    return 0
