"""deploy.py is a list of tasks, each with the reason for its place."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from tests.lab.cluster import Cluster

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "deploy.py").read_text().splitlines()
INCLUDE = re.compile(r'then\("(\w+)"\)')
LISTED = [match[1] for line in LINES if (match := INCLUDE.fullmatch(line))]

ORDER = ["usb_keys", "zfs_encrypt", "bhyve_migrate", "zrepl", "carp", "nfs", "stunnel", "clients"]
"""The sections of the specification."""


def test_every_task_that_there_is_has_its_place() -> None:
    assert [name for name in ORDER if (ROOT / "tasks" / f"{name}.py").exists()] == LISTED


def test_every_task_has_the_reason_for_its_place_above_it() -> None:
    reasons = [LINES[number - 1] for number, line in enumerate(LINES) if INCLUDE.fullmatch(line)]

    assert reasons
    assert [reason for reason in reasons if not reason.startswith("# ")] == []


def files(lab: Cluster) -> dict[str, tuple[int, int, int]]:
    """Every file of every host and disk, with its size, mode and time; what the lab itself keeps there is left out."""
    found = {}
    for top in (*lab.state.glob("hosts/*/root"), lab.state / "trees", lab.state / "disks"):
        for file in top.rglob("*"):
            name = str(file.relative_to(lab.state))
            if "/root/.lab" not in name and file.is_file() and not file.is_symlink():
                status = file.lstat()
                found[name] = (status.st_size, status.st_mode, status.st_mtime_ns)
    return found


def test_the_operations_of_a_task_run_on_all_hosts_before_the_next_task(lab: Cluster) -> None:
    lab.make_secrets()
    before = files(lab)
    plan = lab.pyinfra("deploy.py", "--dry")
    assert plan.rc == 0, plan.output
    assert files(lab) == before, "a dry run changes nothing"
    _, _, table = plan.output.partition("--> Detected changes:")
    tasks = re.findall(r"^    (?:-- (\w+)|tasks/(\w+)\.py \|)", table, re.MULTILINE)
    sequence = [left or right for left, right in tasks]
    assert [name for name, _ in itertools.groupby(sequence)] == LISTED
