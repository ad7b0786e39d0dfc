"""The cluster's state, where it is kept, and what a played command gets to see of it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from scenarios.stage import StageError

FORMAT = 4
"""Version of the pickled state. A folder of another version is refused with the command that makes a new one."""

INSIDE = Path("/.lab")
"""Where a host's root directory has the lab's own things: its name, the state, the machine's root (``real``)."""

NOT_SIMULATED_RC = 99

START = 1767225600.0
"""Virtual time of a new lab: 2026-01-01 00:00:00 UTC."""


class LabError(StageError):
    """Something that the person who uses the lab has to know; the text is the whole message. It ends a story."""


class NotSimulatedError(Exception):
    """A command, option, property or state that the lab does not know. Never answered kindly."""


class CommandError(Exception):
    """A played command fails the way the real one does.

    :param message: what goes to standard error, without the final newline; may be empty
    :param rc: the exit status
    """

    def __init__(self, message: str, rc: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.rc = rc


@dataclass
class Disk:
    """A disk or stick. Its bytes are the sparse file ``disks/ID.img``, so that it can really be read and written."""

    id: str
    size: int
    model: str
    serial: str


@dataclass
class Mount:
    """One entry of a host's mount table, oldest first.

    :param tree: folder below the state folder that holds the file system's files; ``root`` is the host's own root
        directory, which needs no mount of ours
    :param dead: its medium was pulled: it stays in the table (geom_vfs.c, g_vfs_orphan), and nothing can be read
    :param fsid: on FreeBSD, the file system's number as ``mount -v`` prints it
    """

    device: str
    target: str
    fstype: str
    tree: str
    read_only: bool = False
    options: tuple[str, ...] = ()
    dead: bool = field(default=False, kw_only=True)
    fsid: str = field(default="", kw_only=True)


@dataclass
class Event:
    """Something that is due at a virtual time. Events of one lane never run at the same time (devd, for one, waits)."""

    due: float
    seq: int
    kind: str
    host: str
    lane: str
    payload: dict[str, Any]


@dataclass
class Host:
    """One simulated machine.

    :param slots: device name (``da0``) -> disk id
    :param parts: state of subsystems by name (``zfs``, ``carp``, ...); each module owns its own
    :param immutable: (tree, path in it) of directories with the schg flag
    :param clock_offset: seconds that its clock is ahead of the cluster's
    """

    name: str
    platform: str
    up: bool = True
    boot_time: float = 0.0
    slots: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    immutable: list[tuple[str, str]] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    parts: dict[str, Any] = field(default_factory=dict)
    clock_offset: float = 0.0

    @property
    def short(self) -> str:
        return self.name.split(".")[0]


@dataclass
class Cluster:
    """Everything that outlives a command.

    :param now: virtual time in seconds since the epoch; only `lab.clock` moves it
    :param parts: state of subsystems that belongs to no single host (pools live on disks, not in hosts)
    """

    now: float
    hosts: dict[str, Host] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    busy_lanes: set[str] = field(default_factory=set)
    counter: int = 0
    parts: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def next_id(self) -> int:
        """A number that was not given out before in this cluster."""
        self.counter += 1
        return self.counter

    def time_on(self, host: Host) -> float:
        """What the host takes for the time."""
        return self.now + host.clock_offset

    def host(self, name: str) -> Host:
        """The host of that full or short name.

        :raises LabError: there is no such host
        """
        for host in self.hosts.values():
            if name in (host.name, host.short):
                return host
        raise LabError(f"no host {name!r} in this lab; there are {', '.join(h.short for h in self.hosts.values())}")


T = TypeVar("T")


def part(owner: Host | Cluster, name: str, make: Callable[[], T]) -> T:
    """A subsystem's own state, made on first use."""
    value: T = owner.parts.setdefault(name, make())
    return value


def inside() -> bool:
    """Whether this process runs in a simulated host's root directory."""
    return (INSIDE / "host").exists()


def state_dir() -> Path:
    """The state folder as this process sees it: ``LAB_STATE`` or ``.lab`` beside the lab package."""
    if inside():
        return INSIDE / "state"
    return Path(os.environ.get("LAB_STATE") or Path(__file__).resolve().parent.parent / ".lab").resolve()


class Store:
    """The state folder: ``cluster`` (pickled), ``lock``, ``hosts/NAME/root``, ``trees/N``, ``disks/ID.img``."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir()

    @property
    def file(self) -> Path:
        return self.folder / "cluster"

    def root(self, host: str) -> Path:
        """The root directory of a host, by its full name."""
        return self.folder / "hosts" / host / "root"

    def disk_file(self, disk_id: str) -> Path:
        return self.folder / "disks" / f"{disk_id}.img"

    def exists(self) -> bool:
        return self.file.exists()

    def raw(self) -> bytes:
        """What was last saved; it differs if the state does.

        :raises LabError: there is no lab in the folder
        """
        try:
            return self.file.read_bytes()
        except FileNotFoundError:
            raise LabError(f"no lab in {self.folder}: run `python -m lab up` first") from None

    def read(self) -> Cluster:
        """The state as it was last saved.

        :raises LabError: there is no lab in the folder, or one of another version
        """
        return self.loaded(self.raw())

    def loaded(self, raw: bytes) -> Cluster:
        """The state that `raw` has read.

        :raises LabError: it is of another version
        """
        cluster = pickle.loads(raw)
        if getattr(cluster, "format", None) != FORMAT:
            raise LabError(f"the lab in {self.folder} is of another version: run `python -m lab reset`")
        return cluster  # type: ignore[no-any-return]

    def save(self, cluster: Cluster) -> None:
        """Replaces the saved state in one step."""
        new = self.file.with_suffix(f".new.{os.getpid()}")
        new.write_bytes(pickle.dumps(cluster))
        new.rename(self.file)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes the state meanwhile."""
        with open(self.folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def edit(self) -> Iterator[Cluster]:
        """The state, alone: saved when the block ends, forgotten when it raises."""
        with self.alone():
            cluster = self.read()
            yield cluster
            self.save(cluster)

    def report(self, text: str) -> None:
        """Keeps an error of the lab itself for whoever looks next (`tell`)."""
        with open(self.folder / "errors", "a") as log:
            log.write(f"{text}\n")

    def note(self, host: str, line: str) -> None:
        """Keeps a command that was sent or played, where somebody has made the file for it (`machines.compare`)."""
        if (file := self.folder / "commands").exists():
            with open(file, "a") as log:
                log.write(json.dumps({"host": host, "cmd": line}) + "\n")

    def syslog(self, cluster: Cluster, host: Host, who: str, text: str) -> None:
        """A program or the kernel of a FreeBSD host tells syslogd(8) something: a line of /var/log/messages.

        :param who: the tag, with the process id in brackets where there is one
        """
        stamp = time.strftime("%b %e %H:%M:%S", time.gmtime(cluster.now))
        with open(self.root(host.name) / "var/log/messages", "a") as log:
            log.write(f"{stamp} {host.short} {who}: {text}\n")

    def tell(self) -> None:
        """Tells the errors of the lab itself, once.

        :raises LabError: there are some
        """
        errors = self.folder / "errors"
        if errors.exists():
            text = errors.read_text()
            errors.unlink()
            raise LabError(f"the lab itself failed:\n{text}")

    def new_tree(self, cluster: Cluster) -> str:
        """An empty folder for a file system's files; the name is relative to the state folder."""
        tree = f"trees/{cluster.next_id()}"
        (self.folder / tree).mkdir(parents=True)
        return tree


class Context:
    """What a played command works with: its arguments, streams, the host it runs on and the cluster."""

    def __init__(self, argv: list[str], store: Store, host_name: str) -> None:
        self.argv = argv
        self.store = store
        self.host_name = host_name
        self.env = dict(os.environ)
        self.stdin: BinaryIO = sys.stdin.buffer
        self.stdout: BinaryIO = sys.stdout.buffer

    @property
    def name(self) -> str:
        """The command's name, without its folder."""
        return os.path.basename(self.argv[0])

    @property
    def args(self) -> list[str]:
        return self.argv[1:]

    def out(self, text: str) -> None:
        """Writes text to standard output as it is (the newline is the caller's)."""
        self.stdout.write(text.encode())

    def err(self, text: str) -> None:
        """Writes text to standard error as it is."""
        self.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()

    @contextlib.contextmanager
    def cluster(self) -> Iterator[Cluster]:
        """The cluster's state, alone, saved at the end; never held while reading a pipe or running a program.

        When the block ends, the mounts of this process's namespace follow the host's mount table.
        """
        with self.store.edit() as cluster:
            yield cluster
            host = cluster.hosts[self.host_name]
        if inside():
            FOLLOW[host.platform](self.store, cluster, host)

    def host(self, cluster: Cluster) -> Host:
        return cluster.hosts[self.host_name]

    def not_simulated(self, what: str = "") -> NotSimulatedError:
        """The exception to raise for whatever this command does not know.

        :param what: the option, property or state; the command's whole line when empty
        """
        return NotSimulatedError(f"{self.name} {what}" if what else " ".join([self.name, *self.args]))


Program = Callable[[Context], int]
"""Plays a program; returns its exit status."""

FOLLOW: dict[str, Callable[[Store, Cluster, Host], None]] = {}
"""Platform -> what makes this process's namespace follow a changed state; `lab.catalog` registers it."""
