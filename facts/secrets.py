"""What a secret file on a host is, told by its digest: a fact's value is printed and logged, so never the content."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from facts.base import script


@dataclass(frozen=True)
class SecretState:
    """A plain file: permission bits in octal without a leading zero, owner, group, SHA-256 in hex."""

    mode: str
    user: str
    group: str
    sha256: str


ABSENT = SecretState(mode="", user="", group="", sha256="")
"""There is no such file."""

FILE_LINE = re.compile(r"file (?P<mode>[0-7]{1,4}) (?P<user>\S+) (?P<group>\S+) (?P<sha256>[0-9a-f]{64})")


class SecretFile(FactBase[SecretState | None]):
    """The state of one file, `ABSENT` when there is none, None when it could not be found out.

    :raises FactProcessError: it is a link, a folder or a device, or the answer is not one that stat-secret.sh gives
    """

    def command(self, path: str) -> str:
        return script("stat-secret", path)

    def process(self, output: list[str]) -> SecretState:
        if output == ["absent"]:
            return ABSENT
        if output == ["other"]:
            raise FactProcessError("the path of a secret is not a plain file: look at it and move it away")
        match = FILE_LINE.fullmatch(output[0]) if len(output) == 1 else None
        if match is None:
            raise FactProcessError(f"stat-secret.sh answered {output!r}")
        return SecretState(**match.groupdict())
