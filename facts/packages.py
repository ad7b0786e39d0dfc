"""Packages of a FreeBSD host."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.parsing import UnknownOutput
from f3s.quoting import command, words
from facts.base import HostFact, marked

# `pkg -N` fails until pkg itself has been installed; pkg(7) would then fetch it. A service that pkg does not
# know was installed by hand, as on a host without a network.
_SCRIPT = """\
there() {{
    {{ pkg -N >/dev/null 2>&1 && pkg info -e "$1"; }} || [ -x "/usr/local/etc/rc.d/$1" ]
}}
for name in {}; do
    if there "$name"; then
        echo "installed $name"
    else
        echo "missing $name"
    fi
done"""


class Packages(HostFact[dict[str, bool]]):
    """Whether each package is installed, by pkg or by hand.

    + names: their names, which are those of their rc.d scripts
    """

    @override
    def command(self, names: Sequence[str]) -> str:
        return marked(command(_SCRIPT, words(names)))

    @override
    def read(self, lines: list[str]) -> dict[str, bool]:
        states = {}
        for line in lines:
            state, space, name = line.partition(" ")
            if not space or state not in ("installed", "missing"):
                raise UnknownOutput(f"unexpected line about packages: {line!r}")
            states[name] = state == "installed"
        return states
