"""mountd, nfsd and showmount: what is exported is decided when mountd starts (seen)."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
from pathlib import Path

from lab.commands import sysctls
from lab.core import Context, Host, Mount, part
from lab.rc.scripts import is_yes, processes, rc_conf

FLAG = "NFS exported"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
    """mountd starts: the file systems that the exported directories are on now get exported, and no others later.

    It adds 127.0.0.1 and ::1 to the addresses of -h without a look whether they are there; the second socket on the
    same address and port cannot be bound, and that ends it (usr.sbin/mountd/mountd.c, create_service).
    """
    file = Path("/etc/exports")
    if not file.exists():
        ctx.err("/etc/rc.d/mountd: WARNING: /etc/exports is not readable.\n")
        return False
    _apply(ctx, [])
    flags = _mountd_flags()
    twice = any(flag == "-h" and address in LOOPBACK for flag, address in itertools.pairwise(flags))
    if twice and "-R" not in flags:
        # by then it has left the terminal
        subprocess.run(["logger", "-t", "mountd", "bindresvport_sa: Address already in use"], check=True)
        return False
    return True


def _mountd_flags() -> list[str]:
    return rc_conf(["mountd_flags"])["mountd_flags"].split()


def read_again(ctx: Context) -> None:
    """SIGHUP: mountd takes changed lines up. What it knows already it does not apply again, mounted meanwhile or not
    (seen)."""
    _apply(ctx, exported(ctx.host(ctx.store.read())))


def _apply(ctx: Context, known: list[tuple[str, str]]) -> None:
    found = [entry for entry in exports(Path("/etc/exports").read_text()) if Path(entry[0]).is_dir()]
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        host.parts["v4 root"] = v4_root(Path("/etc/exports").read_text())
        host.parts["exports"] = found
        new = [_covering(host, directory) for directory, who in found if (directory, who) not in known]
        gone = [_covering(host, directory) for directory, who in known if (directory, who) not in found]
        for index, entry in enumerate(host.mounts):
            words = tuple(word for word in entry.options if word != FLAG)
            if entry in new:
                host.mounts[index] = dataclasses.replace(entry, options=(FLAG, *words))
            elif not known or entry in gone:
                host.mounts[index] = dataclasses.replace(entry, options=words)


def _covering(host: Host, directory: str) -> Mount:
    inside = [m for m in host.mounts if f"{directory}/".startswith(m.target.rstrip("/") + "/") and m.fstype != "devfs"]
    return inside[-1]


def serve(ctx: Context) -> bool:
    """nfsd starts: its sysctls follow rc.conf (rc.d/nfsd)."""
    values = rc_conf(["nfs_reserved_port_only", "nfsv4_server_enable"])
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        sysctls.change(host, "vfs.nfsd.nfs_privport", "1" if is_yes(values["nfs_reserved_port_only"]) else "0")
        sysctls.change(host, "vfs.nfsd.server_max_nfsvers", "4" if is_yes(values["nfsv4_server_enable"]) else "3")
    if is_yes(values["nfs_reserved_port_only"]):
        ctx.out("NFS on reserved port only=YES\n")
    if not is_yes(values["nfsv4_server_enable"]):
        ctx.out("NFSv4 is disabled\n")
    for name in ("nfs-stablerestart", "nfs-stablerestart.bak"):
        Path("/var/db", name).touch(0o600)
    return True


def showmount(ctx: Context) -> int:
    """showmount -e of this host."""
    if ctx.args not in (["-e"], ["-e", "localhost"]):
        raise ctx.not_simulated()
    host = ctx.host(ctx.store.read())
    # -R: no Mount protocol (mountd(8))
    if not processes(host).get("mountd") or "-R" in _mountd_flags():
        ctx.err("RPC: Program not registered\nshowmount: can't do exports rpc\n")
        return 1
    ctx.out("Exports list on localhost:\n")
    for directory, who in exported(host):
        ctx.out(f"{directory:<34} {who} \n")
    return 0
