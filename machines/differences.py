"""Where the simulated cluster answers otherwise than the machines, with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.replay import Command


@dataclass(frozen=True)
class Accepted:
    """One difference.

    :param command: regular expression that is found in the command
    :param section: of the recording; any where empty
    """

    command: str
    reason: str
    section: str = ""

    def covers(self, command: Command) -> bool:
        """Whether it is that command."""
        return self.section in ("", command.section) and re.search(self.command, command.cmd) is not None


ACCEPTED: tuple[Accepted, ...] = ()
