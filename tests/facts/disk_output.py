"""The output of facts.disks.Probe, put together from recorded pieces."""

from __future__ import annotations

from f3s.disks import MIB, tail_start, zeros_sha256

SIZE = 67108864
BLANK = {
    "diskinfo": (
        0,
        "da0\n\t512         \t# sectorsize\n\t67108864    \t# mediasize in bytes (64M)\n"
        "\t131072      \t# mediasize in sectors\n\tQEMU QEMU HARDDISK\t# Disk descr.\n"
        "\t1-0000:00:02.0-1\t# Disk ident.",
    ),
    "geom": (0, "Geom name: da0\nProviders:\n1. Name: da0\n   Mediasize: 67108864 (64M)\n   Mode: r0w0e0"),
    "gpart": (1, "gpart: No such geom: da0."),
    "fstyp": (1, "fstyp: /dev/da0: filesystem not recognized"),
    "zdb": (2, "\n".join(f"failed to unpack label {number}" for number in range(4))),
    "glabel": (
        0,
        "                                      Name  Status  Components\n"
        "gptid/9868c3d4-727c-40fe-82a0-df1d2f44973c     N/A  ada0p1\n"
        "              diskid/DISK-1-0000:00:02.0-1     N/A  da0",
    ),
    "mounts": (0, "/dev/ada0p2\t\t/\t\t\tufs\trw\t\t1 1\ndevfs\t\t\t/dev\t\t\tdevfs\trw\t\t0 0"),
    "swap": (0, "Device          1K-blocks     Used    Avail Capacity"),
    "zpool": (0, "no pools available"),
    "head": (0, zeros_sha256(4 * MIB)),
    "tail": (0, zeros_sha256(SIZE - tail_start(SIZE) * MIB)),
}


def probe_output(**changes: tuple[int, str]) -> list[str]:
    """Lines of a blank 64 MiB stick da0, with some sections replaced."""
    lines = []
    for name, (status, text) in {**BLANK, **changes}.items():
        lines += [f"=== {name}", *text.splitlines(), f"rc {status}"]
    return lines
