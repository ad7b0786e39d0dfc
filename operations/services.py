"""rc(8) services. A service that is not there is an error: pyinfra's `freebsd.service` shows a green line for it
(observed). The one* verbs also work if X_enable is NO."""

from __future__ import annotations

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.services import ServiceState
from facts.base import script
from facts.services import Services
from operations.base import Commands, executing, known
from operations.reasons import operation


@operation()
def stopped(service: str) -> Commands:
    """A service does not run.

    + service: name of its rc.d script

    **Example:** `services.stopped("nfsd")`
    """
    state = known(Services, names=(service,))[service]
    if state is ServiceState.MISSING and executing():
        raise OperationError(f"{host.name}: there is no service {service} in /etc/rc.d or /usr/local/etc/rc.d")
    if state is not ServiceState.RUNNING:
        host.noop(f"{service} is not running")
        return
    yield script("stop-service", service)
