"""Has a file changed since it was last read? Seen on the host, so that a run that was killed in between is no loss."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.parsing import UnknownOutput
from f3s.quoting import command, words
from facts.base import HostFact, marked

_SCRIPT = """\
( file={}
answer=read
if [ -e "$file" ]; then
    answer=newer
    for mark in {}; do
        if [ -e "$mark" ] && ! [ "$file" -nt "$mark" ]; then answer=read; fi
    done
fi
echo "$answer" )"""


class Newer(HostFact[bool]):
    """Whether a file is there and newer than every mark that is there.

    + path: a configuration file
    + marks: files that are written whenever it is read, such as the pid file of its daemon
    """

    @override
    def command(self, path: str, marks: Sequence[str]) -> str:
        return marked(command(_SCRIPT, path, words(marks)))

    @override
    def read(self, lines: list[str]) -> bool:
        if lines not in (["newer"], ["read"]):
            raise UnknownOutput(f"newer or read, not {lines}")
        return lines == ["newer"]
