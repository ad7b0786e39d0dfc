"""How the parts of the lab hang together: one module knows them all, and none is imported in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

from lab import clock, core
from lab.rc import table
from tests.lab.cluster import REPOSITORY

MODULES = {
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (REPOSITORY / "lab").rglob("*.py")
}


def imported(name: str) -> set[str]:
    """The modules of the lab that a module imports, also within a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in MODULES else node.module for member in members}
    return found & MODULES.keys()


def test_no_import_goes_in_a_circle() -> None:
    TopologicalSorter({name: imported(name) for name in MODULES}).prepare()  # raises CycleError with the circle


def test_nothing_below_the_catalog_knows_it() -> None:
    users = {name for name in MODULES if "lab.catalog" in imported(name)}
    assert users == {"lab.build", "lab.entry"}


def test_every_service_and_every_event_that_runs_a_program_is_registered() -> None:
    services = [service for each in (table.BASE, *table.PACKAGED.values()) for service in each]
    assert {service.name for service in services} == table.ACTIONS.keys()
    assert {service.name for service in services if service.reload} <= {
        name for name, actions in table.ACTIONS.items() if actions.hangup
    }
    assert set(clock.STARTS_PROGRAMS) <= clock.HANDLERS.keys()
    assert core.FOLLOW.keys() == {"freebsd", "rocky"}
