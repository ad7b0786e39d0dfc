"""What f3s_storage says on a storage host, and what it has said."""

from __future__ import annotations

from typing_extensions import override

from f3s.controller import CONTROL, STORAGE_CONF, Status, parse_controller
from f3s.quoting import Shell, command
from facts.base import HostFact, marked


class StorageController(HostFact[Status]):
    """The status of f3s_storage with its storage.conf. Nothing is woken or locked."""

    @override
    def command(self) -> str:
        # its exit status tells whether the services are as they should be; 64 and more: it said nothing
        ask = "echo '=== status' && {{ {} status || [ $? -lt 64 ]; }} && echo '=== values' && cat {}"
        found = command(ask, CONTROL, STORAGE_CONF)
        return marked(command("if [ -x {} ]; then {}; else echo '=== absent'; fi", CONTROL, found))

    read = staticmethod(parse_controller)


class Decisions(HostFact[tuple[str, ...]]):
    """What it last told the log: moves of the address, and what it decided and why, oldest first."""

    @override
    def command(self) -> str:
        ours = r"s/^\(.\{15\}\) [^ ]* f3s_storage: /\1 /p"
        return marked(Shell(f"tail -n 5000 /var/log/messages | sed -n '{ours}' | tail -n 20"))

    @override
    def read(self, lines: list[str]) -> tuple[str, ...]:
        return tuple(lines)
