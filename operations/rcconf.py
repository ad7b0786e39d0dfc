"""Variables of rc.conf and files like it.

pyinfra's `freebsd.sysrc` leaves a wrong value alone, or changes something on every run (observed).
"""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.context import host

from f3s.quoting import Shell, command
from facts.rcconf import RC_CONF, Variables
from operations.base import Commands, known
from operations.reasons import operation


@operation()
def variables(values: Mapping[str, str], file: str = RC_CONF) -> Commands:
    """Variables have these values.

    + values: name and value of each
    + file: /etc/rc.conf, /etc/periodic.conf, /boot/loader.conf, or another file of the same form

    **Example:** `rcconf.variables({"zfskeys_enable": "YES"})`
    """
    current = known(Variables, names=tuple(values), file=file)
    changed = False
    for name, value in values.items():
        if current[name] != value:
            changed = True
            where = Shell("sysrc") if file == RC_CONF else command("sysrc -f {}", file)
            yield command("{} {}={}", where, name, value)
    if not changed:
        host.noop(f"{', '.join(f'{name}={value}' for name, value in values.items())} in {file}")
