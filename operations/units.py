"""systemd units that run with the files that are there now.

pyinfra's systemd.service restarts when the caller says so. A run that is killed between a changed file and the restart
leaves the old configuration running, and the next run sees nothing to do. Here the host's own state decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.quoting import command
from facts.units import UnitStates
from operations.base import Commands, executing, known
from operations.reasons import operation


@operation()
def reloaded(names: Sequence[str]) -> Commands:
    """systemd has read the files of units, /etc/fstab among them, as they are now.

    + names: units, with .service, .timer or .mount

    **Example:** `units.reloaded(["nfs-mount-monitor.service", "data-nfs.mount"])`
    """
    units = known(UnitStates, names=tuple(names)).units
    if any(unit.stale or not unit.exists for unit in units.values()):
        yield command("systemctl daemon-reload")
    else:
        host.noop(f"systemd knows {', '.join(names)} as they are")


@operation()
def running(unit: str, files: Sequence[str] = ()) -> Commands:
    """A unit is enabled and active, and was started after the last change of the files that it reads.

    + unit: its name, with .service or .timer
    + files: absolute paths

    :raises OperationError: there is no such unit

    **Example:** `units.running("stunnel.service", files=["/etc/stunnel/stunnel.conf"])`
    """
    states = known(UnitStates, names=(unit,), files=tuple(files))
    state = states.units[unit]
    if not state.exists and executing():
        raise OperationError(f"{host.name}: systemd knows no {unit}")
    if not state.enabled:
        yield command("systemctl enable {}", unit)
    if not state.active:
        yield command("systemctl start {}", unit)
    elif states.newer(state):
        yield command("systemctl restart {}", unit)
    elif state.enabled:
        host.noop(f"{unit} is enabled and runs with its present files")
