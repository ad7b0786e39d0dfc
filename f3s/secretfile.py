"""What a file with a secret is, told by its digest: what a fact returns is printed and logged, so never the content."""

from __future__ import annotations

import re
from dataclasses import dataclass

from f3s.parsing import UnknownOutput, matched


@dataclass(frozen=True)
class SecretState:
    """A plain file: permission bits in octal without a leading zero, owner, group, SHA-256 in hex."""

    mode: str
    user: str
    group: str
    sha256: str

    @property
    def private(self) -> bool:
        """Neither its group nor others may do anything with it."""
        return int(self.mode, 8) & 0o077 == 0


ABSENT = SecretState(mode="", user="", group="", sha256="")
"""There is no such file."""

_FILE_LINE = re.compile(r"file (?P<mode>[0-7]{1,4}) (?P<user>\S+) (?P<group>\S+) (?P<sha256>[0-9a-f]{64})")


def parse_state(line: str) -> SecretState:
    """Read a line of files/once/stat-secret.sh; raises UnknownOutput on other ones, and where it is no plain file."""
    if line == "absent":
        return ABSENT
    if line == "other":
        raise UnknownOutput("the path is not that of a plain file: look at it and move it away")
    return SecretState(**matched(_FILE_LINE, line, "stat-secret.sh answered").groupdict())
