"""The stage on machines: made once, frozen blank and frozen deployed, thawed for each story."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager

from machines import freebsd, site, switch
from machines.cluster import LAN, Cluster, taken_down
from machines.programs import MachinesError
from scenarios.play import SCENARIOS
from scenarios.stage import PROBE, PROBE_PLACE, CannotError, Ran, Report, Stage, StageError, Stick, cast

BLANK, DEPLOYED = "blank", "deployed"
"""Names of the frozen states."""
PROBE_SECONDS = 60
"""What the probe may take to begin and to end; starting Python takes seconds on a machine without KVM."""


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
                    if not cluster.has_frozen(DEPLOYED):
                        cluster.thaw(BLANK)
                        MachinesStage(cluster).deploy()
                    cluster.thaw(DEPLOYED)
                    yield MachinesStage(cluster, asleep=cluster.machines.keys() & set(cast(cluster.site).others))

        yield stage


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


class MachinesStage(Stage):
    """One story's machines.

    :param asleep: those that take no processor until the story wants them
    """

    name = "machines"

    def __init__(self, cluster: Cluster, asleep: Set[str] = frozenset()) -> None:
        self.cluster = cluster
        self._asleep = set(asleep)
        for name in asleep:
            cluster.machine(name).monitor("stop")
        self.cast = cast(cluster.site)
        self.slow = cluster.slow

    def settle(self) -> None:
        with _machines_errors():
            self.cluster.freeze(DEPLOYED)

    def deploy(self) -> None:
        """Certificates and the whole deploy, without telling; later stories start from there.

        :raises StageError: it failed
        """
        for ran in (self.pki("init"), self.pyinfra("deploy.py", "-y")):
            if ran.rc != 0:
                raise StageError(f"the deploy failed:\n{ran.output[-4000:]}")
        self.settle()

    # -- time --

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

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

    def pyinfra(self, *words: str) -> Ran:
        with _machines_errors():
            for host in [*self._asleep]:
                self._wake(host)
        return self._on_controller(self.cluster.pyinfra_words(*words))

    def pki(self, *words: str) -> Ran:
        return self._on_controller([sys.executable, "-m", "f3s.pki", "--inventory", site.INVENTORY, *words])

    def _on_controller(self, words: list[str]) -> Ran:
        done = subprocess.run(
            words,
            cwd=site.REPOSITORY,
            env=self.cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

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

    def stick(self, host: str, state: Stick) -> None:
        with _machines_errors():
            self.cluster.stick(host, state)

    # -- a client's view --

    def start_probe(self, client: str) -> None:
        if client not in self.cluster.machines:
            raise CannotError(f"{client} was not started")
        with _machines_errors():
            self._wake(client)
        program = PROBE.read_text()
        assert "\nEND\n" not in program
        self._must(client, f"mkdir -p {PROBE_PLACE}\ncat >{PROBE_PLACE}/probe.py <<'END'\n{program}\nEND\n")
        words = f"--folder {self.cast.mountpoint} --state {PROBE_PLACE}"
        self._must(
            client,
            f"cd {PROBE_PLACE}; rm -f pid report.json; nohup python3 probe.py run {words} >said 2>&1 </dev/null & "
            f"i=0; until [ -s {PROBE_PLACE}/pid ]; do sleep 1; i=$((i+1)); [ $i -lt {PROBE_SECONDS} ] || "
            f"{{ cat {PROBE_PLACE}/said; exit 1; }}; done",
        )

    def stop_probe(self, client: str) -> Report:
        words = f"--folder {self.cast.mountpoint} --state {PROBE_PLACE}"
        self._must(
            client,
            f"kill $(cat {PROBE_PLACE}/pid); i=0; until [ -s {PROBE_PLACE}/report.json ]; do sleep 1; i=$((i+1)); "
            f"[ $i -lt {PROBE_SECONDS} ] || {{ cat {PROBE_PLACE}/said; exit 1; }}; done",
        )
        self._must(client, f"timeout {PROBE_SECONDS} python3 {PROBE_PLACE}/probe.py check {words}")
        return Report.parse(self._must(client, f"cat {PROBE_PLACE}/report.json"))

    def _must(self, host: str, script: str) -> str:
        with _machines_errors():
            return self.cluster.must(host, script, timeout=3 * PROBE_SECONDS)
