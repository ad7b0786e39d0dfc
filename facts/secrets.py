"""The state of secret files on a host, see f3s.secretfile."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.parsing import only_line, sections
from f3s.quoting import Shell, command
from f3s.secretfile import SecretState, parse_state
from facts.base import HostFact, marked, script


class SecretFile(HostFact[SecretState]):
    """The state of one file, `ABSENT` when there is none; not known of a link, a folder or a device.

    + path: absolute path
    """

    @override
    def command(self, path: str) -> str:
        return marked(script("stat-secret", path))

    @override
    def read(self, lines: list[str]) -> SecretState:
        return parse_state(only_line(lines, "the answer of stat-secret.sh"))


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


# A line of dashes ends what is public, so that nothing of a key behind a certificate that was cut off is shown.
_PUBLIC = Shell(
    "awk '/^-----/ { on = 0 } /^-----(BEGIN|END) (CERTIFICATE|X509 CRL)-----/ { on = ($0 ~ /BEGIN/); print; next } on'"
)


class Certificates(HostFact[dict[str, str]]):
    """Certificates and revocation lists in PEM, never a key, by path; without files that are not there or empty.

    + paths: absolute paths
    """

    @override
    def command(self, paths: Sequence[str]) -> str:
        look = "if [ -s {} ]; then echo '=== '{} && {} {}; fi"
        return marked(Shell(" && ".join(command(look, path, path, _PUBLIC, path) for path in paths)))

    @override
    def read(self, lines: list[str]) -> dict[str, str]:
        return {path: "\n".join([*text, ""]) for path, text in sections(lines).items()}
