"""What f3s_storage says on a storage host, and how long its services take to start."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.controller import CONTROL, STORAGE_CONF, Status, parse_controller
from f3s.quoting import command, words
from facts.base import HostFact, marked


class StorageController(HostFact[Status]):
    """The status of f3s_storage with its storage.conf. Nothing is woken or locked."""

    @override
    def command(self) -> str:
        # its exit status tells whether the services are as they should be; 64 and more: it said nothing
        ask = "echo '=== status' && {{ {} status || [ $? -lt 64 ]; }} && echo '=== values' && cat {}"
        found = command(ask, CONTROL, STORAGE_CONF)
        return marked(command("if [ -x {} ]; then {}; else echo '=== absent'; fi", CONTROL, found))

    @override
    def read(self, lines: list[str]) -> Status:
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
