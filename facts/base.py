"""The protocol that every fact of this project follows.

pyinfra calls `process` only when a command printed something, and hands out `default()` where a command
failed: with an empty default a failed command would look like a host without pools. So a command ends with a
marker line once all of it succeeded, nothing at all is the default None, and None means unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

from f3s import quoting
from f3s.parsing import UnknownOutput
from f3s.quoting import Shell, command, one_line

T = TypeVar("T")
END = "=== end"
FILES = Path(__file__).parent.parent / "files"


def script(name: str, *arguments: str | int) -> Shell:
    """The command that runs a program of files/ with its arguments, without leaving it on the host."""
    return quoting.script((FILES / f"{name}.sh").read_text(), name, *arguments)


def marked(body: Shell) -> str:
    """The command with its end marker, which is printed only when the body succeeded. C locale: we parse."""
    return command("export LC_ALL=C; {{ {}; }} && echo {}", one_line(body), END)


class HostFact(FactBase[T | None], Generic[T]):
    """A fact that is None where the answer is unknown. Subclasses implement `read` and use `marked`."""

    abstract = True

    def read(self, lines: list[str]) -> T:
        """Parse the output; raises UnknownOutput on a form that it does not know."""
        raise NotImplementedError

    @override
    def process(self, output: list[str]) -> T | None:
        if not output or output[-1] != END:
            raise FactProcessError(f"the output does not end with the end marker: {output[-1:]!r}")
        try:
            return self.read(output[:-1])
        except UnknownOutput as error:
            raise FactProcessError(str(error)) from error
