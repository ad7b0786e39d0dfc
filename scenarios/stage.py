"""What a story may do to a cluster and see of it. The stages: `lab.stage`, `machines.stage`, `scenarios.site`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from f3s.settings import Site

REPOSITORY = Path(__file__).resolve().parent.parent
PROBE = Path(__file__).with_name("probe.py")
"""The client's probe: one program for every stage."""
PROBE_PLACE = "/var/tmp/f3s-probe"
"""Its folder on a client, on the client's own disk."""

Stick = Literal["in", "out", "blank", "unreadable"]


class StageError(Exception):
    """The stage itself failed, or a story asked for something that does not exist; the text is the whole message."""


class CannotError(Exception):
    """This stage cannot do that; the text says why. The story's row says ``not run``."""


@dataclass(frozen=True)
class Ran:
    """How a command ended: exit status, and both streams together."""

    rc: int
    output: str


def ran(words: list[str], timeout: float | None = None, environment: Mapping[str, str] = os.environ) -> Ran:
    """A program of the controller, without a terminal. No end in time: status 124.

    :param timeout: seconds
    """
    try:
        done = subprocess.run(
            words,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return Ran(124, (late.stdout or b"").decode(errors="replace"))
    return Ran(done.returncode, done.stdout.decode(errors="replace"))


def pyinfra_words(inventory: str, *words: str) -> list[str]:
    """``pyinfra INVENTORY WORDS...`` of this virtual environment, to be run at the top of the repository."""
    return [str(Path(sys.executable).with_name("pyinfra")), inventory, *words]


@dataclass(frozen=True)
class Cast:
    """The hosts of a story, by short names, and what they work with, from the site's settings.

    :param others: further clients
    :param dataset: what is served
    :param share: the shared directory on the storage hosts
    :param mountpoint: where a client has it
    :param site: all of the settings
    """

    primary: str
    standby: str
    client: str
    others: tuple[str, ...]
    dataset: str
    replica: str
    job: str
    share: str
    mountpoint: str
    site: Site


def cast(site: Site) -> Cast:
    """The first client plays; the others would show the same."""
    primary, client = site.primary, site.clients[0]
    mount = client.client.mounts[0]
    job = site.served_job
    return Cast(
        primary.short_name,
        site.standby.short_name,
        client.short_name,
        tuple(other.short_name for other in site.clients[1:]),
        primary.nfs.dataset,
        site.replica(job),
        job.name,
        f"{primary.nfs.mountpoint}/{mount.share}",
        mount.mountpoint,
        site,
    )


@dataclass(frozen=True)
class Report:
    """What a client noticed, as its probe wrote it.

    :param pauses: operation -> longest time in seconds without a success
    :param errors: operation -> name of the error (``ESTALE``) -> how often
    :param acknowledged: lines whose fsync(2) succeeded
    :param lost: acknowledged lines that the file on the server does not have
    :param stray: lines that landed on the client's own disk
    :param hanging: operations that had not come back at the end -> for how many seconds
    :param gaps: operation -> beginning and end of each longer pause (NOTED in scenarios.probe), on the client's clock
    :param remounted: the mount is not the one of the beginning
    """

    pauses: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    acknowledged: int = 0
    lost: int = 0
    stray: int = 0
    hanging: Mapping[str, float] = field(default_factory=dict)
    gaps: Mapping[str, list[list[float]]] = field(default_factory=dict)
    remounted: bool = False

    READS = ("stat", "list", "open", "read")

    @classmethod
    def parse(cls, text: str) -> Report:
        """
        :raises ValueError: not what `scenarios.probe` writes
        """
        return cls(**json.loads(text))

    @property
    def pause(self) -> float:
        """The longest pause of a reading program, seconds."""
        return max((self.pauses.get(name, 0.0) for name in self.READS), default=0.0)

    @property
    def interruptions(self) -> list[float]:
        """What a reading program had to wait each time, seconds: pauses of several operations at once are one."""
        found: list[list[float]] = []
        for begin, end in sorted(gap for name in self.READS for gap in self.gaps.get(name, [])):
            if found and begin < found[-1][1]:
                found[-1] = [found[-1][0], max(end, found[-1][1]), max(end - begin, found[-1][2])]
            else:
                found.append([begin, end, end - begin])
        return [longest for _, _, longest in found]

    @property
    def read_errors(self) -> int:
        """Errors that a reading program got."""
        return sum(sum(self.errors.get(name, {}).values()) for name in self.READS)


class Stage(ABC):
    """A cluster that stories play on. Hosts are named by their short names."""

    name: str
    cast: Cast
    inventory: str
    """The inventory file, as for pyinfra, from the top of the repository."""
    environment: Mapping[str, str] = os.environ
    """That of programs on the controller."""
    slow: float = 1.0
    """How many times longer programs take than on ordinary hardware, as measured. Timers are not slower."""

    def keep(self) -> str:
        """Something went wrong: keeps the cluster as it is, and says how to look at it; empty if it cannot."""
        return ""

    # -- time --

    @abstractmethod
    def now(self) -> float:
        """Seconds on a clock that never jumps."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Lets time pass."""

    # -- commands --

    @abstractmethod
    def run(self, host: str, script: str, *, timeout: float = 60) -> Ran:
        """A shell line as root. No answer in time (`slow` included): status 124.

        :param timeout: seconds of work on ordinary hardware
        """

    def pyinfra(self, *words: str, killed_after: float | None = None) -> Ran:
        """``pyinfra INVENTORY WORDS...`` on the controller, without questions.

        :param killed_after: seconds until SIGKILL; then the status is 124
        """
        return ran(pyinfra_words(self.inventory, *words), killed_after, self.environment)

    def pki(self, *words: str) -> Ran:
        """``python certificates.py WORDS...`` on the controller."""
        return ran([sys.executable, "certificates.py", "--inventory", self.inventory, *words], None, self.environment)

    def deploy(self) -> None:
        """Certificates and the whole deploy, without telling.

        :raises StageError: it failed
        """
        for done in (self.pki("init"), self.pyinfra("deploy.py", "-y")):
            if done.rc != 0:
                raise StageError(f"the deploy failed:\n{done.output[-4000:]}")

    @abstractmethod
    def settle(self) -> None:
        """Later stories start from the cluster as it is now, if the stage keeps one for them."""

    # -- the hardware --

    @abstractmethod
    def is_up(self, host: str) -> bool:
        """Whether the host has power and its system runs."""

    @abstractmethod
    def power_cut(self, host: str) -> None: ...

    @abstractmethod
    def boot(self, host: str) -> None:
        """Switches it on, and waits until it answers."""

    @abstractmethod
    def shutdown(self, host: str) -> None:
        """An orderly shutdown; the host is off afterwards."""

    @abstractmethod
    def cable(self, host: str, *, plugged: bool) -> None:
        """The cable to the clients' network."""

    @abstractmethod
    def part(self, one: str, other: str) -> None:
        """The two no longer reach each other on the clients' network; both still see the rest of it."""

    @abstractmethod
    def join(self, one: str, other: str) -> None:
        """Ends `part`."""

    def stranger(self, frame: bytes) -> None:
        """Somebody else on the clients' network sends an Ethernet frame."""
        raise CannotError("there is nobody else on this network")

    def suspend(self, host: str) -> None:
        """It stands still, as a machine of a hypervisor may."""
        raise CannotError(f"{host} cannot be made to stand still")

    def resume(self, host: str) -> None:
        """It goes on where it stood."""
        raise CannotError(f"{host} was not made to stand still")

    def new_disk(self, host: str) -> None:
        """A host that is off gets a blank disk for its data pool."""
        raise CannotError("no disk is replaced here")

    @abstractmethod
    def stick(self, host: str, state: Stick) -> None:
        """What is in the host's USB port."""

    # -- a client's view --

    @abstractmethod
    def start_probe(self, client: str) -> None:
        """The probe runs on the client from now on."""

    @abstractmethod
    def stop_probe(self, client: str) -> Report:
        """It ends, and reports."""
