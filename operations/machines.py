"""The steps of the way back of a virtual machine, planned by f3s.machines from the facts of the moment.

All of them run in the turn of the machine's host, some of their commands on that of the replica.
"""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.bhyve.vms import VmHost
from f3s.keycheck import KeyCheck
from f3s.machines import MachineWay, other_key, refusals
from f3s.returning import Data, Step
from f3s.settings import HostSettings, Job, Site
from facts.bhyve import AllProperties, Vms
from facts.zfs import KeyChecks, Snapshots
from facts.zrepl import Written
from operations.base import On, Shown, executing, in_turn, nothing_left
from operations.reasons import operation
from operations.returning import PROGRAMS, arriving, asked


def way(site: Site, job: Job) -> MachineWay:
    """Where the way back stands. Raises OperationError where a fact of one of the hosts is unknown."""
    home, away = site.host(job.source), site.host(job.target)
    return MachineWay(site, job, _side(home, job.dataset), _side(away, site.replica(job)), PROGRAMS)


def _side(of: HostSettings, dataset: str) -> tuple[Data, VmHost]:
    return Data(
        written=asked(of, Written, tree=dataset.partition("/")[0]),  # it syncs the pool
        datasets=asked(of, AllProperties),
        snapshots=asked(of, Snapshots),
    ), asked(of, Vms)


def problems(now: MachineWay) -> list[str]:
    """Why the way back must not begin, or go on. Raises OperationError as `way`."""
    found = refusals(now)
    for of, roots in now.locks():
        if not (found or now.returned):
            checks = asked(of, KeyChecks, keys=tuple(roots.items()))
            found = [
                other_key(now, of, root, location, checks.get(root))
                for root, location in roots.items()
                if checks.get(root) is not KeyCheck.FITS
            ]
    return found


@operation(is_idempotent=False)
def step(planned: Step, site: Site, job: Job) -> Generator[Shown]:
    """One step, planned again from facts when its turn comes.

    + planned: the step as the plan of the whole way foresaw it
    + site, job: the site, and its job that replicates the machine

    Raises OperationError where the hosts are not in the state that this step leaves, or what was sent did not arrive.
    """
    if not executing():
        yield from (On(*each) for each in planned.commands)
        return
    current = in_turn(planned, list(_checked(site, job).steps()))
    if current is None:
        return
    yield from (On(*each) for each in current.commands)
    if current.last:
        now = yield from arriving(lambda: way(site, job), site.host(job.target), site.host(job.source))
        if not now.sent:
            raise OperationError(f"{host.name}: {now.replica} on {now.sender.short_name} was written to. Run again")


def _checked(site: Site, job: Job) -> MachineWay:
    now = way(site, job)
    if found := problems(now):
        raise OperationError(f"{host.name}: {'; '.join(found)}")
    return now


@operation()
def finished(site: Site, job: Job) -> Generator[Shown]:
    """Nothing is left to do.

    + site, job: the site, and its job that replicates the machine

    Raises OperationError where steps are left.
    """
    if executing():
        nothing_left(list(_checked(site, job).steps()))
    host.noop(f"{job.dataset} has all that was written to its replica")
    yield from ()
