"""Variables of rc.conf and of files like it, read by sourcing the file once.

One `sysrc` call takes about ten times as long (observed), and does not tell an unset variable from an empty one.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import FactValueError
from typing_extensions import override

from f3s.quoting import Shell, command, words
from f3s.rcconf import is_variable, parse_variables
from facts.base import HostFact, marked

RC_CONF = "/etc/rc.conf"
PERIODIC_CONF = "/etc/periodic.conf"
# these know which other files (rc.conf.local, rc.conf.d) belong to them, and the defaults
_SOURCES = {
    RC_CONF: Shell(". /etc/defaults/rc.conf; source_rc_confs"),
    PERIODIC_CONF: Shell(". /etc/defaults/periodic.conf; source_periodic_confs"),
}
_PRINT = """\
for name in {}; do
    echo "=== $name"
    if eval "[ -n \\"\\${{$name+set}}\\" ]"; then
        eval "printf '%s\\n' \\"\\$$name\\"" | sed 's/^/|/'
    else
        echo unset
    fi
done"""


class Variables(HostFact[dict[str, str | None]]):
    """The values in force, defaults included; None where a variable is not set at all.

    + file: /etc/rc.conf, /etc/periodic.conf, or a file of the same form, e.g. /boot/loader.conf
    """

    @override
    def command(self, names: Sequence[str], file: str = RC_CONF) -> str:
        for name in names:
            if not is_variable(name):
                raise FactValueError(f"{name!r} is not the name of a variable")
        source = _SOURCES.get(file) or command("if [ -e {} ]; then . {}; fi", file, file)
        show = command(_PRINT, words(names))
        return marked(command("{{ {}; }} >/dev/null 2>&1\n{}", source, show))

    read = staticmethod(parse_variables)
