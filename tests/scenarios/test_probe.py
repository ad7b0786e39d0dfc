"""The client's probe as a program: it measures, says what hangs, and finds what is lost or astray."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios import probe
from scenarios.stage import PROBE, Report

SHM = Path("/dev/shm")
"""A mount: what is written there is not on the disk of the folder above it."""


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A mount point; the probe's files in it are taken away afterwards."""
    if not os.path.ismount(SHM):
        pytest.skip(f"{SHM} is no mount here")
    yield SHM
    for file in SHM.glob(".f3s-probe-*"):
        file.unlink()


class Running:
    """The program, from the moment in which it measures."""

    def __init__(self, folder: Path, state: Path, *words: str) -> None:
        self.state = state
        self.words = ["--folder", str(folder), "--state", str(state)]
        self.process = subprocess.Popen([sys.executable, "-I", str(PROBE), "run", *self.words, "--interval", "0.02"])
        wait_for(state / "pid")
        assert (state / "pid").read_text() == f"{self.process.pid}\n"

    def stop(self) -> Report:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0
        return Report.parse((self.state / "report.json").read_text())

    def check(self) -> str:
        done = subprocess.run(
            [sys.executable, "-I", str(PROBE), "check", *self.words], capture_output=True, text=True, check=True
        )
        return done.stdout


def wait_for(file: Path) -> None:
    end = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < end, f"no {file}"
        time.sleep(0.02)


def only(folder: Path, kind: str) -> Path:
    found = list(folder.glob(f".f3s-probe-*.{kind}"))
    assert len(found) == 1
    return found[0]


def acknowledged(state: Path, number: int) -> None:
    """Waits until that many lines are."""
    end = time.monotonic() + 20
    while len((state / "acknowledged").read_text().split()) < number:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_needs_no_newer_python_than_clients_have() -> None:
    tree = ast.parse(PROBE.read_text(), feature_version=(3, 9))
    imported = {node.names[0].name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import)}
    imported |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names


def test_all_is_well(mounted: Path, tmp_path: Path) -> None:
    running = Running(mounted, tmp_path / "state")
    acknowledged(tmp_path / "state", 10)
    report = running.stop()
    assert set(report.pauses) == {"stat", "list", "open", "read", "write"}
    assert 0 < report.pause < 5
    assert (report.errors, report.lost, report.stray, report.hanging) == ({}, 0, 0, {})
    assert report.acknowledged == len((tmp_path / "state" / "acknowledged").read_text().split()) >= 10
    assert running.check() == ""


def test_lines_on_the_disk_of_the_mount_point_are_astray(tmp_path: Path) -> None:
    # nothing is mounted there: every program that creates its file succeeds
    folder = tmp_path / "mnt"
    folder.mkdir()
    running = Running(folder, tmp_path / "state")
    time.sleep(0.3)
    report = running.stop()
    assert report.stray > 0
    assert report.acknowledged == 0
    assert (tmp_path / "state" / "acknowledged").read_text() == ""


def test_a_line_that_the_server_does_not_have_is_lost(mounted: Path, tmp_path: Path) -> None:
    running = Running(mounted, tmp_path / "state")
    acknowledged(tmp_path / "state", 5)
    running.stop()
    lines = only(mounted, "lines")
    # one is missing, another one torn
    lines.write_text(lines.read_text().replace("line 2.\n", "").replace("line 4.\n", "line 4"))
    assert running.check() == "2\n4\n"
    assert Report.parse((tmp_path / "state" / "report.json").read_text()).lost == 2


def test_what_cannot_be_looked_up_again_is_an_error(mounted: Path, tmp_path: Path) -> None:
    running = Running(mounted, tmp_path / "state")
    running.stop()
    only(mounted, "lines").unlink()
    with pytest.raises(subprocess.CalledProcessError) as failed:
        running.check()
    assert "the lines cannot be read again" in failed.value.stderr


