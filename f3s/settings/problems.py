"""What is wrong with the data of a site, in one line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SITE = "site"
"""In place of a host's name if a problem belongs to no single host."""

HIDDEN = "(hidden)"
"""In place of a value that must not be printed."""


@dataclass(frozen=True, order=True)
class Problem:
    """One refused value.

    + host: the inventory name of the host, or ``site``
    + variable: the name as it is written in inventory.py or group_data/
    + value: the refused value as Python shows it, or ``(not set)``
    + wrong: what is wrong with it
    + allowed: what would be accepted
    """

    host: str
    variable: str
    value: str
    wrong: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.host}: {self.variable} = {self.value}: {self.wrong}; allowed: {self.allowed}"


class SettingsError(Exception):
    """The data is not usable. ``problems`` holds every reason, sorted and without repetition."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        count = len(self.problems)
        head = f"{count} {'problem' if count == 1 else 'problems'} in inventory.py or group_data:"
        super().__init__("\n  ".join([head, *map(str, self.problems)]))
