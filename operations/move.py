"""The steps of a planned move of the virtual IP. They run on the primary, and say how long they took."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host, inventory

from f3s.controller import wanted_services
from f3s.quoting import Shell, command
from f3s.settings import HostSettings, Site
from f3s.stunnel import tls_question
from f3s.verify.model import HostView
from f3s.verify.move import unproven
from f3s.verify.serving import carp_state
from facts.base import script
from facts.carp import Carp
from facts.controller import NotServing
from facts.tls import Tls
from operations.base import LOOK_SECONDS, Commands, Shown, ask, executing

CARP = "/usr/local/bin/carp"
SERVES_WITHIN = 75
"""Seconds until the services run: devd tells the controller at once, and cron a minute later at the latest."""


@operation()
def nothing(why: str) -> Commands:
    """Says why there is nothing to do.

    + why: the reason
    """
    host.noop(why)
    yield from ()


@operation()
def caught_up(job: str, dataset: str, seconds: int) -> Generator[Shown]:
    """The receiver of a push job has confirmed a snapshot that was made from now on; fails where it has not in time.

    + job: its name
    + dataset: its dataset on this host
    + seconds: how long to wait
    """
    yield _timed("the replica is up to date", script("catch-up-replica", job, dataset, seconds))


@operation()
def given(verb: str) -> Generator[Shown]:
    """`carp backup` (with the hold that keeps automatic failback off) or `carp master`; both wait until it has held.

    Fails where it did not hold; the program has then taken back what it did.

    + verb: backup or master
    """
    yield _carp(verb)


@operation()
def proven_or_undone(target: HostSettings, site: Site, undo: str) -> Generator[Shown]:
    """`target` serves: CARP on both hosts, the services, and TLS as the clients of this run see it. If not, undone.

    + target: the storage host that has the address now
    + undo: the verb of `carp` on the primary that takes the move back

    Raises OperationError where it was undone.
    """
    if not executing():
        host.noop("looked at once the address is there")
        return
    problems = look(target, site)
    if not problems:
        host.log(f"{target.name} serves on {target.vip.address}")
        return
    host.log(f"not proven, so it is undone: {'; '.join(problems)}")
    yield _carp(undo)
    raise OperationError(f"{host.name}: undone: {'; '.join(problems)}")


def look(target: HostSettings, site: Site) -> list[str]:
    """Why it is not proven that `target` serves, see f3s.verify.move.unproven."""
    names, patience = wanted_services(target), SERVES_WITHIN + LOOK_SECONDS
    missing = ask(inventory.get_host(target.name), NotServing, names=names, seconds=SERVES_WITHIN, within=patience)
    states = {}
    for each in site.storage_hosts:
        view = HostView(carp=ask(inventory.get_host(each.name), Carp, interface=each.carp.interface))
        states[each.name] = carp_state(view, each)
    clients = [(inventory.get_host(each.name), each) for each in site.clients]
    answers = {each.name: ask(member, Tls, **tls_question(each)) for member, each in clients if member.connected}
    return unproven(target, states, missing, answers)


def _carp(verb: str) -> Shown:
    return _timed(f"carp {verb}", command("{} {}", CARP, verb))


def _timed(what: str, line: Shell) -> Shown:
    """A command that shows what it says, and how many seconds of the host's clock it took."""
    took = 'echo {}": $(($(date +%s) - start)) s"'
    return Shown(command("start=$(date +%s); {}; status=$?; " + took + "; exit $status", line, what))
