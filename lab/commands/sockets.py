"""sockstat and netstat: who listens on a simulated FreeBSD host, and which clients are connected to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.commands import sysctls
from lab.commands.options import parse
from lab.core import Cluster, CommandError, Context, Host, part
from lab.linux import nfs
from lab.rc.nfs import speaks_mount
from lab.rc.scripts import processes

FIXED = {
    "mountd": (("udp4", "*:736"), ("tcp4", "*:736")),
    "rpcbind": (("udp4", "*:111"), ("udp4", "*:778"), ("tcp4", "*:111")),
    "sshd": (("tcp4", "*:22"),),
}
"""Ports of daemons as seen, where they bind all addresses."""


@dataclass(frozen=True)
class Row:
    user: str
    command: str
    pid: str
    fd: str
    protocol: str
    local: str
    foreign: str = "*:*"
    width: int = 21

    @property
    def line(self) -> str:
        """As sockstat.c (freebsd-src, usr.bin/sockstat) aligns it."""
        start = f"{self.user:<8} {self.command:<10} {self.pid:<5} {self.fd:<2} {self.protocol:<6}"
        return f"{start} {self.local:<{self.width}} {self.foreign}\n"


def sockstat(ctx: Context) -> int:
    """sockstat(1) with -4, and with -l only what listens, with -c only what is connected; the youngest process first,
    then sockets of the kernel.

    With -w addresses have more room. With -6 also the second socket of those that bind all addresses: rpcbind, mountd
    and nfsd bind each family by itself (usr.sbin/nfsd/nfsd.c).
    """
    options, names = parse(ctx, "46clqwP:")
    protocols = "tcp" if "c" in options else "tcp,udp"
    if names or "4" not in options or options.get("P", protocols) != protocols or ("6" in options) > ("l" in options):
        raise ctx.not_simulated()
    if {"c", "l"} <= options.keys():
        raise ctx.not_simulated()
    cluster = ctx.store.read()
    host = ctx.host(cluster)
    bound = part(host, "sockets", dict[str, tuple[str, int]])
    if "q" not in options:
        ctx.out("USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      \n")
    for name, pids in sorted(processes(host).items(), key=lambda each: -each[1][0]):
        pid = str(pids[0])
        if name == "stunnel" and "l" not in options:
            width = 45 if "w" in options else 21
            ctx.out("".join(replace(row, width=width).line for row in _connections(ctx, cluster, host, pid)))
        if "c" in options:
            continue
        for owner, (address, port) in bound.items():
            if owner.split()[0] == name:  # zrepl has several
                user = "root" if name == "zrepl" else name
                _both(ctx, options, Row(user, name, pid, "9", "tcp4", f"{address or '*'}:{port}"))
        for protocol, local in _fixed(host, name):
            _both(ctx, options, Row("root", name, pid, "9", protocol, local))
    if "c" not in options and "nfsd" in processes(host) and "-u" in host.parts["nfsd flags"]:
        _both(ctx, options, Row("?", "?", "?", "?", "udp4", _nfsd(host)))
    return 0


def tcpdrop(ctx: Context) -> int:
    """tcpdrop(8) of a client's connection to stunnel (usr.sbin/tcpdrop/tcpdrop.c); both ends of it are told."""
    if len(ctx.args) != 4 or ctx.args[0].startswith("-"):
        raise ctx.not_simulated()
    address, port, *client = ctx.args
    with ctx.cluster() as cluster:
        for each in _connected(ctx, cluster, ctx.host(cluster)):
            link = nfs.connection(cluster, each)
            if link is not None and (link.accepted, link.client) == (f"{address}:{port}", ":".join(client)):
                nfs.dropped(ctx.store, cluster, each)
                ctx.out(f"{' '.join(ctx.args)}: dropped\n")
                return 0
    raise ctx.not_simulated()


def netstat(ctx: Context) -> int:
    """netstat(1) with -s -p carp alone (carp_stats in usr.bin/netstat/inet.c): the lab has no strangers to count.

    Without the module there is no sysctl, and nothing is printed (fetch_stats in usr.bin/netstat/main.c).
    """
    if ctx.args != ["-s", "-p", "carp"]:
        raise ctx.not_simulated()
    if "carp" in part(ctx.host(ctx.store.read()), "modules", sysctls.boot_modules):
        ctx.out("carp:\n\t\t0 discarded for bad authentication\n")
    return 0


def pfctl(ctx: Context) -> int:
    """pfctl(8) where pf is not loaded (sbin/pfctl/pfctl.c)."""
    raise CommandError("pfctl: /dev/pf: No such file or directory")


def _both(ctx: Context, options: dict[str, str], row: Row) -> None:
    row = replace(row, width=45) if "w" in options else row
    ctx.out(row.line)
    if "6" in options and row.local.startswith("*:"):
        ctx.out(replace(row, protocol=row.protocol.replace("4", "6")).line)


def _fixed(host: Host, name: str) -> tuple[tuple[str, str], ...]:
    if name == "nfsd":
        return (("tcp4", _nfsd(host)),) if "-t" in host.parts["nfsd flags"] else ()
    if name == "mountd" and not speaks_mount(host):
        return ()
    if name == "rpcbind" and "-h" in (flags := host.parts.get("rpcbind flags", [])):
        # the port from which it asks others is not bound to the address (seen)
        address = flags[flags.index("-h") + 1]
        return tuple((protocol, local.replace("*:111", f"{address}:111")) for protocol, local in FIXED[name])
    return FIXED.get(name, ())


def _nfsd(host: Host) -> str:
    """Where nfsd listens: at the address of -h (nfsd(8)), else at all."""
    flags = host.parts["nfsd flags"]
    return f"{flags[flags.index('-h') + 1] if '-h' in flags else '*'}:2049"


def _connections(ctx: Context, cluster: Cluster, server: Host, pid: str) -> list[Row]:
    """What stunnel has open for clients with a mount: the tunnel, and its own connection to nfsd."""
    rows = []
    for client in _connected(ctx, cluster, server):
        link = nfs.connection(cluster, client)
        assert link is not None
        rows.append(Row("stunnel", "stunnel", pid, "3", "tcp4", link.accepted, link.client))
        rows.append(Row("stunnel", "stunnel", pid, "10", "tcp4", link.outgoing, "127.0.0.1:2049"))
    return rows


def _connected(ctx: Context, cluster: Cluster, server: Host) -> Iterator[Host]:
    """The clients whose mounts have a connection to this server."""
    for client in cluster.hosts.values():
        if client.platform != "rocky" or not client.up:
            continue
        nfs.refresh(ctx.store, cluster, client)
        link = nfs.connection(cluster, client)
        if link is not None and link.server is server:
            yield client
