"""Imports point one way: a room uses what lies below it, never what lies above. CONTRIBUTING.md draws the arrows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BELOW: dict[str, set[str]] = {
    "f3s": set(),
    "facts": {"f3s", "pyinfra"},
    "operations": {"facts", "f3s", "pyinfra"},
    "bridge": {"operations", "facts", "f3s", "pyinfra", "pyinfra_cli"},
    "tasks": {"bridge", "operations", "facts", "f3s", "pyinfra"},
    "scenarios": {"bridge", "f3s", "pyinfra"},
    "lab": {"bridge", "facts", "f3s", "scenarios", "pyinfra"},
    "machines": {"bridge", "f3s", "scenarios", "lab", "pyinfra"},
    "bench": {"bridge", "f3s", "machines", "scenarios"},
    "inventory.py": {"bridge"},
    "deploy.py": {"operations", "pyinfra"},
    "certificates.py": {"bridge", "f3s", "pyinfra"},
}
ROOMS = {"pyinfra", "pyinfra_cli", "tests", *(name.removesuffix(".py") for name in BELOW)}


def rooms_of(source: str) -> set[str]:
    """What a program imports, wherever in its text, of ROOMS."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names} & ROOMS


@pytest.mark.parametrize("room", BELOW)
def test_no_import_points_up(room: str) -> None:
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): rooms_of(file.read_text()) - {room} - BELOW[room] for file in files}
    assert {file: up for file, up in found.items() if up} == {}
