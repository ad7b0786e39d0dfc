"""The stage on machines: made once, frozen blank and frozen deployed, thawed for each story."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager

from machines import freebsd, site, switch
from machines.cluster import LAN, Cluster, taken_down
from machines.programs import MachinesError
from scenarios.play import SCENARIOS
from scenarios.real import RealStage
from scenarios.stage import REPOSITORY, CannotError, Ran, StageError, Stick, cast

BLANK, DEPLOYED = "blank", "deployed"
"""Names of the frozen states."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What this stage adds to the command line."""
    parser.add_argument(
        "--machines", default="", metavar="f0,f1", help="which of the hosts are started; all by default"
    )
    parser.add_argument("--reuse", action="store_true", help="go on from what an earlier run has frozen")


@contextlib.contextmanager
def opened(args: argparse.Namespace) -> Iterator[Callable[[str], AbstractContextManager[MachinesStage]]]:
    """Blank machines with virtual machines to migrate; gives a stage for each story, thawed.

    :param args: ``machines``: short names of the hosts that are started, all by default
    :raises StageError: programs or images are missing, or a machine does not start
    """
    with _machines_errors(), taken_down(site.cluster()) as cluster:
        if not (args.reuse and cluster.has_frozen(BLANK)):
            _made(cluster, args.machines.split(",") if args.machines else site.PLAYERS)

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[MachinesStage]:
            with _machines_errors():
                if SCENARIOS[name].blank:
                    cluster.thaw(BLANK)
                    yield MachinesStage(cluster)
                else:
                    if not cluster.has_frozen(DEPLOYED, _installed()):
                        cluster.thaw(DEPLOYED if cluster.has_frozen(DEPLOYED) else BLANK)
                        first = MachinesStage(cluster)
                        first.deploy()
                        first.settle()
                    cluster.thaw(DEPLOYED)
                    yield MachinesStage(cluster, asleep=cluster.machines.keys() & set(cast(cluster.site).others))

        yield stage


def _installed() -> str:
    """A digest of what a deploy installs: a state that was frozen before a change shows nothing of it."""
    digest = hashlib.sha256()
    for folder in ("files", "templates", "group_data"):
        for file in sorted((REPOSITORY / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _made(cluster: Cluster, names: list[str]) -> None:
    begin = time.monotonic()
    cluster.make(names, site.images(cluster.site), site.cache())
    cluster.start()
    home = cluster.site.primary
    cluster.must(home.short_name, freebsd.virtual_machines(home.bhyve.dataset), timeout=600)
    took = time.monotonic() - begin
    slow = cluster.measure()
    cluster.freeze(BLANK)
    print(
        f"{', '.join(names)} are up after {took:.0f} s; programs take {slow:.0f} times as long as on hardware",
        flush=True,
    )


@contextlib.contextmanager
def _machines_errors() -> Iterator[None]:
    """
    :raises StageError: for the machines' own errors
    """
    try:
        yield
    except MachinesError as error:
        raise StageError(str(error)) from None


class MachinesStage(RealStage):
    """One story's machines.

    :param asleep: those that use no processor until the story wants them
    """

    name = "machines"
    inventory = site.INVENTORY

    def __init__(self, cluster: Cluster, asleep: Set[str] = frozenset()) -> None:
        self.cluster = cluster
        self._asleep = set(asleep)
        for name in asleep:
            cluster.machine(name).monitor("stop")
        self.cast = cast(cluster.site)
        self.slow = cluster.slow
        self.environment = cluster.environment

    def settle(self) -> None:
        with _machines_errors():
            self.cluster.freeze(DEPLOYED, _installed())

    # -- commands --

    def run(self, host: str, script: str, *, timeout: float = 60) -> Ran:
        with _machines_errors():
            if self.cluster.machine(host).pid() is None:
                return Ran(255, f"{host} is off\n")
            self._wake(host)
            return self.cluster.ssh(host, script, timeout=timeout * self.slow)

    def _wake(self, host: str) -> None:
        if host in self._asleep:
            self._asleep.remove(host)
            self.cluster.machine(host).monitor("cont")
            self.cluster.set_clock(host)

    def pyinfra(self, *words: str, killed_after: float | None = None) -> Ran:
        with _machines_errors():
            for host in [*self._asleep]:
                self._wake(host)
        return super().pyinfra(*words, killed_after=killed_after)

    # -- the hardware --

    def is_up(self, host: str) -> bool:
        with _machines_errors():
            return self.cluster.machine(host).pid() is not None

    def power_cut(self, host: str) -> None:
        with _machines_errors():
            self.cluster.power_cut(host)

    def boot(self, host: str) -> None:
        with _machines_errors():
            self.cluster.boot(host)

    def shutdown(self, host: str) -> None:
        with _machines_errors():
            self.cluster.shutdown(host)

    def cable(self, host: str, *, plugged: bool) -> None:
        with _machines_errors():
            self.cluster.machine(host).cable(LAN, plugged=plugged)

    def part(self, one: str, other: str) -> None:
        switch.control(self.cluster.folder / LAN, "cut", one, other)

    def join(self, one: str, other: str) -> None:
        switch.control(self.cluster.folder / LAN, "join", one, other)

    def stranger(self, frame: bytes) -> None:
        switch.control(self.cluster.folder / LAN, "send", frame.hex())

    def suspend(self, host: str) -> None:
        with _machines_errors():
            self.cluster.machine(host).monitor("stop")

    def resume(self, host: str) -> None:
        with _machines_errors():
            self.cluster.machine(host).monitor("cont")

    def new_disk(self, host: str) -> None:
        with _machines_errors():
            self.cluster.blank_disk(host, "data")

    def stick(self, host: str, state: Stick) -> None:
        with _machines_errors():
            self.cluster.stick(host, state)

    # -- a client's view --

    def start_probe(self, client: str) -> None:
        if client not in self.cluster.machines:
            raise CannotError(f"{client} was not started")
        super().start_probe(client)
