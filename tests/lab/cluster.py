"""The real deploy against a simulated cluster of its own, for tests."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import lab.__main__
from lab import clock
from lab.core import Cluster as ClusterState
from lab.core import Store
from scenarios.pyinfra_output import changes
from scenarios.stage import REPOSITORY, Ran, pyinfra_words, ran  # noqa: F401 (tests ask this module for REPOSITORY)

F0, F1, F2 = (f"f{number}.lan.buetow.org" for number in range(3))


@dataclass(frozen=True)
class Run:
    """What a run of pyinfra came to: exit status, all it printed without colours."""

    rc: int
    output: str

    @property
    def changed(self) -> list[str]:
        """The operations that changed something, as `HOST: OPERATION`."""
        return changes(self.output)


@dataclass(frozen=True)
class Attempt:
    """How a shell line ended: exit status, standard output and standard error."""

    rc: int
    out: str
    err: str


class Cluster:
    """A lab with its state in a folder of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._env = {**os.environ, "LAB_STATE": str(state), "PYINFRA_PROGRESS": "off", "NO_COLOR": "1"}

    def copy(self, state: Path) -> Cluster:
        """Another lab in the same state."""
        subprocess.run(["cp", "-a", "--sparse=always", self.state, state], check=True)
        return Cluster(state)

    @property
    def environment(self) -> dict[str, str]:
        """Of programs on the controller that shall use this lab."""
        return dict(self._env)

    def lab(self, *arguments: str) -> str:
        """`python -m lab ...`; fails the test when that fails."""
        if arguments[0] in ("reset", "shell", "up"):  # with pyinfra, or with a program's own streams
            done = ran([sys.executable, "-m", "lab", *arguments], 300, self._env)
        else:
            with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
                done = Ran(lab.__main__.main(list(arguments), self.store), said.getvalue())
        assert done.rc == 0, f"lab {' '.join(arguments)}: {done.output}"
        return done.output

    @property
    def store(self) -> Store:
        return Store(self.state)

    @property
    def hosts(self) -> ClusterState:
        """The simulated hosts as they are now."""
        return self.store.read()

    def tick(self, seconds: float) -> None:
        """Let virtual time pass."""
        clock.tick(self.store, seconds)

    def attempt(self, host: str, script: str) -> Attempt:
        """A shell line on a host, whatever comes of it."""
        full = self.hosts.host(host).name
        done = clock.run(self.store, full, ["/bin/sh", "-c", script])
        clock.quiesce(self.store)
        return Attempt(done.returncode, done.stdout.decode(), done.stderr.decode())

    def log(self, host: str, name: str) -> str:
        """A file below /var/log of a host; empty if it is not there."""
        file = self.store.root(self.hosts.host(host).name) / "var/log" / name
        return file.read_text() if file.exists() else ""

    def make_secrets(self) -> None:
        """`python certificates.py init` for this lab."""
        done = ran([sys.executable, "certificates.py", "--inventory", "lab/inventory.py", "init"], None, self._env)
        assert done.rc == 0, done.output

    def sh(self, host: str, script: str) -> str:
        """What a shell on a host prints; fails the test when the script does."""
        ran = self.attempt(host, f"set -e; {script}")
        assert ran.rc == 0, f"{host}: {script}\n{ran.out}{ran.err}"
        return ran.out

    def pyinfra(self, *arguments: str, inventory: str = "lab/inventory.py", **env: str) -> Run:
        """`pyinfra lab/inventory.py ...`, answering no question; fails the test over what `lab.guards` forbids."""
        done = ran(pyinfra_words(inventory, *arguments), 600, {**self._env, **env})
        self.store.tell()
        return Run(done.rc, re.sub(r"\x1b\[[0-9;]*m", "", done.output))

    def done(self, *arguments: str, **words: str) -> Run:
        """As `pyinfra`; fails the test when the run fails."""
        run = self.pyinfra(*arguments, **words)
        assert run.rc == 0, run.output
        return run

    def killed(
        self,
        *arguments: str,
        first: int,
        later: int,
        between: Callable[[int], object] = bool,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Run:
        """Runs that are killed, each some commands later than the one before, until one comes to its end: the last one.

        What is done is not done again, so that each kill comes at another point of the whole.

        :param first: the command before which the first run is killed
        :param later: how many later each further one is; with CRASH_TEST=1 (`make crash-test`) one
        :param between: called with that number after each kill
        :param env: for pyinfra
        """
        number = first
        while (run := self.pyinfra(*arguments, **env, LAB_KILL_AT=str(number))).rc == 137:
            between(number)
            number += 1 if os.environ.get("CRASH_TEST") else later
        assert number > first, "it was over before it was killed"
        assert run.rc == 0, run.output
        return run

    def deploy(self, *tasks: str) -> Run:
        """Run tasks, one pyinfra run each; fails the test when one fails."""
        return Run(0, "".join(self.done(f"tasks/{task}.py", "-y").output for task in tasks))
