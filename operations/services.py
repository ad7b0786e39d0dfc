"""rc(8) services. A service that is not there is an error: pyinfra's `freebsd.service` shows a green line for it
(observed). The one* verbs also work where X_enable is NO."""

from __future__ import annotations

from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host

from f3s.quoting import command
from facts.services import Services, ServiceState
from operations.base import Commands, executing, known


@operation()
def running(name: str) -> Commands:
    """A service runs.

    + name: name of its rc.d script

    **Example:** `services.running("zrepl")`
    """
    if _state(name) is ServiceState.RUNNING:
        host.noop(f"{name} is running")
        return
    yield command("service {} onestart", name)


@operation()
def stopped(name: str) -> Commands:
    """A service does not run.

    + name: name of its rc.d script

    **Example:** `services.stopped("nfsd")`
    """
    if _state(name) is not ServiceState.RUNNING:
        host.noop(f"{name} is not running")
        return
    yield command("service {} onestop", name)


@operation(is_idempotent=False)
def act(name: str, verb: str) -> Commands:
    """A service carries out a verb, whatever its state; call it only where something has changed.

    + name: name of its rc.d script
    + verb: e.g. `reload` or `restart`; `one` is put before it

    **Example:** `services.act("zrepl", "restart", _if=config.did_change)`
    """
    _state(name)
    yield command("service {} {}", name, f"one{verb}")


def _state(name: str) -> ServiceState:
    state = known(Services, names=(name,))[name]
    if state is ServiceState.MISSING and executing():
        raise OperationError(f"{host.name}: there is no service {name} in /etc/rc.d or /usr/local/etc/rc.d")
    return state
