"""newfs, tunefs, fsck, fstyp, zdb, diskinfo, geom, glabel, gpart: wording as in the transcripts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from lab import disks
from lab.commands import unreadable
from lab.commands.options import parse
from lab.core import Cluster, CommandError, Context, Disk, Host


def _disk(ctx: Context, cluster: Cluster, device: str) -> Disk | None:
    return disks.resolve(ctx.store, cluster, ctx.host(cluster), device)


def _one(ctx: Context, known: str) -> tuple[dict[str, str], str, Disk | None]:
    """Options, the one device that is named, and the disk that it is; it has been read."""
    options, names = parse(ctx, known)
    if len(names) != 1:
        raise ctx.not_simulated()
    unreadable.read_device(ctx, names[0])
    return options, names[0], _disk(ctx, ctx.store.read(), names[0])


def newfs(ctx: Context) -> int:
    """newfs(8) with -L LABEL: reformats without a question what is not open for writing; silent here."""
    options, device, _ = _one(ctx, "L:")
    with _labelled(ctx, device, options.get("L", "")) as (cluster, disk):
        if disk is None:
            raise CommandError(f"newfs: {device}: could not find special device")
        system = disks.make_ufs(ctx.store, cluster, disk, options.get("L", ""))
        (ctx.store.folder / system.tree / ".snap").mkdir(mode=0o775)
    return 0


def tunefs(ctx: Context) -> int:
    """tunefs(8) -L LABEL of a UFS file system that nobody has open for writing; silent (sbin/tunefs/tunefs.c)."""
    options, device, _ = _one(ctx, "L:")
    with _labelled(ctx, device, options.get("L", "?")) as (cluster, disk):
        system = disks.ufs_on(ctx.store, cluster, disk) if disk else None
        if system is None:
            raise CommandError(f"tunefs: {device}: could not read superblock to fill out disk")
        system.label = options["L"]
    return 0


@contextlib.contextmanager
def _labelled(ctx: Context, device: str, label: str) -> Iterator[tuple[Cluster, Disk | None]]:
    """A disk that nobody has open for writing, and that gets a label; /dev follows."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,31}", label):
        raise ctx.not_simulated()
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        disk = _disk(ctx, cluster, device)
        if disk and disks.user(ctx.store, cluster, host, disk):
            raise CommandError(f"{ctx.name}: {device}: failed to open disk for writing")
        yield cluster, disk
        disks.link_devices(ctx.store, cluster, host)


def fsck(ctx: Context) -> int:
    """fsck_ufs(8) -p of an unmounted UFS file system: clean."""
    options, device, disk = _one(ctx, "p")
    if "p" not in options:
        raise ctx.not_simulated()
    if disk is None:
        raise CommandError(f"Can't stat {device}: No such file or directory", 3)
    if disks.ufs_on(ctx.store, ctx.store.read(), disk) is None:
        raise CommandError(f"{device}: CANNOT FIGURE OUT FILE SYSTEM PARTITION", 8)
    ctx.out(f"{device}: FILE SYSTEM CLEAN; SKIPPING CHECKS\n")
    return 0


def fstyp(ctx: Context) -> int:
    """fstyp(8) -u."""
    options, device, disk = _one(ctx, "u")
    if "u" not in options:
        raise ctx.not_simulated()
    if disk is None:
        raise CommandError(f"fstyp: {device}: No such file or directory")
    if disks.ufs_on(ctx.store, ctx.store.read(), disk):
        ctx.out("ufs\n")
    elif disks.has_fat(ctx.store, disk):
        ctx.out("msdosfs\n")
    elif disks.zfs_label(ctx.store, disk) is not None:
        ctx.out("zfs\n")
    else:
        raise CommandError(f"fstyp: {device}: filesystem not recognized")
    return 0


