"""The one place that builds commands: the words of the program are code, all else is a quoted value.

What is built for a host is one line without `!x`: csh, the login shell of root up to FreeBSD 13, takes a quoted
argument of several lines apart and puts its history in for `!x`, in quotes, too (seen with tcsh 6.24: `Unmatched '`,
`Event not found.`).
"""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Iterable

_FOLDED = re.compile(r"\n|!\S")


class UnsafeValue(ValueError):
    """A value that must not become part of a command."""


class Shell(str):
    """Text that is shell syntax already, as `command` returns it; it is inserted without quoting."""


def argument(value: str | int) -> str:
    """Quote one value for a POSIX shell.

    Raises UnsafeValue for None, booleans and other types (a mistake in the caller) and for control
    characters other than tab, which no name, path or setting of ours has.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnsafeValue(f"a command takes text and whole numbers, not {value!r}")
    text = str(value)
    if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in text):
        raise UnsafeValue(f"control character in a value of a command: {text!r}")
    return _word(text)


def command(template: str, *values: str | int) -> Shell:
    """Build a shell command: `command("zfs create -o mountpoint={} {}", path, dataset)`.

    template: shell syntax, written in the source; `{}` stands for a value, `{{` and `}}` for braces.
    values: one for each `{}`; quoted, a Shell value is inserted as it is.

    Raises UnsafeValue where a value that begins a word starts with `-` (a program would take it for an
    option) and ValueError where placeholders and values do not match or a placeholder stands in quotes.
    """
    parts: list[str] = []
    syntax = ""
    left = list(values)
    for literal, field, spec, conversion in string.Formatter().parse(template):
        parts.append(literal)
        syntax += literal
        if field is None:
            continue
        if field or spec or conversion:
            raise ValueError(f"only plain {{}} placeholders are allowed in a command: {template}")
        if not left:
            raise ValueError(f"too few values for the command: {template}")
        value = left.pop(0)
        before = "".join(parts)[-1:]
        if syntax.count("'") % 2 or syntax.count('"') % 2:
            raise ValueError(f"a placeholder must not stand in quotes, values are quoted here: {template}")
        if isinstance(value, Shell):
            parts.append(value)
            continue
        if before in ("", " ", "\n", "(", ";", "|", "&") and str(value).startswith("-"):
            raise UnsafeValue(f"a value must not look like an option: {value!r} in {template}")
        parts.append(argument(value))
    if left:
        raise ValueError(f"too many values for the command: {template}")
    return Shell("".join(parts))


def one_line(program: Shell) -> Shell:
    """The same program as one line, run by the same shell."""
    return Shell(f"eval {_word(program)}") if _FOLDED.search(program) else program


def script(text: str, name: str, *arguments: str | int) -> Shell:
    """Build the command that runs a whole program with arguments, without leaving it on the host.

    text: of the program
    name: by which it calls itself in messages
    """
    return command("sh -c {} {}", Shell(_word(text)), words([name, *arguments]))


def as_word(program: Shell) -> Shell:
    """A program as one word, as `sh -c` takes it."""
    return Shell(_word(program))


def _word(text: str) -> str:
    """One word for a POSIX shell, in one line; newlines at the end of a folded text are lost (printf(1): %b)."""
    if not _FOLDED.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("!", "\\0041")
    return f'"$(printf %b {shlex.quote(escaped)})"'


def words(values: Iterable[str | int]) -> Shell:
    """Several operands, each a word of its own; each checked as in `command`."""
    return Shell(" ".join(command("{}", value) for value in values))


def option_words(flag: str, values: Iterable[str]) -> Shell:
    """The same option once for each value: `option_words("-o", ["a=b"])` gives `-o a=b`."""
    return Shell(" ".join(f"{flag} {argument(value)}" for value in values))
