"""The order of the rc.d scripts, and rcorder(8)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab.core import Context, LabError


@dataclass
class Script:
    """An rc.d script's header."""

    path: str
    provide: list[str] = field(default_factory=list)
    require: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    keyword: list[str] = field(default_factory=list)


def read_header(path: str, text: str) -> Script:
    """PROVIDE, REQUIRE, BEFORE and KEYWORD lines of a script, as rcorder(8) reads them."""
    script = Script(path)
    for word, values in re.findall(r"^# (PROVIDE|REQUIRE|BEFORE|KEYWORD)S?:[ \t]*(.*)$", text, re.MULTILINE):
        getattr(script, word.lower()).extend(values.split())
    return script


SEEN = """
zpool zfskeys fsck zvol mountcritlocal zfs FILESYSTEMS kld netif devd NETWORKING nfsuserd stunnel DAEMON vm LOGIN mountd
nfsd cron
""".split()
"""As recorded (section boot): where a script comes that has a choice depends on all 140, most of which are not here."""
PLACES = {name: place for place, name in enumerate(SEEN)}


def sort(scripts: Iterable[Script]) -> list[Script]:
    """The scripts with each one behind what it requires; what nobody provides does not count.

    Where the headers leave it open, the order is the one that was seen.

    :raises LabError: the headers go in a circle (rcorder(8) only warns; a deploy should hear of it)
    """
    scripts = sorted(scripts, key=lambda script: PLACES.get(os.path.basename(script.path), len(PLACES)))
    providers = {name: script for script in scripts for name in script.provide}
    needs: dict[str, list[str]] = {script.path: [] for script in scripts}
    for script in scripts:
        for name in script.before:
            if name in providers:
                needs[providers[name].path].append(script.path)
    for script in scripts:
        needs[script.path] += [providers[name].path for name in script.require if name in providers]
    by_path = {script.path: script for script in scripts}
    order: list[Script] = []
    state: dict[str, str] = {}

    def visit(path: str, trail: tuple[str, ...]) -> None:
        if state.get(path) == "done":
            return
        if path in trail:
            raise LabError(f"rcorder: a circle: {' -> '.join((*trail[trail.index(path) :], path))}")
        for needed in needs[path]:
            visit(needed, (*trail, path))
        state[path] = "done"
        order.append(by_path[path])

    for script in scripts:
        visit(script.path, ())
    return order


def rcorder(ctx: Context) -> int:
    """rcorder(8) of files that are there, without options and without its warnings."""
    if not ctx.args or not all(map(os.path.isfile, ctx.args)):
        raise ctx.not_simulated()
    for script in sort(read_header(path, Path(path).read_text()) for path in ctx.args):
        ctx.out(f"{script.path}\n")
    return 0
