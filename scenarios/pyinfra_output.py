"""What pyinfra's output says about a run."""

from __future__ import annotations

import re


def changes(output: str) -> list[str]:
    """The operations that changed something, as ``HOST: OPERATION``; colours are ignored."""
    found = []
    operation = ""
    for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines():
        if match := re.match(r"--> Starting (?:serial )?operation: (.*)", line):
            operation = match.group(1).rstrip()
        elif match := re.match(r"\s*\[(\S+)\]\s+Success", line):
            found.append(f"{match.group(1)}: {operation}")
    return found
