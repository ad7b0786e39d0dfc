"""The steps of a permanent swap of the roles, planned by f3s.swapping from the facts of the moment.

All of them run in the turn of the new primary, some of their commands on the old one.
"""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.returning import Step
from f3s.settings import HostSettings, Site
from f3s.swapping import Found, Means, Swap, refusals
from facts.controller import StorageController
from facts.zfs import Datasets, HistoryMarks, Snapshots
from operations.base import On, Shown, executing, in_turn, known, known_of, nothing_left
from operations.reasons import operation


def swap(site: Site, means: Means) -> Swap:
    """Where the swap stands. Raises OperationError where a fact of one of the hosts is unknown."""
    return Swap(site, _found(site.primary), _found(site.standby), known(HistoryMarks).holds, means)


def _found(of: HostSettings) -> Found:
    asked = known_of(of.name, StorageController), known_of(of.name, Datasets), known_of(of.name, Snapshots)
    controller, datasets, snapshots = asked
    if controller is None or datasets is None or snapshots is None:
        raise OperationError(
            f"{of.name} could not be asked, see the error above, and both hosts change their roles in one run. Nothing "
            "was changed; run this again when it answers"
        )
    return Found(datasets, snapshots, controller)


def checked(site: Site, means: Means) -> Swap:
    """As `swap`. Raises OperationError with all that speaks against it."""
    now = swap(site, means)
    if problems := refusals(now):
        raise OperationError("no swap now:\n" + "\n".join(f"- {problem}" for problem in problems))
    return now


@operation(is_idempotent=False)
def step(planned: Step, site: Site, means: Means) -> Generator[Shown]:
    """One step, planned again from facts when its turn comes.

    + planned: the step as the plan of the whole swap foresaw it
    + site, means: as in `swap`

    Raises OperationError where the hosts are not in the state that this step begins with.
    """
    current: Step | None = planned
    if executing():
        current = in_turn(planned, list(checked(site, means).steps()))
    if current is not None:
        yield from (On(*each) for each in current.commands)


@operation()
def finished(site: Site, means: Means) -> Generator[Shown]:
    """Nothing is left to do.

    + site, means: as in `swap`

    Raises OperationError where steps are left.
    """
    if executing():
        nothing_left(list(checked(site, means).steps()))
    host.noop(f"{site.primary.short_name} is the primary, {site.standby.short_name} the standby")
    yield from ()
