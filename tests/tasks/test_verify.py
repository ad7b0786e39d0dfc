"""tasks/verify.py on the simulated hosts: fresh ones, one that is down, and what it leaves as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.lab.cluster import F0, F2, Cluster

pytestmark = pytest.mark.lab
TASK = "tasks/verify.py"
SMALL = 1 << 20


def content(cluster: Cluster) -> dict[str, str]:
    """Every file of the lab but logs: path -> digest, or for the sparse images of the disks when they last changed."""
    found = {}
    for file in sorted(cluster.state.rglob("*")):
        path = str(file.relative_to(cluster.state))
        if "/var/log/" in path or file.is_symlink() or not file.is_file():
            continue
        seen = file.stat()
        if seen.st_size > SMALL:
            found[path] = f"{seen.st_mtime_ns} {seen.st_size}"
        else:
            found[path] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def test_fresh_hosts(lab: Cluster, tmp_path: Path) -> None:
    data = [f"verify_{kind}={tmp_path / f'state.{kind}'}" for kind in ("json", "html")]
    run = lab.pyinfra(TASK, "--data", data[0], "--data", data[1])
    # without -y, and nobody was asked anything
    assert run.rc == 1
    assert "Press enter" not in run.output
    assert "no stick with the label F3S_KEYS" in run.output
    assert run.output.count("CHECK ") == 1
    table = json.loads((tmp_path / "state.json").read_text())
    assert table["right"] is False
    states = {(row["check"], row["host"]): row["state"] for row in table["rows"]}
    assert states["stick", F0] == "wrong"
    assert states["pools", F2] == "right"
    assert states["one MASTER", "cluster"] == "wrong"
    assert states["certificates", "controller"] == "unknown"
    page = (tmp_path / "state.html").read_text()
    assert "<svg" in page
    assert "no stick with the label F3S_KEYS" in page
    # the page needs nothing from anywhere
    assert not [word for word in ("http://", "https://", "src=", "@import", "<script") if word in page]


def test_it_changes_nothing_and_dry_is_the_same(lab: Cluster) -> None:
    lab.pyinfra(TASK, "-y")  # the programs of the lab are started once
    before = content(lab)
    first, dry = lab.pyinfra(TASK, "-y"), lab.pyinfra(TASK, "--dry")
    assert content(lab) == before
    assert (first.rc, dry.rc) == (1, 1)
    assert first.output[first.output.index("CHECK ") :] == dry.output[dry.output.index("CHECK ") :]


def test_a_host_that_is_down_is_a_row(lab: Cluster) -> None:
    lab.lab("crash", "f2")
    run = lab.pyinfra(TASK, "-y")
    assert run.rc == 1
    rows = [line.split() for line in run.output.splitlines()]
    assert ["reachable", F2, "WRONG", "no", "connection:", "the", "error", "is", "above"] in rows
    assert [line[:3] for line in rows if line[:2] == ["stick", F0]] == [["stick", F0, "WRONG"]]
    assert not [line for line in rows if line[:2] == ["stick", F2]]


def test_a_host_that_is_left_out_is_not_known(lab: Cluster) -> None:
    run = lab.pyinfra(TASK, "-y", "--limit", F0)
    assert run.rc == 1
    assert ["reachable", F2, "UNKNOWN"] in [line.split()[:3] for line in run.output.splitlines()]


def test_it_runs_by_itself(lab: Cluster) -> None:
    run = lab.pyinfra("tasks/usb_keys.py", TASK, "--dry")
    assert run.rc == 1
    assert "run it by itself" in run.output
