"""Has a file changed since it was last read? The host's own state decides, so a run after a killed one catches up.

The times of files decide. A clock that was ahead at boot and was stepped back leaves marks from the future, which would
hide every change until then. So such a mark does not count; the next reading makes a new one.
"""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.parsing import only_line
from f3s.quoting import Shell, command, words
from facts.base import HostFact, marked

# find(1) takes relative times (usr.bin/find/getdate.y); two seconds, as a mark may have been made just now. Where it
# fails, `exit` ends the subshell in which it is used, and the fact is unknown. A missing mark is asked for, as `-nt`
# with one is false in FreeBSD's sh and true in bash.
SINCE_READ = Shell("""\
since_read() {
    changed=$1
    shift
    for mark; do
        [ -e "$mark" ] || continue
        ahead=$(find "$mark" -prune -newermt '2 seconds') || exit
        if [ -z "$ahead" ] && ! [ "$changed" -nt "$mark" ]; then return 1; fi
    done
    return 0
}""")
"""sh function `since_read FILE MARK...`: FILE, which is there, is newer than every mark that counts."""
_SCRIPT = """\
( {}
file={}
if [ -e "$file" ] && since_read "$file" {}; then echo newer; else echo read; fi )"""


class Newer(HostFact[bool]):
    """Whether a file is there and newer than every mark that is there.

    + path: a configuration file
    + marks: files that are written whenever it is read, such as the pid file of its daemon
    """

    @override
    def command(self, path: str, marks: Sequence[str]) -> str:
        return marked(command(_SCRIPT, SINCE_READ, path, words(marks)))

    @override
    def read(self, lines: list[str]) -> bool:
        return only_line(lines, "what is newer", "newer|read") == "newer"
