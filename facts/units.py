"""systemd units of a Linux host."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.quoting import Shell, command, words
from f3s.units import UNIT_PROPERTIES, Units, parse_units
from facts.base import HostFact, marked


class UnitStates(HostFact[Units]):
    """The state of units, and the age of the files that they read at their start.

    + names: full names, with .service or the like
    + files: absolute paths
    """

    @override
    def command(self, names: Sequence[str], files: Sequence[str] = ()) -> str:
        # not --timestamp=unix, which systemd 250 (Rocky 9.0 and 9.1) does not know
        show = command("env LC_ALL=C TZ=UTC systemctl show -p {} -- {}", ",".join(UNIT_PROPERTIES), words(names))
        ages = [command("if [ -e {} ]; then stat -L -c 'File=%Y %n' -- {}; fi", file, file) for file in files]
        return marked(Shell(" &&\n".join([show, "echo", *ages])))

    read = staticmethod(parse_units)
