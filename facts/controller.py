"""The records that f3s_storage keeps on a storage host, and its clock. Files only: nothing is woken or locked."""

from __future__ import annotations

from typing_extensions import override

from f3s.quoting import Shell, command
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
