"""Whether the running stunnel has read its files as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from f3s.parsing import UnknownOutput
from f3s.quoting import command, words
from facts.base import HostFact, marked
from facts.newer import SINCE_READ

# The pid file is as old as the daemon, the stamp as its last reload by us.
_SCRIPT = """\
( {}
pid={} stamp={}
if service stunnel onestatus >/dev/null 2>&1; then
    echo running
    for file in {}; do
        if [ -e "$file" ] && since_read "$file" "$pid" "$stamp"; then echo "unread $file"; fi
    done
else
    echo stopped
fi )"""


@dataclass(frozen=True)
class StunnelState:
    """`running`: as its rc script sees it; `unread`: files that changed since it started or was reloaded."""

    running: bool
    unread: tuple[str, ...] = ()


class Stunnel(HostFact[StunnelState]):
    """The daemon and its files.

    + pid_file: where the daemon writes its process id at its start
    + stamp: file that is touched before each reload
    + files: what it reads when it starts or is reloaded
    """

    @override
    def command(self, pid_file: str, stamp: str, files: Sequence[str]) -> str:
        return marked(command(_SCRIPT, SINCE_READ, pid_file, stamp, words(files)))

    @override
    def read(self, lines: list[str]) -> StunnelState:
        if lines == ["stopped"]:
            return StunnelState(running=False)
        if lines[:1] != ["running"] or not all(line.startswith("unread /") for line in lines[1:]):
            raise UnknownOutput(f"the state of stunnel is {lines!r}")
        return StunnelState(running=True, unread=tuple(line.removeprefix("unread ") for line in lines[1:]))
