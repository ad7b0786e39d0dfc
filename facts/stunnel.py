"""Whether the running stunnel has read its files as they are now."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.quoting import command, words
from f3s.stunnel import StunnelState, parse_stunnel
from facts.base import HostFact, marked
from facts.newer import SINCE_READ

# The pid file is as old as the daemon, the stamp as its last reload by us.
_SCRIPT = """\
( {}
pid={} stamp={}
if service stunnel onestatus >/dev/null 2>&1; then
    echo running
    for file in {}; do
        if [ -e "$file" ] && since_read "$file" "$pid" "$stamp"; then echo "stale $file"; fi
    done
else
    echo stopped
fi )"""


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
        return parse_stunnel(lines)
