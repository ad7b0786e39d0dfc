"""Command lines of zfs and zpool, as FreeBSD's getopt(3) reads them; what is not in a table is refused."""

from __future__ import annotations

import contextlib
import getopt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.core import CommandError, Context
from lab.zfs import mounting
from lab.zfs.model import Node, only

MANY = 1000
"""Most operands of a command that takes any number."""


@dataclass(frozen=True)
class Arguments:
    """Parsed options and operands.

    :param options: (letter, value or empty), in order
    """

    options: list[tuple[str, str]]
    operands: list[str]

    def has(self, letter: str) -> bool:
        return any(name == letter for name, _ in self.options)

    def value(self, letter: str) -> str | None:
        """The last value given for an option."""
        found = self.values(letter)
        return found[-1] if found else None

    def values(self, letter: str) -> list[str]:
        return [value for name, value in self.options if name == letter]

    def assignments(self, letter: str) -> dict[str, str]:
        """The ``name=value`` words of an option."""
        return dict(split(word) for word in self.values(letter))


Run = Callable[[Context, Node, Arguments], int | None]
"""Gives the exit status; None is 0."""


@dataclass(frozen=True)
class Command:
    """A subcommand.

    :param options: getopt(3) string of what is simulated
    :param operands: fewest and most
    :param writes: runs with the state locked
    """

    run: Run
    options: str = ""
    operands: tuple[int, int] = (1, 1)
    writes: bool = True


def parse(ctx: Context, options: str, operands: tuple[int, int]) -> Arguments:
    """Splits what comes after the subcommand."""
    try:
        pairs, rest = getopt.getopt(ctx.args[1:], options)
    except getopt.GetoptError as error:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} ({error})") from None
    least, most = operands
    if not least <= len(rest) <= most:
        raise ctx.not_simulated()
    return Arguments([(name[1:], value) for name, value in pairs], rest)


def split(word: str) -> tuple[str, str]:
    """Name and value of ``name=value``."""
    name, equals, value = word.partition("=")
    only(bool(equals), f"{word} without a value")
    return name, value


def run(ctx: Context, command: Command, args: Arguments) -> int:
    """Runs a subcommand, what writes with the state locked."""
    if not command.writes:
        cluster = ctx.store.read()
        return command.run(ctx, Node(ctx.store, cluster, ctx.host(cluster)), args) or 0
    with changing(ctx) as node:
        return command.run(ctx, node, args) or 0


@contextlib.contextmanager
def changing(ctx: Context) -> Iterator[Node]:
    """The state, locked; what was changed before a failure stays changed."""
    failure: CommandError | None = None
    with ctx.cluster() as cluster:
        node = Node(ctx.store, cluster, ctx.host(cluster))
        try:
            yield node
        except CommandError as error:
            failure = error
        mounting.link_volumes(node)
    if failure:
        raise failure


def each(ctx: Context, problems: list[CommandError]) -> int:
    """Reports what went wrong with single datasets or pools."""
    for problem in problems:
        ctx.err(problem.message + "\n")
    return 1 if problems else 0
