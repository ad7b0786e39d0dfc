"""The records that f3s_storage keeps on a storage host, and its clock. Files only: nothing is woken or locked."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.quoting import Shell, command, words
from f3s.verify.controller import FILES, Controller, parse_controller
from facts.base import HostFact, marked


class StorageController(HostFact[Controller]):
    """Whether the controller is started, a planned failover lasts, or a service failed."""

    @override
    def command(self) -> str:
        looks = [
            command('echo "=== "{}; if [ -e {} ]; then echo there && cat {}; else echo absent; fi', name, path, path)
            for name, path in FILES.items()
        ]
        return marked(Shell(" &&\n".join(["echo '=== now' && date +%s", *looks])))

    @override
    def read(self, lines: list[str]) -> Controller:
        return parse_controller(lines)


_WAIT = """\
( left={}
while :; do
    missing=
    for name in {}; do
        service "$name" onestatus >/dev/null 2>&1 || missing="$missing $name"
    done
    if [ -z "$missing" ] || [ "$left" -le 0 ]; then break; fi
    sleep 1
    left=$((left - 1))
done
for name in $missing; do echo "$name"; done )"""


class NotServing(HostFact[tuple[str, ...]]):
    """The services that do not run although they had time to start; asked until all run.

    + names: names of rc.d scripts
    + seconds: how long to ask at most
    """

    @override
    def command(self, names: Sequence[str], seconds: int) -> str:
        return marked(command(_WAIT, seconds, words(names)))

    @override
    def read(self, lines: list[str]) -> tuple[str, ...]:
        return tuple(lines)
