"""``make demo``: the unchanged deploy against the simulated cluster, as one would first meet it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from f3s.controller import FAILBACK_LOG
from lab import actions, build, clock, plans
from lab.core import LabError, Store
from lab.stage import LabStage
from scenarios.failover import power_cut
from scenarios.play import Scenario, play
from scenarios.pyinfra_output import changes
from scenarios.stage import REPOSITORY, cast
from scenarios.story import STEPS

INVENTORY = "lab/inventory.py"


def headline(text: str) -> None:
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def run(*words: str, read: bool = False) -> str:
    """Runs a program of the virtual environment as a person would.

    :param read: return what it prints, besides showing it; the program then has no terminal
    :raises LabError: it failed
    """
    print(f"$ {' '.join(words)}", flush=True)
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    env = {**os.environ, "PYINFRA_PROGRESS": "off"}
    out, err = (subprocess.PIPE, subprocess.STDOUT) if read else (None, None)
    printed = ""
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=env, text=True, stdin=subprocess.DEVNULL, stdout=out, stderr=err
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            printed += line
    if process.returncode != 0:
        raise LabError(f"the demo ends here: {' '.join(words)} ended with status {process.returncode}")
    return printed


def shell(host: str, *words: str) -> None:
    """A program on a simulated host."""
    run("python", "-m", "lab", "shell", host, *words)


def main(store: Store) -> int:
    """The tour.

    :returns: 0
    :raises LabError: a step failed or was not as told, or the second run changed something
    """
    started = time.monotonic()
    headline("Six freshly installed hosts")
    build.up(store, plans.plans(plans.site()))
    print(actions.status(store, store.read()), end="")
    headline("Certificates and the CARP password, made on the controller")
    run("python", "certificates.py", "--inventory", INVENTORY, "init")
    headline("What the deploy would do")
    run("pyinfra", INVENTORY, "deploy.py", "--dry")
    headline("The deploy")
    run("pyinfra", INVENTORY, "deploy.py", "-y")
    # the services of both hosts start, the address finds its MASTER, the monitors mount
    clock.tick(store, 60)
    headline("A virtual minute later, once more: nothing is left to do")
    if changed := changes(run("pyinfra", INVENTORY, "deploy.py", "-y", read=True)):
        raise LabError(f"the second run changed something: {', '.join(changed)}")
    headline("A power cut on the primary, told with virtual seconds")
    one = Scenario("power-cut", STEPS, power_cut)
    row = play(one, LabStage(store, cast(plans.site())), partial(print, flush=True))
    if row.verdict != "right":
        raise LabError(row.reason)
    headline("What the hosts say of it")
    shell("f0", "carp")
    shell("f1", "carp")
    shell("f1", "grep", "f3s_storage:", "/var/log/messages")
    shell("f0", "tail", "-n", "5", FAILBACK_LOG)
    headline("Is everything right?")
    run("pyinfra", INVENTORY, "tasks/verify.py", "-y")
    headline("The cluster now")
    cluster = store.read()
    print(clock.text(cluster.now), "(virtual)")
    print(actions.status(store, cluster), end="")
    print(f"\nThe demo took {time.monotonic() - started:.0f} s. Look around: python -m lab shell f0")
    return 0
