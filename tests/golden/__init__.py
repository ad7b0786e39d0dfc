"""Golden plans: what a run of the deploy changes on each kind of host, operation by operation, to be read in review."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
from pathlib import Path

HERE = Path(__file__).parent
HOSTS = ("f0", "f1", "f2", "r0")
_WORD = r"""'[^']*'(?:"'"'[^']*')*"""
"""What shlex.quote makes."""
_VARIES = {r"\b[0-9a-f]{40,64}\b": "HASH", r"\b\d{15,20}\b": "GUID", r"\.\d{10}\b": ".TIME"}


def readable(command: str) -> str:
    """A command with programs of files/once by their names, as `f3s.quoting.script` sends them, and nothing random."""
    command = re.sub(rf'\bsh -c "\$\(printf %b {_WORD}\)" ', "", command)
    command = re.sub(rf"\bsh -c ({_WORD})", lambda inner: readable(shlex.split(inner[1])[0]), command)
    for pattern, name in _VARIES.items():
        command = re.sub(pattern, name, command)
    return command


def compare(plans: Path, name: str) -> None:
    """What the connector wrote (LAB_PLANS) is what NAME/HOST.txt says; with GOLDEN=write it will be, from now on.

    :raises AssertionError: with the differences
    """
    texts = dict.fromkeys(HOSTS, "")
    for line in plans.read_text().splitlines():
        host, operation, commands = json.loads(line)
        if (short := host.partition(".")[0]) in texts:
            texts[short] += "\n    ".join([operation, *map(readable, commands)]) + "\n"
    differences = ""
    for host, text in texts.items():
        file = HERE / name / f"{host}.txt"
        if os.environ.get("GOLDEN") == "write":
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        before, now = file.read_text().splitlines(keepends=True), text.splitlines(keepends=True)
        differences += "".join(difflib.unified_diff(before, now, str(file), "this run"))
    assert not differences, f"{differences}If it is meant: CONTRIBUTING.md says how plans are written anew."
