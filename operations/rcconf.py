"""Variables of rc.conf and files like it.

pyinfra's `freebsd.sysrc` leaves a wrong value alone, or changes something on every run (observed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyinfra.api.operation import operation
from pyinfra.context import host

from f3s.quoting import Shell, command
from f3s.rcconf import with_entries
from facts.rcconf import RC_CONF, Variables
from operations.base import Commands, known


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
            yield _set(name, value, file)
    if not changed:
        host.noop(f"{', '.join(f'{name}={value}' for name, value in values.items())} in {file}")


@operation()
def list_entries(variable: str, entries: Sequence[str]) -> Commands:
    """A space-separated list in rc.conf has these entries; others in it stay.

    + variable: the variable
    + entries: what must be in it, without spaces

    **Example:** `rcconf.list_entries("zfskeys_datasets", ["zdata/enc"])`
    """
    current = known(Variables, names=(variable,), file=RC_CONF)[variable]
    value = with_entries(current, entries)
    if value == (current or ""):
        host.noop(f'{variable}="{value}" has all of {", ".join(entries)}')
        return
    yield _set(variable, value, RC_CONF)


def _set(name: str, value: str, file: str) -> Shell:
    where = Shell("sysrc") if file == RC_CONF else command("sysrc -f {}", file)
    return command("{} {}={}", where, name, value)
