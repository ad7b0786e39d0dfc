"""mount and umount of util-linux and nfs-utils, for NFS; addresses."""

from __future__ import annotations

import ipaddress
import os
import re
from functools import partial
from pathlib import Path

from f3s.fstab import NFS_TYPES, entries
from lab.commands.options import gnu
from lab.core import CommandError, Context, Mount
from lab.linux import nfs, view, waiting
from lab.net import model

RETRY_SECONDS = 120.0
"""How long mount.nfs4 goes on in the foreground where nobody answers (nfs(5): "retry")."""


def mount(ctx: Context) -> int:
    """mount(8): the list, ``[-t nfs4] [-o OPTIONS] SOURCE POINT``, ``POINT`` or ``SOURCE`` of fstab."""
    options, words = gnu(ctx, "t:o:")
    given = [word for word in options.get("-o", "").split(",") if word]
    kind = options.get("-t", "")
    if not words:
        if given:
            raise ctx.not_simulated()
        for entry in ctx.host(ctx.store.read()).mounts:
            if not kind or entry.fstype == kind:
                ctx.out(_line(entry))
        return 0
    if len(words) == 1:
        found = [e for e in entries(Path("/etc/fstab").read_text()) if words[0] in (e.source, e.mountpoint)]
        if not found:
            raise CommandError(f"mount: {words[0]}: can't find in /etc/fstab.", 1)
        if found[0].fstype not in NFS_TYPES:
            raise ctx.not_simulated(f"{found[0].fstype} of /etc/fstab")
        return _one(ctx, found[0].source, found[0].mountpoint, [*found[0].options, *given])
    if len(words) != 2 or kind not in NFS_TYPES:
        raise ctx.not_simulated()
    return _one(ctx, words[0], words[1], given)


def mount_nfs(ctx: Context) -> int:
    """mount.nfs4(8), which mount(8) runs and nobody else."""
    raise ctx.not_simulated()


def _line(entry: Mount) -> str:
    words = view.table_line(entry).split()
    return f"{entry.device} on {entry.target} type {words[2]} ({words[3]})\n"


def _one(ctx: Context, source: str, point: str, options: list[str]) -> int:
    if unknown := nfs.unknown_options(options):
        raise ctx.not_simulated(f"-o {','.join(unknown)}")
    if not re.fullmatch(r"127\.0\.0\.1:/.*", source):
        raise ctx.not_simulated(f"{source}: the lab has NFS servers behind a stunnel on 127.0.0.1 only")
    if not os.path.exists("/usr/sbin/mount.nfs4"):
        raise ctx.not_simulated("without nfs-utils")
    target = view.absolute(point)
    if not os.path.isdir(target):
        raise CommandError(f"mount.nfs4: mount point {point} does not exist", 32)
    above = [m for m in nfs.mounts(ctx.host(ctx.store.read())) if m.target == target]
    if any((m.device, nfs.port_of(m.options)) == (source, nfs.port_of(nfs.kernel_options(options))) for m in above):
        raise CommandError("mount.nfs4: mount point is busy or already mounted", 32)
    problem = [nfs.NoAnswer("")]

    def mounted() -> bool:
        with ctx.cluster() as cluster:
            try:
                nfs.new_mount(ctx.store, cluster, ctx.host(cluster), source, target, options)
            except nfs.NoAnswer as error:
                problem[0] = error
                return False
        return True

    try:
        if waiting.wait(ctx, RETRY_SECONDS, mounted, f"mount {point}"):
            return 0
    except nfs.Refused as error:
        if str(error) == "No such file or directory":
            raise CommandError(f"mount.nfs4: mounting {source} failed, reason given by server: {error}", 32) from None
        raise CommandError(f"mount.nfs4: {error}", 32) from None
    text = "Connection refused" if problem[0].refused else "Connection timed out"
    raise CommandError(f"mount.nfs4: {text}", 32)


def umount(ctx: Context) -> int:
    """umount(8) of mount points. Without -f or -l a mount that does not answer is not let go."""
    options, words = gnu(ctx, "flc")
    if not words:
        raise ctx.not_simulated()
    hard = bool({"-f", "-l"} & options.keys())
    rc = 0
    for word in words:
        target = view.absolute(word)
        entry = _newest(ctx, target)
        if entry is None:
            problem = "not mounted" if os.path.lexists(target) else "no mount point specified"
            ctx.err(f"umount: {word}: {problem}.\n")
            rc = 32
            continue
        if not hard and entry.condition == nfs.STALE:
            ctx.err(f"umount: {word}: Stale file handle\n")
            rc = 32
            continue
        if not hard and entry.condition == nfs.DEAD:
            waiting.wait(ctx, entry.soft_limit, partial(_answers, ctx, target), f"umount {word}")
        with ctx.cluster() as cluster:
            if found := [m for m in nfs.mounts(ctx.host(cluster)) if m.target == target]:
                nfs.unmounted(ctx.store, cluster, ctx.host(cluster), found[-1])
    return rc


def _newest(ctx: Context, target: str) -> nfs.NfsMount | None:
    cluster = ctx.store.read()
    host = ctx.host(cluster)
    nfs.refresh(ctx.store, cluster, host)
    return next((m for m in reversed(nfs.mounts(host)) if m.target == target), None)


def _answers(ctx: Context, target: str) -> bool:
    entry = _newest(ctx, target)
    return entry is None or entry.condition != nfs.DEAD


def chattr(ctx: Context) -> int:
    """chattr(1): ``+i`` or ``-i`` of a directory, which is the host's own while nothing is mounted there."""
    if len(ctx.args) != 2 or ctx.args[0] not in ("+i", "-i") or _newest(ctx, ctx.args[1]):
        raise ctx.not_simulated()
    flag, path = ctx.args
    with ctx.cluster() as cluster:
        host, entry = ctx.host(cluster), ("root", path.lstrip("/"))
        host.immutable = [each for each in host.immutable if each != entry] + ([entry] if flag == "+i" else [])
    return 0


def ip(ctx: Context) -> int:
    """``ip -4 -o address show`` (iproute2, ip/ipaddress.c)."""
    if ctx.args != ["-4", "-o", "address", "show"]:
        raise ctx.not_simulated()
    there = {"lo": [("127.0.0.1", 8, 0)]}
    own = model.interfaces(ctx.host(ctx.store.read())).values()
    there |= {each.name: each.addresses for each in own if each.ether}
    for number, (name, addresses) in enumerate(there.items(), 1):
        for address, length, _ in addresses:
            net = ipaddress.ip_network(f"{address}/{length}", strict=False)
            scope = "scope host" if name == "lo" else f"brd {net.broadcast_address} scope global"
            ctx.out(
                f"{number}: {name}    inet {address}/{length} {scope} {name}\\       valid_lft forever "
                "preferred_lft forever\n"
            )
    return 0
