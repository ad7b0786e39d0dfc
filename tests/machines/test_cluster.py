"""How a run with machines ends."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import pytest

from machines import cluster
from machines.programs import MachinesError


class Machines(cluster.Cluster):
    """Nothing but the end of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gone = threading.Event()
        self.waited: Future[bool] = Future()

    def exists(self) -> bool:
        return True

    def down(self) -> None:
        self.gone.set()


def run_that_is_told_to_end(machines: Machines, number: int) -> None:
    with cluster.taken_down(machines), ThreadPoolExecutor() as pool:
        machines.waited = pool.submit(machines.gone.wait, 20)
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_waits_for_a_machine_in_a_thread_is_ended_too(number: int, tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_that_is_told_to_end(machines, number)
    assert ended.value.code == 128 + number
    assert machines.waited.result()


def test_two_runs_never_have_the_same_machines(tmp_path: Path) -> None:
    with cluster.taken_down(Machines(tmp_path)):
        with pytest.raises(MachinesError, match="another run uses the machines"), cluster.alone(tmp_path):
            pass
        with cluster.alone(tmp_path / "other"):
            pass
    with cluster.alone(tmp_path):
        pass


def test_a_disk_that_was_replaced_comes_back_with_the_frozen_state(tmp_path: Path) -> None:
    class Disks(Machines):
        machines = MappingProxyType({})  # type: ignore[assignment]

        def start(self, snapshot: str = "") -> None:
            assert snapshot == "deployed"

        def _qcow2(self, name: str, disk: str, *, size: str = "", backing: Path | None = None) -> None:
            (self.folder / f"{name}-{disk}.qcow2").write_text(f"blank, {size}")

    disks, file = Disks(tmp_path), tmp_path / "f0-stick.qcow2"
    file.write_text("frozen")
    disks.secrets.mkdir()
    (disks.secrets / "ca").write_text("frozen")
    disks.freeze("deployed")
    for _ in range(2):
        disks._another("f0", "stick")
        assert file.read_text() == "blank, 64M"
    (disks.secrets / "ca").write_text("new")
    (disks.secrets / "more").touch()
    disks.thaw("deployed")
    assert [path.name for path in tmp_path.glob("f0-*")] == ["f0-stick.qcow2"]
    assert {path.name: path.read_text() for path in (file, *disks.secrets.iterdir())} == {
        "f0-stick.qcow2": "frozen",
        "ca": "frozen",
    }
