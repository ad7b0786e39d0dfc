"""Owners of files, which an ordinary user's namespace cannot store: kept as extended attributes."""

from __future__ import annotations

import os

OWNER = "user.lab.owner"
DEFAULT_OWNER = ("root", "wheel")


def owner(path: str) -> tuple[str, str]:
    """User and group of a file; root:wheel unless it was changed."""
    if os.path.islink(path):
        return DEFAULT_OWNER
    try:
        user, _, group = os.getxattr(path, OWNER).decode().partition(":")
    except OSError:
        return DEFAULT_OWNER
    return user, group


def set_owner(path: str, user: str | None, group: str | None) -> None:
    """Changes one or both of them."""
    old_user, old_group = owner(path)
    os.setxattr(path, OWNER, f"{user or old_user}:{group or old_group}".encode())


def ids(kind: str) -> dict[str, int]:
    """Names and numbers of the host's users (``passwd``) or groups (``group``)."""
    with open(f"/etc/{kind}") as file:
        fields = [line.split(":") for line in file if line.strip() and not line.startswith("#")]
    return {field[0]: int(field[2]) for field in fields}
