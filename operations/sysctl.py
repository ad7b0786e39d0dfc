"""Kernel variables, now and after a reboot.

/etc/sysctl.conf is applied early in the boot and once more late (rc.d/sysctl, rc.d/sysctl_lastload).
"""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.context import host

from f3s.quoting import command
from f3s.services import ServiceState
from facts.services import Services
from facts.sysctl import Sysctls
from operations.base import Commands, executing, known
from operations.reasons import operation


@operation()
def values(wanted: Mapping[str, str], set_by: str | None = None) -> Commands:
    """Sysctls have these values now; `files.line` on /etc/sysctl.conf keeps them.

    + wanted: value of each name
    + set_by: service whose start sets them from rc.conf. If it does not run, their present values do not matter

    **Example:** `sysctl.values({"vfs.nfsd.enable_stringtouid": "1"})`
    """
    if set_by is not None and known(Services, names=(set_by,))[set_by] is not ServiceState.RUNNING:
        host.noop(f"{set_by} does not run, and sets {', '.join(wanted)} when it starts")
        return
    current = known(Sysctls, names=tuple(wanted))
    changed = False
    for name, value in wanted.items():
        if current[name] is None and executing():
            continue  # set at boot and when its module is loaded: nothing to set now
        if current[name] != value:
            changed = True
            yield command("sysctl {}", f"{name}={value}")
    if not changed:
        host.noop(", ".join(f"{name}={current[name]}" for name in wanted))
