"""tasks/carp.py on the simulated hosts: what of its order matters to real ones."""

from __future__ import annotations

import pytest

from tests.lab.cluster import Cluster

pytestmark = pytest.mark.lab


def test_the_primary_has_the_address_before_the_standby_gets_it(lab: Cluster) -> None:
    """Within one operation both get it at the same time, and without preemption a second would decide who serves."""
    lab.make_secrets()
    run = lab.pyinfra("tasks/carp.py", "--dry", "--limit", "storage")
    assert run.rc == 0, run.output
    _, _, table = run.output.partition("--> Detected changes:")
    steps = ["now, on the primary", "carp: the primary has the shared address", "now, on the standby"]
    found = [table.find(step) for step in steps]
    assert -1 not in found, table
    assert found == sorted(found), table
