"""One machine: its qemu process, its devices, and the monitor that controls them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from machines.programs import MachinesError, accelerator
from machines.switch import connect

PROMPT = b"(qemu) "
MONITOR_SECONDS = 120
"""Seconds for a command of the monitor: savevm writes the memory to disk."""
PR_SET_PDEATHSIG = 1
STICK = "stick"
"""Name of the stick's file, without its ending, and of its device."""
READABLE, UNREADABLE = "scsi-hd,bus=port.0", "usb-storage,bus=usb.0"
"""Where it is plugged in: the emulated USB bus fails reads of 256 KiB (seen)."""


@dataclass(frozen=True)
class Nic:
    """A network card at a switch.

    :param switch: folder of the switch below the cluster's; also the card's name
    """

    switch: str
    mac: str


@dataclass
class Machine:
    """A machine that may run.

    :param folder: of the cluster; all files are in it, named ``NAME-...``
    :param disks: names of the qcow2 files ``NAME-DISK.qcow2`` on the AHCI controller (FreeBSD: ada0, ada1 ...), the
        system first
    :param memory: MiB
    :param port: of this computer that leads to the machine's sshd
    :param boot: options of qemu that say what is booted, if it is not the first disk (Linux: ``-kernel``)
    :param virtio: disks are on virtio (Linux: vda, vdb ...)
    :param stick: it has a USB port
    :param orphan: its process outlives the one that starts it
    """

    name: str
    folder: Path
    disks: tuple[str, ...]
    memory: int
    nics: tuple[Nic, ...]
    port: int
    boot: tuple[str, ...] = ()
    virtio: bool = False
    stick: bool = False
    orphan: bool = field(default=False, kw_only=True)

    # -- the process --

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Number of its process, None if it is off."""
        try:
            pid = int(self._pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # another process may have this number now
        return pid if f"{self.name},process={self._process}".encode() in words else None

    @property
    def _process(self) -> str:
        return f"f3s-{self.name}"

    def command(self, snapshot: str = "") -> list[str]:
        """qemu and its options; it is started in the cluster's folder.

        :param snapshot: go on from there
        """
        name = self.name
        words = ["qemu-system-x86_64", "-name", f"{name},process={self._process}", *accelerator()]
        words += ["-m", str(self.memory), "-smp", "1", "-display", "none", "-no-user-config", "-nodefaults"]
        words += ["-serial", f"file:{name}.log", "-monitor", f"unix:{name}.monitor,server,nowait"]
        words += ["-pidfile", f"{name}.pid", "-device", "VGA", "-rtc", "base=utc,clock=host", *self.boot]
        if not self.virtio:
            words += ["-device", "ahci,id=ahci0"]
        for number, disk in enumerate(self.disks):
            words += ["-drive", f"id=d{number},if=none,{self._file(disk)}"]
            device = "virtio-blk-pci" if self.virtio else f"ide-hd,bus=ahci0.{number}"
            # a kernel that qemu loads itself takes the first place in the order of boot
            first = "" if self.boot else ",bootindex=0"
            more = f",serial={name.upper()}{disk.upper()}" if number else first
            words += ["-device", f"{device},drive=d{number}{more}"]
        words += ["-drive", f"id=seed,if=none,file={name}-seed.iso,format=raw,readonly=on"]
        words += ["-device", "virtio-blk-pci,drive=seed"]
        for number, nic in enumerate(self.nics):
            words += ["-netdev", f"dgram,id=n{number},local.type=unix,local.path={nic.switch}/{name}.vm"]
            words[-1] += f",remote.type=unix,remote.path={nic.switch}/{name}.hub"
            words += ["-device", f"virtio-net-pci,netdev=n{number},id={nic.switch},mac={nic.mac}"]
        outside = f"user,id=outside,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        words += ["-netdev", outside, "-device", "virtio-net-pci,netdev=outside", "-device", "virtio-rng-pci"]
        if self.stick:
            words += ["-device", "virtio-scsi-pci,id=port", "-device", "qemu-xhci,id=usb"]
            # a state is frozen with everything plugged in
            if plugged := READABLE if snapshot else self.plugged(STICK):
                words += ["-drive", f"id={STICK},if=none,{self._file(STICK)}"]
                words += ["-device", f"{plugged},drive={STICK},id={STICK}device"]
        return [*words, "-loadvm", snapshot] if snapshot else words

    def plugged(self, what: str) -> str:
        """How a stick or a cable is plugged in, over power cuts as well; empty: it is out."""
        file = self._plugged(what)
        return file.read_text() if file.exists() else READABLE

    def _plugged(self, what: str) -> Path:
        return self.folder / f"{self.name}.plugged-{what}"

    def _file(self, disk: str) -> str:
        return f"file={self.name}-{disk}.qcow2,format=qcow2,cache=unsafe,discard=unmap"

    def start(self, snapshot: str = "") -> None:
        """Switches it on.

        :raises MachinesError: qemu does not start
        """
        if self.pid() is not None:
            raise MachinesError(f"{self.name} runs already")
        for nic in self.nics:
            (self.folder / nic.switch / f"{self.name}.vm").unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)
        if snapshot:
            for file in self.folder.glob(f"{self.name}.plugged-*"):
                file.unlink()
        with open(self.folder / f"{self.name}.qemu", "wb") as output:
            process = spawn(self.command(snapshot), self.folder, output.fileno(), orphan=self.orphan)
        for _ in range(100):
            if self.pid() is not None and (self.folder / f"{self.name}.monitor").exists():
                for nic in self.nics:
                    if not self.plugged(nic.switch):
                        self.cable(nic.switch, plugged=False)
                return
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise MachinesError(f"{self.name} does not start: {(self.folder / f'{self.name}.qemu').read_text().strip()}")

    def kill(self) -> None:
        """The power cut."""
        end(self.pid)
        self._pid_file.unlink(missing_ok=True)

    # -- the monitor --

    def monitor(self, command: str) -> str:
        """What qemu's monitor answers.

        :raises MachinesError: it reports an error, or does not answer
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(MONITOR_SECONDS)
            try:
                connect(link, self.folder / f"{self.name}.monitor")
                _until_prompt(link)
                link.send(f"{command}\n".encode())
                # it echoes what is typed, with escape sequences, up to the end of the line
                answer = _until_prompt(link).partition(b"\n")[2].decode(errors="replace").strip()
            except OSError as error:
                raise MachinesError(f"{self.name}: the monitor does not answer to {command!r}: {error}") from None
        if answer.startswith("Error") or "rror:" in answer:
            raise MachinesError(f"{self.name}: {command}: {answer}")
        return answer

    # -- devices --

    def cable(self, switch: str, *, plugged: bool) -> None:
        """Pulls the cable to a switch, or plugs it in."""
        self.monitor(f"set_link {switch} {'on' if plugged else 'off'}")
        self._plugged(switch).write_text(READABLE if plugged else "")

    def has_stick(self) -> bool:
        """Whether a stick is plugged in."""
        return f"{STICK}device" in self.monitor("info qtree")

    def pull_stick(self) -> None:
        """Takes the stick out."""
        self.monitor(f"device_del {STICK}device")
        self._plugged(STICK).write_text("")
        for _ in range(100):  # the guest has to release it
            if not self.has_stick():
                return
            time.sleep(0.1)
        raise MachinesError(f"{self.name} does not release its stick")

    def plug_stick(self, *, readable: bool = True) -> None:
        """Puts the stick in; into the emulated USB bus, where it cannot be read, if it is not `readable`."""
        self.monitor(f"drive_add 0 id={STICK},if=none,{self._file(STICK)}")
        bus = READABLE if readable else UNREADABLE
        self.monitor(f"device_add {bus},drive={STICK},id={STICK}device")
        self._plugged(STICK).write_text(bus)


def spawn(words: list[str], folder: Path, output: int, *, orphan: bool) -> subprocess.Popen[bytes]:
    """A process in the background that ends with this one, unless it is an orphan."""
    parent = os.getpid()

    def before() -> None:
        # the kernel ends it with its parent, however that ends
        if not orphan:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=before if sys.platform == "linux" else None,
    )


def end(running: Callable[[], int | None]) -> None:
    """Kills a process, and waits until it is gone.

    :param running: its number as long as it is there
    """
    while (pid := running()) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        reap(pid)
        time.sleep(0.02)


def reap(pid: int) -> None:
    """Lets the kernel forget a child that has ended; nothing where it is not ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _until_prompt(link: socket.socket) -> bytes:
    read = b""
    while not read.endswith(PROMPT):
        part = link.recv(65536)
        if not part:
            raise ConnectionResetError("it closed the connection")
        read += part
    return read.removesuffix(PROMPT)
