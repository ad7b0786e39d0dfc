"""rc(8) services of a host: are they there, do they run?"""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import FactValueError
from typing_extensions import override

from f3s import parsing
from f3s.quoting import command, words
from f3s.rcconf import is_variable
from f3s.services import ServiceState
from facts.base import HostFact, marked

# `onestatus`: `status` says nothing useful while X_enable is NO (observed)
_SCRIPT = """\
for name in {}; do
    echo "=== $name"
    if [ -x "/etc/rc.d/$name" ] || [ -x "/usr/local/etc/rc.d/$name" ]; then
        service "$name" onestatus >/dev/null 2>&1
        echo "status $?"
    else
        echo missing
    fi
done"""


class Services(HostFact[dict[str, ServiceState]]):
    """The state of each service, whether enabled or not.

    + names: names of rc.d scripts
    """

    @override
    def command(self, names: Sequence[str]) -> str:
        for name in names:
            if not is_variable(name.replace("-", "_")):
                raise FactValueError(f"{name!r} is not the name of a service")
        return marked(command(_SCRIPT, words(names)))

    @override
    def read(self, lines: list[str]) -> dict[str, ServiceState]:
        return parsing.meanings(lines, {state.value: state for state in ServiceState})
