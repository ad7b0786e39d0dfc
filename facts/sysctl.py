"""Kernel variables."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.parsing import values
from f3s.quoting import command, words
from facts.base import HostFact, marked

_SCRIPT = """\
for name in {}; do
    echo "=== $name"
    sysctl -n "$name" 2>/dev/null || :
done"""


class Sysctls(HostFact[dict[str, str | None]]):
    """Values of single-line sysctls; None where there is none of that name (its module is not loaded)."""

    @override
    def command(self, names: Sequence[str]) -> str:
        return marked(command(_SCRIPT, words(names)))

    read = staticmethod(values)
