"""The state of secret files on a host, see f3s.secretfile."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

from f3s.parsing import UnknownOutput
from f3s.secretfile import SecretState, parse_state
from facts.base import HostFact, marked, script


class SecretFile(FactBase[SecretState | None]):
    """The state of one file, `ABSENT` when there is none, None when it could not be found out.

    :raises FactProcessError: it is a link, a folder or a device, or the answer is not one that stat-secret.sh gives
    """

    def command(self, path: str) -> str:
        return script("stat-secret", path)

    def process(self, output: list[str]) -> SecretState:
        if len(output) != 1:
            raise FactProcessError(f"stat-secret.sh answered {output!r}")
        try:
            return parse_state(output[0])
        except UnknownOutput as error:
            raise FactProcessError(str(error)) from error


class SecretFiles(HostFact[tuple[SecretState, ...]]):
    """The states of several files, in their order; as for SecretFile, none is known where one is not.

    + paths: absolute paths
    """

    @override
    def command(self, paths: Sequence[str]) -> str:
        return marked(script("stat-secret", *paths))

    @override
    def read(self, lines: list[str]) -> tuple[SecretState, ...]:
        return tuple(map(parse_state, lines))
