"""The steps of a planned move of the virtual IP. They run on the primary, and say how long they took."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import NestedOperationError
from pyinfra.api.operation import operation
from pyinfra.context import ctx_host, host, inventory
from pyinfra.operations import server

from f3s.controller import wanted_services
from f3s.quoting import Shell, command
from f3s.settings import HostSettings, Site
from f3s.verify.model import HostView
from f3s.verify.move import unproven
from f3s.verify.serving import carp_state
from facts.base import script
from facts.carp import Carp
from facts.cluster import ANSWER_WITHIN, ask, tls_answer
from facts.controller import NotServing
from operations.base import Commands

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


def caught_up(job: str, dataset: str, seconds: int) -> None:
    """The receiver of a push job has confirmed a snapshot that was made from now on.

    Raises NestedOperationError where it has not within so many seconds.
    """
    _timed("the replica is up to date", script("catch-up-replica", job, dataset, seconds))


def given(verb: str) -> None:
    """`carp backup` (with the hold that keeps automatic failback off) or `carp master`; both wait until it has held.

    Raises NestedOperationError where it did not hold; the program has then taken back what it did.
    """
    _timed(f"carp {verb}", command("{} {}", CARP, verb))


def proven_or_undone(target: HostSettings, site: Site, undo: str) -> None:
    """`target` serves: CARP on both hosts, the services, and TLS as the clients of this run see it. If not, undone.

    + undo: the verb of `carp` on the primary that takes the move back

    Raises NestedOperationError where it was undone.
    """
    problems = look(target, site)
    if not problems:
        host.log(f"{target.name} serves on {target.vip.address}")
        return
    host.log(f"not proven, so it is undone: {'; '.join(problems)}")
    given(undo)
    raise NestedOperationError(f"undone: {'; '.join(problems)}")


def look(target: HostSettings, site: Site) -> list[str]:
    """Why it is not proven that `target` serves, see f3s.verify.move.unproven."""
    with ctx_host.use(inventory.get_host(target.name)):
        missing = ask(
            NotServing, names=wanted_services(target), seconds=SERVES_WITHIN, within=SERVES_WITHIN + ANSWER_WITHIN
        )
    states = {}
    for each in site.storage_hosts:
        with ctx_host.use(inventory.get_host(each.name)):
            states[each.name] = carp_state(HostView(carp=ask(Carp, interface=each.carp.interface)), each)
    answers = {}
    for client in site.clients:
        with ctx_host.use(inventory.get_host(client.name)):
            if host.connected:
                answers[client.name] = tls_answer(client)
    return unproven(target, states, missing, answers)


def _timed(what: str, line: Shell) -> Sequence[str]:
    """Runs a command on the current host, shows what it says and how many seconds of the host's clock it took."""
    timed = command('start=$(date +%s); {}; status=$?; echo "$(($(date +%s) - start)) s"; exit $status', Shell(line))
    ran = server.shell(name=what, commands=[timed], _ignore_errors=True)
    for text in (*ran.stdout_lines, *ran.stderr_lines):
        host.log(f"{what}: {text}")
    if not ran.did_succeed():
        raise NestedOperationError(f"{what} failed")
    return ran.stdout_lines
