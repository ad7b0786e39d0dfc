"""The protocol that every fact of this project follows.

pyinfra calls `process` only if a command printed something, and returns `default()` if a command failed: with an empty
default a failed command would look like a host without pools. So a command ends with a marker line once all of it has
succeeded, the default is None, and None means unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar, cast

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

from f3s import quoting
from f3s.parsing import SECTION, NoAnswer, UnknownOutput
from f3s.quoting import Shell, as_word, command, one_line

T = TypeVar("T")
END = "=== end"
SILENT = "=== silent"
DEVICE_SECONDS = 60
"""For a question to a disk. A stick that is only slow has answered by then, even on an emulated machine that starts
four programs a second. One whose reads the kernel retries for ever never does (seen)."""
FILES = Path(__file__).parent.parent / "files"


def script(name: str, *arguments: str | int) -> Shell:
    """The command that runs a program of files/once/ with its arguments, without leaving it on the host."""
    return quoting.script((FILES / "once" / f"{name}.sh").read_text(), name, *arguments)


def marked(body: Shell) -> str:
    """The command with its end marker, which is printed only when the body succeeded. C locale: we parse."""
    return command("export LC_ALL=C; {{ {}; }} && echo {}", one_line(body), END)


def bounded(seconds: int, body: Shell) -> Shell:
    """The command, ended or left behind after so many seconds; its status is then 124.

    For commands that wait for a disk: in the kernel a process may ignore every signal. pyinfra's own `_timeout` would
    leave it behind, too, but would say neither which disk did not answer nor what to do.
    """
    program = f'{(FILES / "freebsd" / "bounded.sh").read_text()}\nexec 8<&0\nBOUNDED_ENDS=\nbounded "$@"\n'
    return command("{} sh -c {}", quoting.script(program, "bounded", seconds), as_word(body))


class HostFact(FactBase[T | None], Generic[T]):
    """A fact that is None if the answer is unknown. Subclasses use `marked`, and `read` is mostly a parser of f3s."""

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


class DeviceFact(HostFact[T]):
    """A fact that a disk may never answer; it is then a NoAnswer. Subclasses use `asked` and implement `silence`."""

    abstract = True

    @staticmethod
    def asked(body: Shell) -> str:
        """As `marked`, within DEVICE_SECONDS; the output by then shows who was asked last."""
        answers = "case $? in 0) echo {} ;; 124) echo {} ;; *) false ;; esac"
        return command(f"export LC_ALL=C; {{}}; {answers}", bounded(DEVICE_SECONDS, body), END, SILENT)

    def silence(self, lines: list[str]) -> tuple[str, str]:
        """Who did not answer, from what was printed by then, and what to do about it."""
        raise NotImplementedError

    @override
    def process(self, output: list[str]) -> T | None:
        if output[-1:] != [SILENT]:
            return super().process(output)
        who, next_step = self.silence(output[:-1])
        last = [line.removeprefix(SECTION) for line in output[:-1] if line.startswith(SECTION)][-1:]
        asked = f" (asked last: {last[0]})" if last else ""
        # every way of operations.base to ask knows of it
        return cast(T, NoAnswer(f"{who} did not answer within {DEVICE_SECONDS} s{asked}", next_step))
