"""Host names of clients."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host, state

from facts.clients import HostName
from operations.base import Commands, known, known_of
from operations.reasons import operation


@operation()
def own(others: Sequence[str]) -> Commands:
    """This host's name is no other client's. Changes nothing itself.

    A Linux client tells an NFSv4 server who it is by its name. To the server, clients with the same name are one client
    that restarts all the time, so they take each other's open files and locks away (Linux,
    Documentation/filesystems/nfs/client-identifier.rst). Machines that were copied from one image have the same name.

    + others: the other clients in the inventory; only those that take part in the run are asked

    :raises OperationError: it has the name of another client, or none of its own

    **Example:** `names.own(["r1.lan.buetow.org", "r2.lan.buetow.org"])`
    """
    name = known(HostName)
    active = state.inventory.get_active_hosts()
    here = [other for other in others if state.inventory.get_host(other) in active]
    same = [other for other in here if known_of(other, HostName) == name]
    if same or name.partition(".")[0] == "localhost":
        why = f"as {', '.join(same)} is" if same else "which is no name of its own"
        raise OperationError(
            f"{host.name}: the host is called {name}, {why}. NFS clients with one name take each other's files away: "
            f"run `hostnamectl set-hostname {host.name}` there"
        )
    host.noop(f"{name} is the name of no other client")
    yield from ()
