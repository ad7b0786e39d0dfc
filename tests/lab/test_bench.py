"""The counts of `make bench`: what the connector writes, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import bench
from tests.lab.cluster import F0, F1, F2, Cluster

LINES = "f0\ttasks/a.py\nf1\ttasks/a.py\nf0\ttasks/a.py\nf0\ttasks/b.py\n"


def test_the_table_counts_by_host_and_task_and_sums() -> None:
    table = bench.table({"first run": bench.parse(LINES), "no change": bench.parse("f0\ttasks/a.py\n")})
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["f0", "tasks/a.py", "2", "1"],
        ["f0", "tasks/b.py", "1", "0"],
        ["f1", "tasks/a.py", "1", "0"],
        ["f0", "all", "tasks", "3", "1"],
        ["f1", "all", "tasks", "1", "0"],
        ["all", "hosts", "all", "tasks", "4", "1"],
    ]


@pytest.mark.lab
def test_the_connector_counts_each_round_trip_by_the_host_that_it_goes_to(lab: Cluster, tmp_path: Path) -> None:
    count = tmp_path / "count"
    run = lab.pyinfra("tasks/usb_keys.py", "-y", "--limit", "freebsd", LAB_COUNT=str(count))
    assert run.rc == 0, run.output
    counts = bench.parse(count.read_text())
    assert {task for _, task in counts} == {"-"}
    assert {host for host, _ in counts} == {F0, F1, F2}
    assert min(counts.values()) > 10
