"""zrepl's configuration and its jobs."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from typing import Any

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host, state
from pyinfra.facts.files import File

from f3s.pruning import lost
from f3s.quoting import command
from f3s.replication import no_room, sent, unfit_sources
from f3s.services import ServiceState
from f3s.textfile import NoPlace
from f3s.zrepl_file import job_list, loss, merged, pruned_by
from facts.base import script
from facts.services import Services
from facts.textfile import TextFileOf
from facts.zfs import Datasets, Pools, Referenced, Snapshots
from facts.zrepl import Jobs
from operations.base import Commands, ask, current_host, executing, known, known_of, told
from operations.reasons import operation
from operations.textfile import two_owners, written

UNREAD = "/var/run/f3s-zrepl-unread"
"""Exists while zrepl may run with another configuration than the one in place. Each boot removes it (cleanvar)."""


@operation()
def sources(jobs: Mapping[str, str], made: Collection[str] = (), machines: tuple[str, str] = ("", "")) -> Commands:
    """What the host's jobs send is there and encrypted. Otherwise the run ends here, before anything is changed.

    While the plan is made a dataset may be missing or plain where an earlier task is about to make or to encrypt it.

    + jobs: job name -> dataset
    + made, machines: as f3s.replication.unfit_sources takes them

    **Example:** `zrepl.sources({"f0_to_f1_nfsdata": "zdata/enc/nfsdata"}, made=["zdata/enc/nfsdata"])`
    """
    datasets = known(Datasets)
    if problems := unfit_sources(datasets, jobs, *(() if executing() else (made, machines))):
        raise OperationError(f"{host.name}: nothing was changed. " + "; ".join(problems))
    host.noop(f"{', '.join(jobs.values())}: there and encrypted, or made by an earlier task")
    yield from ()


@operation()
def room(jobs: Mapping[str, tuple[str, str, str]]) -> Commands:
    """What was never replicated has room on its target. Otherwise the run ends before it is sent. Changes nothing.

    A first replication sends the newest snapshot (zrepl's conflict_resolution: `most_recent`): what each dataset has
    now. A target that is off receives nothing.

    + jobs: job name -> dataset, name of the target host, dataset there

    **Example:** `zrepl.room({"f0_to_f1_fedora": ("zroot/vm", "f1.lan.buetow.org", "zdata/sink/f0/zroot/vm")})`
    """
    problems = []
    for target in dict.fromkeys(target for _, target, _ in jobs.values()):
        arrived = known_of(target, Snapshots)
        names = {snapshot.dataset for snapshot in arrived or ()}
        new = [(dataset, copy) for dataset, to, copy in jobs.values() if to == target and copy not in names]
        if arrived is None or not new:
            continue
        there, pools = known_of(target, Datasets), known_of(target, Pools)
        if there is None or pools is None:
            continue
        sizes = known(Referenced)
        pairs = [pair for dataset, copy in new for pair in sent(dataset, copy, sizes).items()]
        have = {copy: int(there[copy].get("used") or 0) for _, copy in pairs if copy in there}
        needs = {copy: max(0, sizes.get(name, 0) - have.get(copy, 0)) for name, copy in pairs}
        problems += [f"{target}: {problem}" for problem in no_room(needs, there, pools)]
    if problems:
        raise OperationError(
            f"{host.name}: nothing was sent. {'; '.join(problems)}. Make room there (docs/runbook.md, Pool full), or "
            "take the job out of zrepl_jobs"
        )
    host.noop("there is room for all that was never replicated, or nothing of that kind")
    yield from ()


@operation()
def history_kept(
    path: str, ours: Mapping[str, Any], jobs: Mapping[str, tuple[str, str, str]], allowed: Sequence[str]
) -> Commands:
    """New keep rules delete no snapshot that is kept now, on either side, unless the data say so. Changes nothing.

    Rules that are in force already are not asked: what they delete is gone soon, whoever looks.

    + path, ours: as in `config`
    + jobs: job name -> dataset, name of the target host, dataset there
    + allowed: jobs whose snapshots may go

    Raises OperationError with the list, and where the target cannot be asked.

    **Example:** `zrepl.history_kept(path, ours, {"f0_to_f1_fedora": ("zroot/vm", "f1.lan.buetow.org",
    "zdata/sink/f0/zroot/vm")}, allowed=[])`
    """
    before = known(TextFileOf, path=path).text
    try:
        now = job_list(before)
    except NoPlace:  # then `config` refuses, or replaces all of it
        now = []
    # a job that gets another dataset brings its rules there
    in_force = {job["name"]: (job.get("pruning"), job.get("filesystems")) for job in now}
    after = {job["name"]: (job["pruning"], job["filesystems"]) for job in ours["jobs"] if job["type"] == "push"}
    new = {job: places for job, places in jobs.items() if job not in allowed and in_force.get(job) != after[job]}
    own, names = (known(Snapshots), known(Datasets)) if new else ((), {})
    for job, (dataset, target, replica) in new.items():
        theirs = known_of(target, Snapshots)
        if theirs is None:
            raise OperationError(
                f"{host.name}: nothing was changed. {job} gets other keep rules, and {target} cannot be asked which of "
                "its snapshots they would delete: run this again when it answers"
            )
        gone = {}
        for source, copy in sent(dataset, replica, names).items():
            for where, side, name, snapshots in (
                (host.name, "keep_sender", source, own),
                (target, "keep_receiver", copy, theirs),
            ):
                present = [each for each in snapshots if each.dataset == name]
                if lost_here := lost(pruned_by(now, source, side), after[job][0][side], present):
                    gone[f"{name} on {where}"] = lost_here
        if gone:
            raise OperationError(f"{host.name}: nothing was changed: {loss(job, gone)}")
    host.noop("new keep rules delete nothing that is kept now, or there are none")
    yield from ()


@operation()
def config(path: str, ours: Mapping[str, Any], replace: bool) -> Generator[StringCommand]:
    """zrepl's configuration has our jobs, and keeps the operator's. `zrepl configcheck` on the host has accepted it.

    + path: the file; 0600, owned by root
    + ours: `global` and `jobs` (f3s.zrepl.host_config)
    + replace: whether one in which our jobs have no place may be replaced whole

    **Example:** `zrepl.config("/usr/local/etc/zrepl/zrepl.yml", ours, replace=False)`
    """
    found, text, whole = two_owners(path, lambda before: merged(before, ours), replace)
    before, after = ({job["name"] for job in job_list(each)} for each in (text if whole else found.text, text))
    if gone := before - after:
        host.log(
            f"{', '.join(sorted(gone))}: no longer in zrepl_jobs, gone from {path}. What zrepl keeps for it is named "
            "by tasks/verify.py, with the command that releases it",
            logger.warning,
        )
    yield from written(path, found, text, "0600", whole=whole, mark=UNREAD, check="zrepl configcheck --config")


@operation()
def running(path: str, ours: Mapping[str, Any], replace: bool) -> Commands:
    """zrepl runs with the configuration that is in place. A restart interrupts a transfer, which resumes.

    A configuration that was not read yet is on record (files/once/replace-file.sh), so the run after a killed one
    still restarts zrepl. The file itself is compared only for the plan, when `config` has not replaced it yet.

    + path, ours, replace: as in `config`

    **Example:** `zrepl.running("/usr/local/etc/zrepl/zrepl.yml", ours, replace=False)`
    """
    state_now = known(Services, names=("zrepl",))["zrepl"]
    if state_now is ServiceState.MISSING and executing():
        raise OperationError(f"{host.name}: there is no service zrepl: is its package installed?")
    found, text, _ = two_owners(path, lambda before: merged(before, ours), replace)
    unread = bool(told(File, path=UNREAD)) or found.text != text
    if state_now is ServiceState.RUNNING and not unread:
        host.noop("zrepl runs with the configuration in place")
        return
    verb = "onerestart" if state_now is ServiceState.RUNNING else "onestart"
    yield command("{} && rm -f {}", script("run-service", "zrepl", verb), UNREAD)


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
    """Says which of the host's jobs failed last, and why. Changes nothing."""
    if not executing():
        host.noop("read when the run is over")
        return
    found = ask(current_host(), Jobs)
    if found is None:
        host.log("zrepl does not answer; one that has died is started within a minute", logger.warning)
        host.noop("what its jobs failed of is not known")
        return
    for name in jobs:
        if name not in found:
            raise OperationError(f"{host.name}: the running zrepl has no job {name}; see `zrepl status`")
        if error := found[name]:
            host.log(f"replication job {name} failed: {error}", logger.warning)
    host.noop("read zrepl's status")
    yield from ()
