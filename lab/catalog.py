"""Which program of a simulated host is played by which function: path -> ``module:function``.

A function takes a `lab.core.Context` and returns the exit status. ``FREEBSD`` and ``ROCKY`` are there from the
installation on, ``PACKAGES`` (platform, package) come with ``pkg install`` or ``dnf install``.
"""

from __future__ import annotations

FREEBSD: dict[str, str] = {
    "/bin/date": "lab.commands.base:date",
    "/bin/freebsd-version": "lab.commands.base:freebsd_version",
    "/bin/sleep": "lab.commands.base:sleep",
    "/usr/bin/uname": "lab.commands.base:uname",
}

ROCKY: dict[str, str] = {
    "/usr/bin/date": "lab.commands.base:date",
    "/usr/bin/sleep": "lab.commands.base:sleep",
    "/usr/bin/uname": "lab.commands.base:uname",
}

PACKAGES: dict[tuple[str, str], dict[str, str]] = {}


def played(path: str) -> str | None:
    """The function that plays the program at that path, whatever the platform; None if there is none."""
    for table in (FREEBSD, ROCKY, *PACKAGES.values()):
        if path in table:
            return table[path]
    return None
