"""zrepl's configuration and its jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host, state
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from f3s.replication import unfit_sources
from facts.base import script
from facts.secrets import ABSENT, SecretFile, SecretState
from facts.zfs import Datasets, Snapshots
from facts.zrepl import Jobs
from operations.base import Commands, executing, known


@operation()
def sources(jobs: Mapping[str, str]) -> Commands:
    """What the host's jobs send is there and encrypted; else the run ends here, before anything is changed.

    While the plan is made a dataset may be missing: an earlier task is about to make it.

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
    digest = hashlib.sha256(text.encode()).hexdigest()
    found: SecretState | None = host.get_fact(SecretFile, path=path)
    if found is None:
        raise OperationError(f"{host.name}: what {path} is could not be found out; nothing was changed")
    if found == SecretState("600", "root", "wheel", digest):
        host.noop(f"{path} has the wanted content, owner and mode")
        return
    if state.config.DIFF:
        present = host.get_fact(FileContents, path=path) if found != ABSENT else None
        before = [f"{line}\n" for line in present or []]
        for line in generate_color_diff(before, text.splitlines(keepends=True)):
            logger.info("  %s", line)
    yield StringCommand(script("put-zrepl-config", path, digest), _stdin=text)


@operation()
def woken(jobs: Mapping[str, tuple[str, str]]) -> Commands:
    """Jobs whose replicas have not arrived on their targets yet replicate now.

    + jobs: job name -> name of the target host, dataset there

    **Example:** `zrepl.woken({"f0_to_f1_nfsdata": ("f1.lan.buetow.org", "zdata/sink/f0/zdata/enc/nfsdata")})`
    """
    snapshots = {target: _snapshots_on(target) for target in {target: None for target, _ in jobs.values()}}
    done = []
    for job, (target, replica) in jobs.items():
        if replica in snapshots[target]:
            done.append(f"{replica} has arrived on {target}")
        elif not state.inventory.get_host(target).connected:
            done.append(f"{target} is not part of this run: whether {replica} has arrived there is not known")
        else:
            yield script("wake-zrepl-job", job)
    if len(done) == len(jobs):
        host.noop("; ".join(done))


def _snapshots_on(target: str) -> set[str]:
    """The datasets of another host that have snapshots; none where it is not part of the run, or unknown."""
    peer = state.inventory.get_host(target)
    snapshots = peer.get_fact(Snapshots) if peer.connected else None
    return {snapshot.dataset for snapshot in snapshots or ()}


@operation()
def jobs_reported(jobs: tuple[str, ...]) -> Commands:
    """Says which of the host's jobs failed last, and of what. It changes nothing.

    + jobs: their names
    """
    if not executing():
        host.noop("read when the run is over")
        return
    found = known(Jobs)
    for name in jobs:
        if name not in found:
            raise OperationError(f"{host.name}: the running zrepl has no job {name}; see `zrepl status`")
        if error := found[name].error:
            host.log(f"replication job {name} failed: {error}", logger.warning)
    host.noop("read zrepl's status")
    yield from ()
