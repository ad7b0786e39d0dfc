"""getenforce, selinuxenabled and semanage port: SELinux is enforcing, and keeps track of the labels of ports only."""

from __future__ import annotations

from lab.core import CommandError, Context, Host, part

PORTS = [
    ("http_port_t", "tcp", "80, 81, 443, 488, 8008, 8009, 8443, 9000"),
    ("nfs_port_t", "tcp", "2049, 20048-20049"),
    ("nfs_port_t", "udp", "2049, 20048-20049"),
    ("ssh_port_t", "tcp", "22"),
    ("unreserved_port_t", "tcp", "61001-65535, 1024-32767"),
    ("unreserved_port_t", "udp", "61001-65535, 1024-32767"),
]
"""A part of the targeted policy of Enterprise Linux 9."""


def _rows(host: Host) -> list[tuple[str, str, str]]:
    """Type, protocol and ports of the policy with what was added to it."""
    added = part(host, "selinux ports", list[str])
    return sorted([*PORTS, ("stunnel_port_t", "tcp", ", ".join(added))] if added else PORTS)


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
            for kind, protocol, ports in _rows(ctx.host(ctx.store.read())):
                ctx.out(f"{kind:<30} {protocol:<8} {ports}\n")
        case ["port", "-a", "-t", "stunnel_port_t", "-p", "tcp", port] if port.isdigit():
            with ctx.cluster() as cluster:
                host = ctx.host(cluster)
                if any(port in ports.split(", ") for _, protocol, ports in _rows(host) if protocol == "tcp"):
                    raise CommandError(f"ValueError: Port tcp/{port} already defined")
                part(host, "selinux ports", list[str]).insert(0, port)
        case _:
            raise ctx.not_simulated()
    return 0
