"""Packages of a FreeBSD host."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s import parsing
from f3s.quoting import command, words
from facts.base import HostFact, marked

# `pkg -N` fails until pkg itself has been installed; pkg(7) would then fetch it. A service that pkg does not
# know was installed by hand, as on a host without a network.
_SCRIPT = """\
there() {{
    {{ pkg -N >/dev/null 2>&1 && pkg info -e "$1"; }} || [ -x "/usr/local/etc/rc.d/$1" ]
}}
for name in {}; do
    echo "=== $name"
    if there "$name"; then echo installed; else echo missing; fi
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
        return parsing.meanings(lines, {"installed": True, "missing": False})
