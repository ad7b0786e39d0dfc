"""Command lines of zfs and zpool: options first, as FreeBSD's getopt(3) reads them."""

from __future__ import annotations

from lab.core import CommandError, NotSimulatedError

USAGE = 2


class UsageError(CommandError):
    """The arguments are wrong: message, then the subcommand's usage, status 2."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(f"{message}\nusage:\n\t{usage}", USAGE)


class Arguments:
    """Parsed options and operands.

    :ivar options: (letter, value or empty), in order
    """

    def __init__(self, options: list[tuple[str, str]], operands: list[str]) -> None:
        self.options = options
        self.operands = operands

    def has(self, letter: str) -> bool:
        return any(name == letter for name, _ in self.options)

    def value(self, letter: str) -> str | None:
        """The last value given for an option."""
        found = [value for name, value in self.options if name == letter]
        return found[-1] if found else None

    def values(self, letter: str) -> list[str]:
        return [value for name, value in self.options if name == letter]


def parse(command: str, args: list[str], known: str, usage: str, missing: str = "") -> Arguments:
    """Splits a subcommand's arguments.

    :param known: getopt(3) string of what is simulated
    :param missing: options that ZFS has and the lab has not
    :raises UsageError: an option that ZFS does not have
    :raises NotSimulatedError: one of ``missing``
    """
    options: list[tuple[str, str]] = []
    at = 0
    while at < len(args) and args[at].startswith("-") and args[at] != "-":
        word = args[at]
        at += 1
        if word == "--":
            break
        if word.startswith("--"):
            raise NotSimulatedError(f"{command} {word}")
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            if letter in missing and letter != ":":
                raise NotSimulatedError(f"{command} -{letter}")
            where = known.find(letter)
            if where < 0 or letter == ":":
                raise UsageError(f"invalid option '{letter}'", usage)
            if known[where + 1 : where + 2] != ":":
                options.append((letter, ""))
                continue
            if not rest and at >= len(args):
                raise UsageError(f"missing argument for '{letter}' option", usage)
            if not rest:
                rest = args[at]
                at += 1
            options.append((letter, rest))
            break
    return Arguments(options, args[at:])


def assignments(words: list[str], usage: str) -> dict[str, str]:
    """``name=value`` words of -o.

    :raises UsageError: without ``=``, or the same name twice
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError("missing '=' for property=value argument", usage)
        if name in found:
            raise UsageError(f"property '{name}' specified multiple times", usage)
        found[name] = value
    return found
