"""The steps of the way back of the role to the primary, planned by f3s.returning from the facts of the moment.

All of them run in the turn of the primary, some of their commands on the standby.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

import gevent
from pyinfra import logger
from pyinfra.api.exceptions import OperationError
from pyinfra.context import ctx_host, host, inventory
from typing_extensions import override

from f3s.quoting import Shell, command
from f3s.returning import Programs, Side, Step, Way, refusals
from f3s.services import ServiceState
from f3s.settings import HostSettings, Site
from facts.base import FILES, HostFact
from facts.clock import Clock
from facts.controller import StorageController
from facts.services import Services
from facts.zfs import Datasets, Snapshots
from facts.zrepl import Written
from operations.base import On, Shown, T, current_host, executing, in_turn, known, known_of, nothing_left, on
from operations.move import look
from operations.reasons import operation

PROGRAMS = Programs(
    *(
        (FILES / "once" / f"{name}.sh").read_text()
        for name in ("send-snapshot", "receive-snapshot", "stop-service", "run-service", "await-standby")
    )
)
BRING = "tasks/return_primary.py brings them here"
ROUNDS = 20
QUICK_SECONDS = 60
"""What clients wrote in that time is so little that they can wait while it is sent."""
WAITING = "/var/run/f3s/receiver"
"""The name of the receiver that may take a stream (files/once/receive-snapshot.sh): whoever waits since a run that was
killed must not."""
SENDER_SECONDS = 60
"""Within which the sender ends when the receiver has."""


class Sending(Protocol):
    """Where something stands that is sent."""

    @property
    def target(self) -> str: ...

    def transfer(self) -> tuple[Shell, Shell] | None: ...


S = TypeVar("S", bound=Sending)


class Transfer(Shown):
    """A sender and a receiver at the same time, as the parts of a pipe; the receiver decides."""

    def __init__(self, source: str, send: Shell, target: str, receive: Shell) -> None:
        super().__init__(receive)
        self.source, self.send, self.target = source, send, target

    @override
    def execute(self, state: Any, host: Any, connector_arguments: Any) -> Any:
        alone, said = on(inventory.get_host(self.target), Shown(command("rm -f {}", WAITING)))
        if not alone:
            return alone, said
        sender = gevent.spawn(on, inventory.get_host(self.source), Shown(self.send))
        gevent.sleep(0)  # it begins first: whoever finds nobody listening tries again only a second later
        received = on(inventory.get_host(self.target), self)
        sender.join(SENDER_SECONDS)
        if not sender.ready():
            host.log(f"the sender on {self.source} still waits: the next run ends it", logger.warning)
        return received


def owed(site: Site) -> bool:
    """This host is the primary, without the served data, and the standby was promoted, so that has them."""
    primary, standby = site.storage_hosts
    if host.name != primary.name or primary.nfs.dataset in known(Datasets):
        return False
    theirs = known_of(standby.name, StorageController)
    return theirs is not None and theirs.writer == standby.short_name


@operation()
def left_to_return(dataset: str, standby: str) -> Generator[Shown]:
    """Says that the data are on the other host.

    + dataset: what is not made here
    + standby: short name of the host that was promoted
    """
    if executing():
        host.log(f"{dataset} was not made: {standby} was promoted and has the data; {BRING}", logger.warning)
    host.noop(f"{dataset} is on {standby}")
    yield from ()


def way(site: Site, before: Way | None = None) -> Way:
    """Where the way back stands. Raises OperationError where a fact of one of the hosts is unknown.

    Both hosts are asked at the same time, because clients may be waiting.

    + before: where it stood a moment ago; then only the data are looked at
    """
    me = current_host()

    def side(of: HostSettings, said: Side | None) -> Side:
        with ctx_host.use(me):
            return _side(of, said)

    said = (before.home, before.away) if before else (None, None)
    home, away = [gevent.spawn(side, *each) for each in zip(site.storage_hosts, said, strict=True)]
    return Way(site, home.get(), away.get(), PROGRAMS)


def _side(of: HostSettings, said: Side | None) -> Side:
    return Side(
        written=asked(of, Written, tree=of.pool.name),  # it syncs the pool
        datasets=asked(of, Datasets),
        snapshots=asked(of, Snapshots),
        controller=said.controller if said else asked(of, StorageController),
        replicates=said.replicates if said else asked(of, Services, names=("zrepl",))["zrepl"] is ServiceState.RUNNING,
    )


def asked(of: HostSettings, fact: type[HostFact[T]], **arguments: object) -> T:
    """A fact of a host; raises OperationError where it is unknown."""
    found = known_of(of.name, fact, **arguments)
    if found is None:
        raise OperationError(f"{of.name}: {fact.__name__} could not be read; nothing was changed")
    return found


@operation(is_idempotent=False)
def step(planned: Step, site: Site) -> Generator[Shown]:
    """One step, planned again from facts when its turn comes.

    + planned: the step as the plan of the whole way foresaw it

    Raises OperationError where the hosts are not in the state that this step leaves, or what was sent did not arrive.
    """
    if not executing():
        yield from (On(*each) for each in planned.commands)
        return
    now = _checked(site)
    # what clients go on writing can be caught up with at any time
    left = [each for each in now.steps() if each.key == planned.key or not each.catches_up]
    current = in_turn(planned, left)
    if current is None:
        return
    yield from (On(*each) for each in current.commands)
    if current.last:
        now = way(site)
        if not now.frozen:
            raise OperationError(f"{host.name}: {now.replica} on {now.standby.short_name} did not become read-only")
        yield On(now.standby.name, now.snapshots())
        yield from _sent(site, now)
    elif current.catches_up:
        now = yield from _sent(site, now)
        for _ in range(ROUNDS):
            clock = known_of(now.standby.name, Clock)
            if clock is None or clock.now - now.theirs[-1].creation < QUICK_SECONDS:
                return
            yield from (On(*each) for each in current.commands)
            now = yield from _sent(site, now)


def _checked(site: Site) -> Way:
    now = way(site)
    if problems := refusals(now):
        raise OperationError(f"{host.name}: {'; '.join(problems)}")
    return now


def _sent(site: Site, now: Way) -> Generator[Shown, None, Way]:
    """All that can be sent now is sent. By the GUIDs of snapshots it is known to be there."""
    return (yield from arriving(lambda: way(site, now), now.standby, now.primary))


def arriving(look: Callable[[], S], source: HostSettings, target: HostSettings) -> Generator[Shown, None, S]:
    """Sends until nothing is left, and returns where it stands then.

    + look: where it stands now

    Raises OperationError where what was sent did not arrive.
    """
    last = None
    while (todo := (now := look()).transfer()) is not None:
        if todo == last:
            raise OperationError(
                f"{host.name}: what {source.short_name} sent did not arrive. Run again: it goes on where "
                f"the stream was cut. Where that cannot be had, `doas zfs receive -A {now.target}` there first"
            )
        last = todo
        yield Transfer(source.name, todo[0], target.name, todo[1])
    return now


@operation()
def finished(site: Site) -> Generator[Shown]:
    """Nothing is left to do, and the primary serves.

    Raises OperationError where steps are left.
    """
    if executing():
        nothing_left(list(_checked(site).steps()))
        if problems := look(site.primary, site):
            host.log(f"not proven that all is well, see tasks/verify.py: {'; '.join(problems)}", logger.warning)
    host.noop(f"{site.primary.short_name} writes and serves")
    yield from ()
