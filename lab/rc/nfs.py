"""mountd, nfsd and showmount: what is exported is decided when mountd starts (seen)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lab.commands import sysctls
from lab.core import Cluster, Context, Host, Mount, part
from lab.mounts import KEEPS_READ_ONLY, is_read_only
from lab.rc.scripts import is_yes, last_pid, processes, rc_conf

FLAG = "NFS exported"
GRACE_SECONDS = 135.0
"""nfsrv_lease and NFSRV_LEASEDELTA (sys/fs/nfs/nfs.h)."""


@dataclasses.dataclass(frozen=True)
class Root:
    """What NFSv4 clients see as the top: the directory that the V4: line of exports(5) named when mountd read it.

    :param fsid: of the file system that it was on then: the kernel keeps a handle (nfsrv_v4rootexport)
    """

    directory: str
    fsid: str


def exports(text: str) -> list[tuple[str, str]]:
    """(directory, who may mount it) of the lines of exports(5); the V4: line names the root and exports nothing."""
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words or words[0] == "V4:":
            continue
        network = words[words.index("-network") + 1] if "-network" in words else ""
        hosts = [w for w in words[1:] if not w.startswith("-") and w != network and not w[0].isdigit()]
        found.append((words[0], network or " ".join(hosts) or "Everyone"))
    return found


def v4_root(text: str) -> str:
    """The directory that NFSv4 clients see as the top (the V4: line of exports(5)); empty if there is none."""
    return next((line.split()[1] for line in text.splitlines() if line.startswith("V4:")), "")


def exported(host: Host) -> list[tuple[str, str]]:
    """What the running mountd exports."""
    return part(host, "exports", list[tuple[str, str]])


def export(ctx: Context) -> bool:
    """mountd starts: the file systems that the exported directories are on now get exported, and no others later."""
    file = Path("/etc/exports")
    if not file.exists():
        ctx.err("/etc/rc.d/mountd: WARNING: /etc/exports is not readable.\n")
        return False
    flags = rc_conf(["mountd_flags"])["mountd_flags"].split()
    if not set(flags) <= {"-r", "-S", "-R"}:
        raise ctx.not_simulated(f"with {' '.join(flags)}")
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        host.parts["mountd flags"], host.parts["mountd started"] = flags, cluster.now
    _apply(ctx, [])
    return True


def read_again(ctx: Context) -> None:
    """SIGHUP: mountd takes changed lines up. What it knows already it does not apply again, mounted meanwhile or not
    (seen)."""
    _apply(ctx, exported(ctx.host(ctx.store.read())))


def _apply(ctx: Context, known: list[tuple[str, str]]) -> None:
    text = Path("/etc/exports").read_text()
    found = [entry for entry in exports(text) if Path(entry[0]).is_dir()]
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        top = v4_root(text)
        host.parts["v4 root"] = Root(top, _covering(host, top).fsid) if top and Path(top).is_dir() else None
        host.parts["exports"] = found
        new = [_covering(host, directory) for directory, who in found if (directory, who) not in known]
        gone = [_covering(host, directory) for directory, who in known if (directory, who) not in found]
        for index, entry in enumerate(host.mounts):
            words = tuple(word for word in entry.options if word != FLAG)
            if entry in new:
                read_only = entry.read_only or (KEEPS_READ_ONLY in host.parts and is_read_only(host, entry))
                host.mounts[index] = dataclasses.replace(entry, options=(FLAG, *words), read_only=read_only)
            elif not known or entry in gone:
                host.mounts[index] = dataclasses.replace(entry, options=words)


def _covering(host: Host, directory: str) -> Mount:
    inside = [m for m in host.mounts if f"{directory}/".startswith(m.target.rstrip("/") + "/") and m.fstype != "devfs"]
    return inside[-1]


def serve(ctx: Context) -> bool:
    """nfsd starts: its sysctls follow rc.conf (rc.d/nfsd).

    The first one of a boot has a grace period if a client has ever had a file open there; a later one has none
    (sys/fs/nfsserver/nfs_nfsdstate.c, nfsrv_setupstable). It ends sooner once each of those clients has said that it
    reclaims no more (nfsrv_checkgrace). Here it does not: an idle client comes back late (seen: all of it passed).
    """
    values = rc_conf(["nfs_reserved_port_only", "nfsv4_server_enable", "nfs_server_flags"])
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        host.parts["nfsd flags"] = values["nfs_server_flags"].split()
        host.parts.setdefault("grace", cluster.now + GRACE_SECONDS if host.parts.get("had clients") else 0.0)
        sysctls.change(host, "vfs.nfsd.nfs_privport", "1" if is_yes(values["nfs_reserved_port_only"]) else "0")
        sysctls.change(host, "vfs.nfsd.server_max_nfsvers", "4" if is_yes(values["nfsv4_server_enable"]) else "3")
    if is_yes(values["nfs_reserved_port_only"]):
        ctx.out("NFS on reserved port only=YES\n")
    if not is_yes(values["nfsv4_server_enable"]):
        ctx.out("NFSv4 is disabled\n")
    return True


def map_owners(ctx: Context) -> bool:
    """nfsuserd starts: it keeps the flags that rc.conf has now, whatever is written there later."""
    flags = rc_conf(["nfsuserd_flags"])["nfsuserd_flags"].split()
    with ctx.cluster() as cluster:
        ctx.host(cluster).parts["nfsuserd flags"] = flags
    return True


def speaks_mount(host: Host) -> bool:
    """Whether mountd offers the Mount protocol: not with -R (mountd(8))."""
    return bool(processes(host).get("mountd")) and "-R" not in host.parts["mountd flags"]


def _registered(cluster: Cluster, host: Host) -> bool:
    """Whether rpcbind knows of mountd: not yet when nothing happened since it started (seen in the section svc)."""
    if not speaks_mount(host):
        return False
    pids = processes(host)["mountd"]
    return bool(cluster.now > host.parts["mountd started"] or last_pid(host) > pids[-1])


def showmount(ctx: Context) -> int:
    """showmount -e of this host."""
    if ctx.args not in (["-e"], ["-e", "localhost"]):
        raise ctx.not_simulated()
    host = ctx.host(ctx.store.read())
    if not _registered(ctx.store.read(), host):
        why = "Program not registered" if processes(host).get("rpcbind") else "Port mapper failure"
        ctx.err(f"RPC: {why}\nshowmount: can't do exports rpc\n")
        return 1
    ctx.out("Exports list on localhost:\n")
    for directory, who in exported(host):
        ctx.out(f"{directory:<34} {who} \n")
    return 0