def test_a_call_that_does_not_come_back_is_named_and_keeps_nothing_from_going_on(tmp_path: Path) -> None:
    running = Running(tmp_path, tmp_path / "state")
    fixed = only(tmp_path, "fixed")
    fixed.unlink()
    os.mkfifo(fixed)  # open(2) for reading waits for somebody who writes
    time.sleep(1)
    begin = time.monotonic()
    report = running.stop()
    assert time.monotonic() - begin < probe.PATIENCE + 10
    assert set(report.hanging) == {"open"}
    assert report.hanging["open"] > 1
    assert report.pauses["open"] > 1
    # the descriptor from before is as good as ever
    assert "read" not in report.errors
    assert report.pauses["read"] < 1


def test_errors_are_counted_by_kind_and_operation(tmp_path: Path) -> None:
    running = Running(tmp_path, tmp_path / "state")
    only(tmp_path, "fixed").unlink()
    time.sleep(0.3)
    report = running.stop()
    assert set(report.errors) == {"stat", "list", "open"}
    assert {kind for kinds in report.errors.values() for kind in kinds} == {"ENOENT", "INCOMPLETE"}
    assert report.read_errors > 3


def test_another_content_is_an_error(tmp_path: Path) -> None:
    running = Running(tmp_path, tmp_path / "state")
    only(tmp_path, "fixed").write_bytes(b"older version")
    time.sleep(0.3)
    assert set(running.stop().errors["read"]) == {"CONTENT"}


def test_a_folder_that_takes_nothing_is_said_at_once(tmp_path: Path) -> None:
    words = ["run", "--folder", str(tmp_path / "gone"), "--state", str(tmp_path / "state")]
    done = subprocess.run([sys.executable, str(PROBE), *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert f"nothing can be written in {tmp_path / 'gone'}" in done.stderr
    assert not (tmp_path / "state" / "pid").exists()


def test_a_pause_counts_from_the_last_success_and_includes_the_running_one() -> None:
    one = probe.Measure(10)
    one.begins(11)
    one.ends(12, None)
    assert one.pause == 2
    one.begins(13)
    one.ends(20, OSError(5, "broken"))
    assert one.pause_until(20) == 8
    one.begins(21)
    assert (one.since, one.errors) == (21, {"EIO": 1})
    one.ends(30, None)
    assert (one.pause, one.pause_until(31)) == (18, 18)
    one.ends(30.4, None)
    assert one.gaps == [[10, 12], [12, 30]]
    slow = probe.Measure(10, interval=1)
    slow.ends(11.4, None)
    slow.ends(13, None)
    assert slow.gaps == [[11.4, 13]]


MOUNTSTATS = """\
device proc mounted on /proc with fstype proc
device 127.0.0.1:/k3svolumes mounted on {folder} with fstype nfs4 statvers=1.1
\tage:\t{age}
device 127.0.0.1:/other mounted on {folder}/other with fstype nfs4 statvers=1.1
\tage:\t7
"""


def test_a_mount_of_another_age_is_another_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ages(seconds: int) -> None:
        text = MOUNTSTATS.format(folder=tmp_path, age=seconds)
        monkeypatch.setattr(Path, "read_text", lambda self: text if str(self) == "/proc/self/mountstats" else "")

    ages(100)
    files = probe.Files(str(tmp_path), tmp_path)
    files.mounted = probe.mounted_since(str(tmp_path))
    assert files.mounted == pytest.approx(time.monotonic() - 100, abs=1)
    assert not files.is_mounted_anew()
    ages(3)
    assert files.is_mounted_anew()
    monkeypatch.setattr(Path, "read_text", lambda self: "")
    assert files.is_mounted_anew()


def test_the_report_is_json_of_its_own_fields(tmp_path: Path) -> None:
    files = probe.Files(str(tmp_path), tmp_path)
    measures = {"stat": probe.Measure(0), "write": probe.Measure(0)}
    measures["write"].begins(4)
    found = probe.report(measures, files, stopped=5, now=8)
    assert Report.parse(json.dumps(found)) == Report({"stat": 5, "write": 8}, hanging={"write": 4})
