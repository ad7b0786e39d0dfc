"""zrepl's configuration and its jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host, state
from pyinfra.facts.files import File, FileContents
from pyinfra.operations.util.files import generate_color_diff

from f3s.quoting import command
from f3s.replication import sent, unfit_sources
from f3s.secretfile import ABSENT, SecretState
from f3s.services import ServiceState
from facts.base import script
from facts.secrets import SecretFile
from facts.services import Services
from facts.zfs import Datasets, Snapshots
from facts.zrepl import Jobs
from operations.base import Commands, executing, known

UNREAD = "/var/run/f3s-zrepl-unread"
"""Exists while zrepl may run with another configuration than the one in place. Each boot removes it (cleanvar)."""


@operation()
def sources(jobs: Mapping[str, str]) -> Commands:
    """What the host's jobs send is there and encrypted. Otherwise the run ends here, before anything is changed.

    While the plan is made a dataset may be missing, because an earlier task is about to make it.

    + jobs: job name -> dataset

    **Example:** `zrepl.sources({"f0_to_f1_nfsdata": "zdata/enc/nfsdata"})`
    """
    datasets = known(Datasets)
    problems = unfit_sources(datasets, jobs)
    if problems and executing():
        raise OperationError(f"{host.name}: nothing was changed. " + "; ".join(problems))
    host.noop("; ".join(problems) or f"{', '.join(jobs.values())}: there and encrypted")
    yield from ()


@operation()
def config(path: str, text: str) -> Generator[StringCommand]:
    """zrepl's configuration, replaced only by one that `zrepl configcheck` accepts on the host itself.

    + path: the file; 0600, owned by root
    + text: its content

    **Example:** `zrepl.config("/usr/local/etc/zrepl/zrepl.yml", text)`
    """
    digest = _digest(text)
    found = known(SecretFile, path=path)
    if found == SecretState("600", "root", "wheel", digest):
        host.noop(f"{path} has the wanted content, owner and mode")
        return
    if state.config.DIFF:
        present = host.get_fact(FileContents, path=path) if found != ABSENT else None
        before = [f"{line}\n" for line in present or []]
        for line in generate_color_diff(before, text.splitlines(keepends=True)):
            logger.info("  %s", line)
    yield StringCommand(script("put-zrepl-config", path, digest, UNREAD), _stdin=text)


@operation()
def running(path: str, text: str) -> Commands:
    """zrepl runs with the configuration that is in place. A restart interrupts a transfer, which resumes.

    A configuration that was not read yet is on record (files/once/put-zrepl-config.sh), so the run after a killed one
    still restarts zrepl. The file itself is compared only for the plan, when `config` has not replaced it yet.

    + path, text: as in `config`

    **Example:** `zrepl.running("/usr/local/etc/zrepl/zrepl.yml", text)`
    """
    state_now = known(Services, names=("zrepl",))["zrepl"]
    if state_now is ServiceState.MISSING and executing():
        raise OperationError(f"{host.name}: there is no service zrepl: is its package installed?")
    unread = bool(host.get_fact(File, path=UNREAD)) or known(SecretFile, path=path).sha256 != _digest(text)
    if state_now is ServiceState.RUNNING and not unread:
        host.noop("zrepl runs with the configuration in place")
        return
    verb = "onerestart" if state_now is ServiceState.RUNNING else "onestart"
    yield command("{} && rm -f {}", script("run-service", "zrepl", verb), UNREAD)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@operation()
def woken(jobs: Mapping[str, tuple[str, str, str]]) -> Commands:
    """Jobs replicate now if something of them has snapshots here and has not arrived on the target yet.

    + jobs: job name -> dataset, name of the target host, dataset there

    **Example:** `zrepl.woken({"f0_to_f1_fedora": ("zroot/vm", "f1.lan.buetow.org", "zdata/sink/f0/zroot/vm")})`
    """
    snapshots = {target: _snapshots_on(target) for target in {target: None for _, target, _ in jobs.values()}}
    taken = {snapshot.dataset for snapshot in known(Snapshots)}
    done = []
    for job, (dataset, target, replica) in jobs.items():
        # a dataset below it without a snapshot comes with the job's next ones; waking the job makes none
        pairs = sent(dataset, replica, taken)
        if snapshots[target].issuperset(pairs.values()):
            done.append(f"{', '.join(pairs.values())}: arrived on {target}")
        elif not state.inventory.get_host(target).connected:
            done.append(f"{target} is not part of this run: whether {replica} has arrived there is not known")
        else:
            yield script("wake-zrepl-job", job)
    if len(done) == len(jobs):
        host.noop("; ".join(done))


def _snapshots_on(target: str) -> set[str]:
    """The datasets of another host that have snapshots; none if it is not part of the run, or unknown."""
    peer = state.inventory.get_host(target)
    snapshots = peer.get_fact(Snapshots) if peer.connected else None
    return {snapshot.dataset for snapshot in snapshots or ()}


@operation()
def jobs_reported(jobs: tuple[str, ...]) -> Commands:
    """Says which of the host's jobs failed last, and why. Changes nothing.

    + jobs: their names
    """
    if not executing():
        host.noop("read when the run is over")
        return
    found = known(Jobs)
    for name in jobs:
        if name not in found:
            raise OperationError(f"{host.name}: the running zrepl has no job {name}; see `zrepl status`")
        if error := found[name]:
            host.log(f"replication job {name} failed: {error}", logger.warning)
    host.noop("read zrepl's status")
    yield from ()
