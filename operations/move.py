"""The steps of a planned move of the virtual IP. They run on the primary, and say how long they took."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host, inventory

from f3s.quoting import Shell, command
from f3s.settings import HostSettings, Site
from f3s.stunnel import tls_question
from f3s.verify.model import HostView
from f3s.verify.move import unproven
from f3s.verify.serving import carp_state
from facts.carp import Carp
from facts.controller import StorageController
from facts.tls import Tls
from operations.base import Commands, Shown, ask, executing
from operations.reasons import operation

CARP = "/usr/local/bin/carp"


@operation()
def nothing(why: str) -> Commands:
    """Says why there is nothing to do."""
    host.noop(why)
    yield from ()


@operation()
def given(verb: str) -> Generator[Shown]:
    """`carp backup` or `carp master`.

    The first replicates the last write and then sets the hold that keeps automatic failback off. Both wait until the
    address has moved. Fails where it did not; the program has then taken back what it did.

    + verb: backup or master
    """
    yield _carp(verb)


@operation()
def proven_or_undone(target: HostSettings, site: Site, undo: str) -> Generator[Shown]:
    """`target` serves: by CARP, by f3s_storage, and by TLS as the clients of this run see it. If not, undone.

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


@operation(is_idempotent=False)
def stopped() -> Generator[Shown]:
    """f3s_storage of the old primary serves nobody any more. Fails where that has taken the address since the plan was
    made: what clients write there may be nowhere else."""
    again = "this host is MASTER by now, and was not stopped: run this again"
    asked = command("case $({}) in MASTER*) echo {} >&2; false ;; *) service f3s_storage stop ;; esac", CARP, again)
    yield _timed("f3s_storage stop", asked)


@operation(is_idempotent=False)
def promoted(old: HostSettings, stopped_first: bool) -> Generator[Shown]:
    """`carp promote`: this host writes from now on. It asks again whether the old primary answers.

    + old: the host that is out
    + stopped_first: not by the operator's word, but because `stopped` ran there in this run

    Raises OperationError where it should have been stopped and nobody knows that it was.
    """
    if executing() and stopped_first:
        theirs = ask(inventory.get_host(old.name), StorageController)
        if theirs is None or theirs.started:
            raise OperationError(f"{old.name} could not be stopped, or does not answer any more: nothing was promoted")
    yield _timed("carp promote", command("{} promote without {}", CARP, old.short_name))


@operation(is_idempotent=False)
def started() -> Generator[Shown]:
    """f3s_storage of the old primary asks who writes, and serves nothing."""
    yield _timed("f3s_storage start", command("service f3s_storage start"))


def look(target: HostSettings, site: Site) -> list[str]:
    """Why it is not proven that `target` serves, see f3s.verify.move.unproven."""
    controller = ask(inventory.get_host(target.name), StorageController)
    if controller is None or controller.ready is None:  # slow is not dead, and an undone move is a second one
        controller = ask(inventory.get_host(target.name), StorageController)
    states = {}
    for each in site.storage_hosts:
        view = HostView(carp=ask(inventory.get_host(each.name), Carp, interface=each.carp.interface))
        states[each.name] = carp_state(view, each)
    clients = [(inventory.get_host(each.name), each) for each in site.clients]
    answers = {each.name: ask(member, Tls, **tls_question(each)) for member, each in clients if member.connected}
    return unproven(target, states, controller, answers)


def _carp(verb: str) -> Shown:
    return _timed(f"carp {verb}", command("{} {}", CARP, verb))


def _timed(what: str, line: Shell) -> Shown:
    """A command that shows what it says, and how many seconds of the host's clock it took."""
    took = 'echo {}": $(($(date +%s) - start)) s"'
    return Shown(command("start=$(date +%s); {}; status=$?; " + took + "; exit $status", line, what))