def zdb(ctx: Context) -> int:
    """zdb -l DEVICE: the pool labels on a disk; the four lines and rc 2 of OpenZFS 2.x where there is none."""
    try:
        options, _, disk = _one(ctx, "l")
    except CommandError:
        ctx.out("".join(f"failed to read label {number}\n" for number in range(4)))  # cmd/zdb/zdb.c, dump_label
        return 2
    if disk is None or "l" not in options:
        raise ctx.not_simulated()
    pool = disks.zfs_label(ctx.store, disk)
    if pool is None:
        ctx.out("".join(f"failed to unpack label {number}\n" for number in range(4)))
        return 2
    line = "-" * 36
    ctx.out(f"{line}\nLABEL 0 \n{line}\n    version: 5000\n    name: '{pool}'\n    labels = 0 1 2 3 \n")
    return 0


def swapctl(ctx: Context) -> int:
    """swapctl -l: the lab's hosts have no swap space."""
    options, names = parse(ctx, "l")
    if names or "l" not in options:
        raise ctx.not_simulated()
    ctx.out("Device:       1024-blocks     Used:\n")
    return 0


def diskinfo(ctx: Context) -> int:
    """diskinfo(8) -v: one field a line."""
    options, names = parse(ctx, "v")
    if "v" not in options or len(names) != 1:
        raise ctx.not_simulated()
    (name,) = names
    disk = _disk(ctx, ctx.store.read(), name)
    if disk is None:
        raise CommandError(f"diskinfo: {name}: No such file or directory")
    stick = name.removeprefix("/dev/").startswith("da")
    sectors = disk.size // 512
    cylinders, heads, per_track = (sectors // 2048, 64, 32) if stick else (sectors // 1008, 16, 63)
    human = f"{disk.size // disks.MIB}M" if disk.size < 1024 * disks.MIB else f"{disk.size / 1024 / disks.MIB:.1f}G"
    rows = [
        ("512", "sectorsize"),
        (str(disk.size), f"mediasize in bytes ({human})"),
        (str(sectors), "mediasize in sectors"),
        ("4096" if stick else "0", "stripesize"),
        ("0", "stripeoffset"),
        (str(cylinders), "Cylinders according to firmware."),
        (str(heads), "Heads according to firmware."),
        (str(per_track), "Sectors according to firmware."),
        (disk.model, "Disk descr."),
        (disk.serial, "Disk ident."),
        ("umass-sim0" if stick else f"ahcich{name[-1]}", "Attachment"),
        ("Yes", "TRIM/UNMAP support"),
        ("Unknown", "Rotation rate in RPM"),
        ("Not_Zoned", "Zone Mode"),
    ]
    ctx.out(name + "\n" + "".join(f"\t{value:<12}\t# {what}\n" for value, what in rows) + "\n")
    return 0


def geom(ctx: Context) -> int:
    """geom disk list NAME"""
    if ctx.args[:2] != ["disk", "list"] or len(ctx.args) != 3:
        raise ctx.not_simulated()
    name = ctx.args[2]
    cluster = ctx.store.read()
    host = ctx.host(cluster)
    if name not in host.slots:
        raise CommandError(f"geom: No such geom: {name}.")
    disk = cluster.disks[host.slots[name]]
    size = f"{disk.size // disks.MIB}M" if disk.size < 1024 * disks.MIB else f"{disk.size // 1024 // disks.MIB}G"
    mode = _open_mode(ctx, cluster, host, disk)
    stripe, per_track, heads = (4096, 32, 64) if name.startswith("da") else (0, 63, 16)
    ctx.out(
        f"Geom name: {name}\nProviders:\n1. Name: {name}\n   Mediasize: {disk.size} ({size})\n   Sectorsize: 512\n"
        + (f"   Stripesize: {stripe}\n   Stripeoffset: 0\n" if stripe else "")
        + f"   Mode: {mode}\n   descr: {disk.model}\n   ident: {disk.serial}\n   rotationrate: unknown\n"
        f"   fwsectors: {per_track}\n   fwheads: {heads}\n\n"
    )
    return 0


def _open_mode(ctx: Context, cluster: Cluster, host: Host, disk: Disk) -> str:
    """How GEOM shows that a disk is open (seen on 13.2 and 15.1)."""
    place = disks.user(ctx.store, cluster, host, disk)
    if place is None:
        return "r0w0e0"
    mounted = [entry for entry in host.mounts if entry.target == place and entry.fstype == "ufs"]
    if not mounted:
        return "r1w1e1"  # a pool
    return "r1w0e1" if mounted[-1].read_only else "r1w1e2"


def _labels(ctx: Context, cluster: Cluster, host: Host) -> list[tuple[str, str]]:
    """GEOM labels: (name, component). A disk that is open for writing shows no diskid."""
    found: list[tuple[str, str]] = []
    for slot in sorted(host.slots, key=lambda name: (name.startswith("da"), name)):
        disk = cluster.disks[host.slots[slot]]
        if slot == "ada0":
            continue
        system = disks.ufs_on(ctx.store, cluster, disk)
        if system:
            found.append((f"ufsid/{int(system.id, 16):016x}", slot))
            if system.label:
                found.append((f"ufs/{system.label}", slot))
        if not disks.user(ctx.store, cluster, host, disk):
            found.append((f"diskid/DISK-{disk.serial}", slot))
    boot = [("gptid/9868c3d4-727c-40fe-82a0-df1d2f44973c", "ada0p1")] if "ada0" in host.slots else []
    fixed = [row for row in found if not row[1].startswith("da")]
    return fixed + boot + [row for row in found if row[1].startswith("da")]


def glabel(ctx: Context) -> int:
    """glabel status."""
    if ctx.args != ["status"]:
        raise ctx.not_simulated()
    cluster = ctx.store.read()
    rows = _labels(ctx, cluster, ctx.host(cluster))
    width = max((len(name) for name, _ in rows), default=4)
    ctx.out(f"{'Name':>{width}}  Status  Components\n")
    for name, component in rows:
        ctx.out(f"{name:>{width}}     N/A  {component}\n")
    return 0


def gpart(ctx: Context) -> int:
    """gpart show NAME."""
    match ctx.args:
        case ["show", name] if not name.startswith("-"):
            cluster = ctx.store.read()
            host = ctx.host(cluster)
            disk = cluster.disks.get(host.slots.get(name, ""))
            if disk is None or not (name == "ada0" or disks.has_gpt(ctx.store, disk)):
                raise CommandError(f"gpart: No such geom: {name}.")
            ctx.out(_show(host, name, disk))
            return 0
    raise ctx.not_simulated()


def _show(host: Host, name: str, disk: Disk) -> str:
    ufs = name == "ada0" and host.parts["ufs root"]
    first = 34 if ufs else 40
    sectors = disk.size // 512 - (67 if ufs else 80)
    size = f"{disk.size // disks.MIB // 1024 or disk.size // disks.MIB}G"
    rows = [f"=>{first:>10}  {sectors:>10}  {name}  GPT  ({size})"]
    if ufs:  # as the observed machines
        parts = [
            ("freebsd-boot", 34, 45),
            ("freebsd-ufs", 79, 1843200),
            ("freebsd-swap", 1843279, sectors - 1843245),
        ]
    elif name == "ada0":
        parts = [
            ("freebsd-boot", 40, 1024),
            ("freebsd-swap", 1064, 4194304),
            ("freebsd-zfs", 4195368, sectors - 4195328),
        ]
    else:
        parts = []
        rows.append(f"  {first:>10}  {sectors:>10}         - free -  ({disk.size // disks.MIB}M)")
    for index, (kind, start, count) in enumerate(parts, 1):
        size = f"{count // 2048}M" if count >= 2048 else f"{(count + 1) // 2}K"
        rows.append(f"  {start:>10}  {count:>10}  {index:>5}  {kind}  ({size})")
    return "\n".join(rows) + "\n\n"
