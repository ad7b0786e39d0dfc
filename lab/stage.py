"""The stage on the simulated cluster: virtual time, one deployed cluster, and a copy of it for each story."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from f3s.settings import Site
from lab import actions, build, clock
from lab.core import Store
from lab.linux import python
from lab.rc import boot
from scenarios.play import SCENARIOS
from scenarios.stage import PROBE, PROBE_PLACE, Cast, Ran, Report, Stage, StageError, Stick, cast

PROBE_INTERVAL = 1
"""Virtual seconds: the model knows no shorter things than CARP's advertisements."""
PROBE_SECONDS = 30
"""Virtual seconds that the probe may take to begin, and to end."""
REAL_SECONDS = 600
"""What a command may take on the machine that the lab runs on."""


@contextlib.contextmanager
def opened(_: argparse.Namespace) -> Iterator[Callable[[str], AbstractContextManager[LabStage]]]:
    """Gives a stage for each story: blank hosts, or a copy of a cluster that is deployed when the first story wants it.

    :raises StageError: it cannot be deployed
    """
    place = Path(tempfile.mkdtemp(prefix="lab-scenarios-"))
    source = place / "deployed"
    kept: list[str] = []
    try:

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[LabStage]:
            at = place / name
            if SCENARIOS[name].blank:
                who = cast(blank(at))
            else:
                if not source.exists():
                    deployed(place / "begun")
                    (place / "begun").rename(source)
                    print("A cluster is deployed. Each story is played on a copy; times are virtual.", flush=True)
                who = cast(_site())
                subprocess.run(["cp", "-a", "--sparse=always", str(source), str(at)], check=True)
            one = LabStage(Store(at), who)
            try:
                yield one
            finally:
                one.close()
            if one.is_kept:
                kept.append(name)
            else:
                shutil.rmtree(at)

        yield stage
    finally:
        if kept:
            shutil.rmtree(source, ignore_errors=True)
        else:
            shutil.rmtree(place, ignore_errors=True)


def deployed(folder: Path) -> None:
    """Makes a cluster with everything on it in a folder.

    :raises StageError: the deploy failed
    """
    shutil.rmtree(folder, ignore_errors=True)
    LabStage(Store(folder), cast(blank(folder))).deploy()


@functools.cache
def _site() -> Site:
    from lab import plans  # with pyinfra's command line, which takes a second and changes the interpreter

    return plans.site()


def blank(folder: Path) -> Site:
    """Makes freshly installed hosts in a folder."""
    from lab import plans

    build.up(Store(folder), plans.plans(_site()))
    return _site()


class LabStage(Stage):
    """One story's cluster.

    :ivar is_kept: somebody wants to look at its folder afterwards
    """

    name = "lab"
    inventory = "lab/inventory.py"

    def __init__(self, store: Store, who: Cast) -> None:
        self.store = store
        self.environment = {**os.environ, "LAB_STATE": str(store.folder), "PYINFRA_PROGRESS": "off", "NO_COLOR": "1"}
        self.cast = who
        self.is_kept = False

    def keep(self) -> str:
        self.is_kept = True
        return f"LAB_STATE={self.store.folder} python -m lab status"

    def close(self) -> None:
        """Nothing runs any more.

        :raises StageError: the lab itself failed meanwhile
        """
        with self.store.edit() as cluster:
            for machine in cluster.hosts:
                clock.stop_programs(cluster, machine)
        self.store.tell()

    # -- time --

    def now(self) -> float:
        return self.store.read().now

    def wait(self, seconds: float) -> None:
        clock.advance(self.store, seconds)
        self.store.tell()

    # -- commands --

    def run(self, host: str, script: str, *, timeout: float = 60) -> Ran:
        machine = self.store.read().host(host)
        if not machine.up:
            return Ran(255, f"{machine.name} is down\n")
        if machine.platform == "rocky":
            # what waits for a server there waits in virtual time
            script = f"timeout {timeout:g} sh -c {shlex.quote(script)}"
        words = ["/bin/sh", "-c", f"exec 2>&1; {script}"]
        done = clock.run(self.store, machine.name, words, timeout=REAL_SECONDS)
        return Ran(done.returncode, done.stdout.decode())

    def settle(self) -> None:
        """The deployed cluster was there before the first story."""

    # -- the hardware --

    def is_up(self, host: str) -> bool:
        return self.store.read().host(host).up

    def power_cut(self, host: str) -> None:
        boot.crash(self.store, host)

    def boot(self, host: str) -> None:
        boot.boot(self.store, host)
        if not self.is_up(host):
            raise StageError(f"{host} does not come up: it stopped in single-user mode")

    def shutdown(self, host: str) -> None:
        boot.shutdown(self.store, host)

    def cable(self, host: str, *, plugged: bool) -> None:
        actions.cut_off(self.store, host, away=not plugged)

    def part(self, one: str, other: str) -> None:
        actions.part(self.store, one, other, away=True)

    def join(self, one: str, other: str) -> None:
        actions.part(self.store, one, other, away=False)

    def new_disk(self, host: str) -> None:
        actions.swap(self.store, host, "ada1")

    def stick(self, host: str, state: Stick) -> None:
        machine = self.store.read().host(host)
        slot = actions.stick_slot(machine)
        match state:
            case "in":
                if slot in machine.slots:
                    actions.unreadable(self.store, host, "no")
                else:
                    actions.plug(self.store, host)
            case "out":
                actions.unplug(self.store, host)
            case "blank":
                if slot in machine.slots:
                    actions.unplug(self.store, host)
                actions.plug(self.store, host)
                actions.swap(self.store, host, slot)
            case "unreadable":
                actions.unreadable(self.store, host)

    # -- a client's view --

    def start_probe(self, client: str) -> None:
        root = self._root(client)
        (root / PROBE_PLACE[1:]).mkdir(parents=True, exist_ok=True)
        program = f"{PROBE_PLACE}/probe.py"
        shutil.copyfile(PROBE, root / program[1:])
        words = f"--folder {self.cast.mountpoint} --state {PROBE_PLACE}"
        with self.store.edit() as cluster:
            line = f"python3 {program} run {words} --interval {PROBE_INTERVAL} >{PROBE_PLACE}/said 2>&1"
            clock.schedule(cluster, 0, "program", cluster.host(client).name, line=line)
        self._until_there(client, "pid")

    def stop_probe(self, client: str) -> Report:
        python.terminate(self.store, client)
        self._until_there(client, "report.json")
        words = f"--folder {self.cast.mountpoint} --state {PROBE_PLACE}"
        checked = self.run(client, f"python3 {PROBE_PLACE}/probe.py check {words}")
        if checked.rc != 0:
            raise StageError(f"the probe on {client} cannot look for its lines: {checked.output}")
        return Report.parse(self._file(client, "report.json").read_text())

    def _root(self, host: str) -> Path:
        return self.store.root(self.store.read().host(host).name)

    def _file(self, client: str, name: str) -> Path:
        return self._root(client) / PROBE_PLACE[1:] / name

    def _until_there(self, client: str, name: str) -> None:
        end = self.now() + PROBE_SECONDS
        while not self._file(client, name).exists():
            if self.now() >= end:
                said = self._file(client, "said")
                text = said.read_text() if said.exists() else ""
                raise StageError(f"the probe on {client} has not written {name} within {PROBE_SECONDS} s: {text}")
            self.wait(1)
