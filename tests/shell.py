"""What a shell makes of a command."""

from __future__ import annotations

import subprocess


def words_of(command: str) -> list[str]:
    """The words that sh hands to the program."""
    return _printed(f"printf '%s\\0' {command}").split("\0")[:-1]


def program_of(command: str) -> str:
    """What sh runs for a fact of several lines, which `f3s.quoting.one_line` has folded."""
    assert command.count("{ eval ") == 1
    return _printed(command.replace("{ eval ", "{ printf '%s\\n' "))


def _printed(script: str) -> str:
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
