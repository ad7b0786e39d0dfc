"""A machine's qemu: its options, and a process that ends with the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from machines.cluster import boot_options
from machines.linux import Linux
from machines.programs import MachinesError
from machines.qemu import READABLE, UNREADABLE, Machine, Nic


def machine(folder: Path, **given: object) -> Machine:
    values = {"disks": ("system", "data"), "memory": 512, "nics": (Nic("lan", "52:54:00:00:01:01"),), "port": 2200}
    return Machine("f0", folder, **{**values, **given})  # type: ignore[arg-type]


def test_disks_come_in_order_and_the_system_boots(tmp_path: Path) -> None:
    words = " ".join(machine(tmp_path).command())
    assert "ide-hd,bus=ahci0.0,drive=d0,bootindex=0" in words
    assert "ide-hd,bus=ahci0.1,drive=d1,serial=F0DATA" in words
    assert "-loadvm" not in words
    assert machine(tmp_path).command("deployed")[-2:] == ["-loadvm", "deployed"]


def test_a_kernel_of_its_own_takes_the_first_place_in_the_order_of_boot(tmp_path: Path) -> None:
    options = boot_options(Linux(tmp_path, Path("/k"), Path("/i"), "root=/dev/vda"))
    assert options == ["-kernel", "/k", "-initrd", "/i", "-append", "root=/dev/vda"]
    assert "bootindex=0" not in " ".join(machine(tmp_path, boot=tuple(options), virtio=True).command())
    assert boot_options(Linux(tmp_path, None, None, None)) == []


def test_every_writable_disk_can_be_frozen(tmp_path: Path) -> None:
    drives = [word for word in machine(tmp_path, stick=True).command() if word.startswith("id=") and "file=" in word]
    assert len(drives) == 4
    assert all("format=qcow2" in drive or "readonly=on" in drive for drive in drives)


def test_what_is_out_is_out_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Machine, "monitor", lambda self, command: (told.append(command), "")[1])
    one = machine(tmp_path, stick=True)
    assert f"{READABLE},drive=stick" in " ".join(one.command())
    one.pull_stick()
    one.cable("lan", plugged=False)
    assert "drive=stick" not in " ".join(one.command())
    assert "drive=stick" in " ".join(one.command("deployed")), "a state is frozen with everything plugged in"
    assert (one.plugged("lan"), one.plugged("wireguard")) == ("", READABLE)
    one.plug_stick(readable=False)
    assert f"{UNREADABLE},drive=stick" in " ".join(one.command())


def test_a_foreign_process_with_the_same_number_is_not_the_machine(tmp_path: Path) -> None:
    (tmp_path / "f0.pid").write_text(f"{os.getpid()}\n")
    assert machine(tmp_path).pid() is None


def test_what_qemu_says_is_told_when_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\necho no such disk >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(MachinesError, match="f0 does not start: no such disk"):
        machine(tmp_path).start()


@pytest.mark.parametrize("orphan", [False, True])
def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path, orphan: bool) -> None:
    script = (
        "import sys, time; from pathlib import Path; from machines.qemu import READABLE, UNREADABLE, spawn\n"
        f"process = spawn(['sleep', '60'], Path('/'), 1, orphan={orphan})\n"
        "print(process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(0.3)
    alive = Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z"
    assert alive is orphan
    if alive:
        os.kill(child, signal.SIGKILL)
