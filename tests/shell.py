"""What a shell makes of a command, alone or on a host whose programs are played."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def words_of(command: str) -> list[str]:
    """The words that sh hands to the program."""
    return _printed(f"printf '%s\\0' {command}").split("\0")[:-1]


def program_of(command: str) -> str:
    """What sh runs for a fact of several lines, which `f3s.quoting.one_line` has folded."""
    assert command.count("{ eval ") == 1
    return _printed(command.replace("{ eval ", "{ printf '%s\\n' "))


def shell(command: str, folder: Path | None = None, **programs: str) -> subprocess.CompletedProcess[str]:
    """How a command ends under sh, which finds these programs (sh, by name) in `folder` before all others."""
    for name, body in programs.items():
        assert folder is not None
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}" if folder else os.environ["PATH"]
    words, environment = ["/bin/sh", "-c", command], {**os.environ, "PATH": path}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)


def lines_of(command: str, folder: Path | None = None, **programs: str) -> list[str]:
    """What it prints; it has to succeed."""
    done = shell(command, folder, **programs)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _printed(script: str) -> str:
    done = shell(script)
    assert done.returncode == 0, done.stderr
    return done.stdout
