"""Owners and flags of files, which an ordinary user's namespace cannot store: kept as extended attributes."""

from __future__ import annotations

import os

OWNER = "user.lab.owner"
FLAGS = "user.lab.flags"
DEFAULT_OWNER = ("root", "wheel")


def _get(path: str, name: str) -> str:
    try:
        return os.getxattr(path, name).decode()
    except OSError:
        return ""


def owner(path: str) -> tuple[str, str]:
    """User and group of a file; root:wheel unless it was changed."""
    if os.path.islink(path):
        return DEFAULT_OWNER
    user, _, group = _get(path, OWNER).partition(":")
    return (user, group) if user else DEFAULT_OWNER


def set_owner(path: str, user: str | None, group: str | None) -> None:
    """Changes one or both of them."""
    old_user, old_group = owner(path)
    os.setxattr(path, OWNER, f"{user or old_user}:{group or old_group}".encode())


def flags(path: str) -> list[str]:
    """chflags(1) names of the flags that are set. ZFS marks what was written as uarch; that is not kept here."""
    return [flag for flag in _get(path, FLAGS).split(",") if flag]


def set_flags(path: str, names: list[str]) -> None:
    os.setxattr(path, FLAGS, ",".join(names).encode())


def ids(kind: str) -> dict[str, int]:
    """Names and numbers of the host's users (``passwd``) or groups (``group``)."""
    with open(f"/etc/{kind}") as file:
        fields = [line.split(":") for line in file if line.strip() and not line.startswith("#")]
    return {field[0]: int(field[2]) for field in fields}
