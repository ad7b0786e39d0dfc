"""Whether the running stunnel has read its files as they are now, and who has a connection through it."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.connections import LOG_LINES, Connection, parse_connections
from f3s.parsing import only_line
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

    read = staticmethod(parse_stunnel)


_PASSING = """\
( pid={} file={} left=5
until [ "$(cat "$file" 2>/dev/null)" = "$pid" ] || ! sockstat -46lqw -P tcp,udp | grep -q " $pid "; do
    [ "$left" -gt 0 ] || {{ echo stays; exit; }}
    left=$((left - 1))
    sleep 5
done
echo passed )"""


class Passing(HostFact[bool]):
    """Whether a process that listens, and is not in a pid file, gets into it or ends within 25 s.

    A service that is just started or stopped is not in its pid file for a moment (seen on 15.1 under load).

    + pid_file: where the daemon writes its process id
    """

    @override
    def command(self, pid: int, pid_file: str) -> str:
        return marked(command(_PASSING, pid, pid_file))

    @override
    def read(self, lines: list[str]) -> bool:
        return only_line(lines, "the listener", "passed|stays") == "passed"


# The ends of the names of rotated logs are those of newsyslog.conf(5). Without the last line not all could be read.
_CONNECTIONS = """\
( echo '=== pid'; cat {} && echo '=== sockets' && sockstat -4cqw -P tcp && echo '=== log' &&
{{ for file in $(ls -tr /var/log/messages*); do
    case $file in
    *.gz) gzip -dc "$file" ;;
    *.bz2) bzip2 -dc "$file" ;;
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -dc "$file" ;;
    *) cat "$file" ;;
    esac || exit
done; echo '=== whole'; }} | grep -aE -e {} -e '^=== whole$' )"""


class TunnelConnections(HostFact[tuple[Connection, ...]]):
    """The open connections of a running stunnel's service, and whose they are as far as /var/log/messages tells.

    + pid_file: where the daemon wrote its process id
    + listens: address and port of the service
    """

    @override
    def command(self, pid_file: str, listens: str, service: str) -> str:
        self._where = listens, service
        return marked(command(_CONNECTIONS, pid_file, LOG_LINES))

    @override
    def read(self, lines: list[str]) -> tuple[Connection, ...]:
        return parse_connections(lines, *self._where)
