"""The machines of a site: made from images, started, frozen, thawed, reached over ssh, and taken down."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path

from f3s.settings import HostSettings, Site
from machines import freebsd, linux, programs
from machines.freebsd import prefixed
from machines.programs import MachinesError
from machines.qemu import STICK, Machine, Nic, end, reap, spawn
from scenarios.stage import REPOSITORY, Ran, Stick

LAN, WIREGUARD = "lan", "wg"
"""The switches, which are folders and network cards of the same name."""
BOOT_SECONDS = 900
"""Until a machine answers on ssh: a first boot takes up to 240 s without KVM (seen), alone on a processor."""
EXEC_SECONDS = 0.001
"""What starting a small program takes on ordinary hardware."""
KEPT = ".kept"
"""The ending of a disk that a blank one has replaced, until its frozen state is thawed."""
DISKS = {"data": "3G", "vm": "3G", STICK: "64M"}
"""Disks of a FreeBSD machine beside its system: ada1, ada2, da0."""
MEMORY = {"freebsd": 1536, "linux": 384}


class Cluster:
    """Machines in a folder.

    :param orphans: machines outlive this process; otherwise they end with it, however it ends
    """

    def __init__(self, folder: Path, site: Site, *, orphans: bool = False) -> None:
        self.folder = folder
        self.site = site
        self.orphans = orphans

    # -- what there is --

    @property
    def _notes(self) -> Path:
        return self.folder / "cluster.json"

    def exists(self) -> bool:
        return self._notes.exists()

    @cached_property
    def machines(self) -> dict[str, Machine]:
        """By short name; as they were made.

        :raises MachinesError: none were
        """
        try:
            notes = json.loads(self._notes.read_text())
        except FileNotFoundError:
            raise MachinesError(f"no machines in {self.folder}: run `python -m machines up` first") from None
        return {name: self._machine(self.host(name), **given) for name, given in notes.items()}

    def machine(self, name: str) -> Machine:
        """
        :raises MachinesError: there is none of that name
        """
        if name not in self.machines:
            raise MachinesError(f"there is no machine {name!r}; there are {', '.join(self.machines)}")
        return self.machines[name]

    def host(self, name: str) -> HostSettings:
        """The settings of a host, by its short name."""
        for host in self.site.hosts:
            if host.short_name == name:
                return host
        raise MachinesError(f"the site has no host {name!r}; it has {', '.join(h.short_name for h in self.site.hosts)}")

    def _machine(self, host: HostSettings, port: int, boot: list[str]) -> Machine:
        number = 1 + [each.name for each in self.site.hosts].index(host.name)
        nics = [Nic(LAN, f"52:54:00:00:01:{number:02x}")]
        if host.is_freebsd:
            nics.append(Nic(WIREGUARD, f"52:54:00:00:02:{number:02x}"))
        disks = ("system", *(name for name in DISKS if name != STICK)) if host.is_freebsd else ("system",)
        return Machine(
            host.short_name,
            self.folder,
            disks,
            MEMORY["freebsd" if host.is_freebsd else "linux"],
            tuple(nics),
            port,
            tuple(boot),
            virtio=not host.is_freebsd,
            stick=host.is_freebsd,
            orphan=self.orphans,
        )

    # -- making and starting --

    def make(self, names: list[str], images: dict[str, Path], cache: Path) -> None:
        """Blank machines, with what was in the folder before thrown away. Nothing is started.

        :param names: short names of hosts of the site
        :param images: of FreeBSD, by short name
        :param cache: folder for the client's image
        :raises MachinesError: programs or images are missing
        """
        programs.need()
        if self.exists():
            self.down()
            shutil.rmtree(self.folder)
        for part in (LAN, WIREGUARD):
            (self.folder / part).mkdir(parents=True)
        _call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "machines", "-f", str(self.key)])
        key = self.key.with_suffix(".pub").read_text().strip()
        notes = {}
        for name in names:
            host = self.host(name)
            boot: list[str] = []
            if host.is_freebsd:
                backing, seed = images[name], freebsd.seed(host, key)
                for disk, size in DISKS.items():
                    self._qcow2(name, disk, size=size)
            else:
                system = linux.image(cache)
                backing, boot = system.disk, boot_options(system)
                seed = linux.seed(host.name, {"eth0": prefixed(host.lan)}, key)
            self._qcow2(name, "system", backing=backing)
            self._iso(name, seed)
            notes[name] = {"port": _free_port(), "boot": boot}
        self._notes.write_text(json.dumps(notes, indent=1) + "\n")
        self.__dict__.pop("machines", None)

    def _qcow2(self, name: str, disk: str, *, size: str = "", backing: Path | None = None) -> None:
        words = ["qemu-img", "create", "-q", "-f", "qcow2"]
        words += ["-b", str(backing), "-F", "qcow2"] if backing else []
        _call([*words, str(self.folder / f"{name}-{disk}.qcow2"), *([size] if size else [])])

    def _iso(self, name: str, seed: dict[str, str]) -> None:
        folder = self.folder / f"{name}-seed"
        folder.mkdir()
        for file, text in seed.items():
            (folder / file).write_text(text)
        iso = f"{folder}.iso"
        _call(["genisoimage", "-quiet", "-output", iso, "-volid", "cidata", "-joliet", "-rock", str(folder)])

    def start(self, snapshot: str = "") -> None:
        """Switches all machines on that are off, and waits until they answer.

        :raises MachinesError: one does not
        """
        self._start_switches()
        for machine in self.machines.values():
            if machine.pid() is None:
                machine.start(snapshot)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.answers, self.machines))

    def _start_switches(self) -> None:
        for part in (LAN, WIREGUARD):
            if self._switch_pid(part) is not None:
                continue
            ports = [name for name, machine in self.machines.items() if part in {nic.switch for nic in machine.nics}]
            with open(self.folder / part / "log", "ab") as log:
                words = [sys.executable, "-m", "machines.switch", str(self.folder / part), *ports]
                process = spawn(words, REPOSITORY, log.fileno(), orphan=self.orphans)
            (self.folder / part / "pid").write_text(f"{process.pid}\n")
            while not (self.folder / part / "control").exists() and process.poll() is None:
                time.sleep(0.05)

    def _switch_pid(self, part: str) -> int | None:
        try:
            pid = int((self.folder / part / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if str(self.folder / part).encode() in words else None

    def down(self) -> None:
        """Nothing runs any more; the disks stay."""
        for machine in self.machines.values():
            machine.kill()
        for part in (LAN, WIREGUARD):
            end(partial(self._switch_pid, part))
            (self.folder / part / "control").unlink(missing_ok=True)
        for control in self.folder.glob("*.ssh"):
            control.unlink()

    # -- the hardware --

    def boot(self, name: str) -> None:
        """Switches a machine on that is off, and waits until it answers."""
        self.machine(name).start()
        self.answers(name)

    def shutdown(self, name: str) -> None:
        """Switches a machine off, in order.

        :raises MachinesError: it is still on after `BOOT_SECONDS`
        """
        self.ssh(name, "(sleep 1; shutdown -p now) >/dev/null 2>&1 &" if self.host(name).is_freebsd else "poweroff")
        end = time.monotonic() + BOOT_SECONDS
        while (pid := self.machine(name).pid()) is not None:
            reap(pid)
            if time.monotonic() > end:
                raise MachinesError(f"{name} is still on {BOOT_SECONDS} s after `shutdown`: {self.console(name)}")
            time.sleep(0.2)
        self.forget_connection(name)

    def power_cut(self, name: str) -> None:
        """Switches a machine off at once."""
        self.machine(name).kill()
        self.forget_connection(name)

    def stick(self, name: str, state: Stick) -> None:
        """Pulls the stick; puts it in; another one that is blank; or a port in which it cannot be read."""
        machine = self.machine(name)
        if machine.has_stick():
            machine.pull_stick()
        if state == "blank":
            self._another(name, STICK)
        if state != "out":
            machine.plug_stick(readable=state != "unreadable")

    def blank_disk(self, name: str, disk: str) -> None:
        """Puts a blank disk in the place of another one.

        :param disk: a key of `DISKS`
        :raises MachinesError: the machine is on, or has no such disk
        """
        if disk not in DISKS:
            raise MachinesError(f"there is no disk {disk!r}; there are {', '.join(DISKS)}")
        if self.machine(name).pid() is not None:
            raise MachinesError(f"{name} is on: switch it off first")
        self._another(name, disk)

    def _another(self, name: str, disk: str) -> None:
        """A blank disk instead of the one that has the frozen states, which comes back with them."""
        before = self.folder / f"{name}-{disk}.qcow2"
        if not (kept := before.with_suffix(KEPT)).exists():
            before.rename(kept)
        self._qcow2(name, disk, size=DISKS[disk])

    # -- frozen states --

    @property
    def secrets(self) -> Path:
        """The controller's secrets folder for these machines (machines/inventory.py)."""
        return self.folder / "secrets"

    def has_frozen(self, name: str, version: str = "") -> bool:
        """Whether there is a state of that name, and of that version."""
        file = self._frozen(name) / "version"
        return self._frozen(name).is_dir() and (not version or (file.exists() and file.read_text() == version))

    def _frozen(self, name: str) -> Path:
        return self.folder / f"frozen-{name}"

    def freeze(self, name: str, version: str = "") -> None:
        """Keeps the state of all machines, at one moment, and the controller's secrets that belong to it."""
        for machine in self.machines.values():
            machine.monitor("stop")
        for machine in self.machines.values():
            machine.monitor(f"savevm {name}")
        for machine in self.machines.values():
            machine.monitor("cont")
        frozen = self._frozen(name)
        shutil.rmtree(frozen, ignore_errors=True)
        frozen.mkdir()
        (frozen / "version").write_text(version)
        if self.secrets.exists():
            shutil.copytree(self.secrets, frozen / "secrets")

    def thaw(self, name: str) -> None:
        """All machines as they were frozen, with the clock set to now, and the secrets as they were."""
        self.down()
        shutil.rmtree(self.secrets, ignore_errors=True)
        if (kept := self._frozen(name) / "secrets").exists():
            shutil.copytree(kept, self.secrets)
        for kept in self.folder.glob(f"*{KEPT}"):
            kept.replace(kept.with_suffix(".qcow2"))
        self.start(name)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.set_clock, self.machines))

    def set_clock(self, name: str) -> None:
        """Sets a machine's clock to now: it goes on from the moment in which it was frozen."""
        form = "date -f %s" if self.host(name).is_freebsd else "date -s"
        now = time.time()
        self.ssh(name, f"{form} {'' if self.host(name).is_freebsd else '@'}{now:.0f}")

    # -- on the machines --

    @property
    def key(self) -> Path:
        """The ssh key that root and the login user of each machine know."""
        return self.folder / "key"

    def ssh(self, name: str, script: str, *, timeout: float = 60) -> Ran:
        """A shell line as root; status 124 where it has not ended after `timeout` seconds, 255 without a connection."""
        words = ["ssh", "-p", str(self.machine(name).port), "-i", "key", "-F", "none", "-o", "LogLevel=ERROR"]
        for option in (
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "ConnectTimeout=20",
            "ServerAliveInterval=15",
            "ControlMaster=auto",
            "ControlPersist=60",
            f"ControlPath={name}.ssh",
        ):
            words += ["-o", option]
        # the script comes by standard input: csh, root's shell on FreeBSD 13, would take it apart
        words += ["root@127.0.0.1", """/bin/sh -c 'eval "$(cat)"'"""]
        try:
            done = subprocess.run(
                words,
                cwd=self.folder,
                input=script.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            self.forget_connection(name)
            return Ran(124, (error.stdout or b"").decode(errors="replace"))
        return Ran(done.returncode, done.stdout.decode(errors="replace"))

    def must(self, name: str, script: str, *, timeout: float = 60) -> str:
        """What a shell line as root prints.

        :raises MachinesError: it fails
        """
        ran = self.ssh(name, script, timeout=timeout)
        if ran.rc != 0:
            raise MachinesError(f"on {name}: exit status {ran.rc}: {script}\n{ran.output}")
        return ran.output

    def forget_connection(self, name: str) -> None:
        """The next command connects anew: the machine at the other end is another one now."""
        words = ["ssh", "-F", "none", "-o", f"ControlPath={name}.ssh", "-O", "exit", "machine"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(words, cwd=self.folder, capture_output=True, check=False, timeout=10)
        (self.folder / f"{name}.ssh").unlink(missing_ok=True)

    def answers(self, name: str, seconds: float = BOOT_SECONDS) -> None:
        """Waits until a machine answers on ssh.

        :raises MachinesError: it does not
        """
        self.forget_connection(name)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.machine(name).pid() is None:
                raise MachinesError(f"{name} is off: {self.console(name)}")
            if self.ssh(name, "echo up", timeout=30) == Ran(0, "up\n"):
                return
            time.sleep(1)
        raise MachinesError(f"{name} does not answer on ssh after {seconds:.0f} s: {self.console(name)}")

    def console(self, name: str) -> str:
        """The end of what a machine wrote on its console."""
        log = self.folder / f"{name}.log"
        return log.read_bytes()[-1500:].decode(errors="replace") if log.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        """For programs on the controller that use the machines."""
        return {**os.environ, "MACHINES_STATE": str(self.folder), "PYINFRA_PROGRESS": "off", "NO_COLOR": "1"}

    @property
    def slow(self) -> float:
        """How many times longer a program takes than on ordinary hardware, as it was measured."""
        return float((self.folder / "slow").read_text())

    def measure(self) -> float:
        """Measures how much slower the slowest machine is, for `slow`."""
        count = 100
        script = f"i=0; while [ $i -lt {count} ]; do /usr/bin/true; i=$((i+1)); done"

        def seconds(name: str) -> float:
            begin = time.monotonic()
            self.ssh(name, "true", timeout=300)
            connected = time.monotonic()
            self.ssh(name, script, timeout=300)
            return max(0.0, (time.monotonic() - connected) - (connected - begin)) / count

        slow = max(1.0, max(seconds(name) for name in self.machines) / EXEC_SECONDS)
        (self.folder / "slow").write_text(f"{slow:.1f}\n")
        return slow


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else starts, stops or thaws these machines meanwhile.

    :raises MachinesError: somebody does
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachinesError(
                f"another run uses the machines of {folder}; wait for it, or set MACHINES_STATE to another folder"
            ) from None
        yield


@contextlib.contextmanager
def taken_down(cluster: Cluster) -> Iterator[Cluster]:
    """This run has the machines alone, and at its end nothing runs any more, also when it is told to end.

    :raises MachinesError: another run has them
    """

    def ended(number: int, _: object) -> None:
        if cluster.exists():
            cluster.down()  # at once: threads that wait for a machine end when it is gone
        raise SystemExit(128 + number)

    with alone(cluster.folder):
        before = {number: signal.signal(number, ended) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield cluster
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if cluster.exists():
                cluster.down()


def boot_options(system: linux.Linux) -> list[str]:
    """qemu's options for a kernel that is not on the disk."""
    given = {"-kernel": system.kernel, "-initrd": system.initrd, "-append": system.append}
    return [word for option, value in given.items() if value is not None for word in (option, str(value))]


def _call(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachinesError(f"{' '.join(words)}: {done.stderr.strip()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
