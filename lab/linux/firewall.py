"""nft and runuser: a table that keeps other users from the local end of the tunnel, and a user who tries it."""

from __future__ import annotations

import os
import re

from lab.core import CommandError, Context

_GONE = "add table inet f3s; delete table inet f3s"
_RULES = re.compile(
    re.escape(_GONE) + r"; add table inet f3s \{ chain output \{ type filter hook output priority 0; policy accept; "
    r"ip daddr 127\.0\.0\.0/8 tcp dport (\d+) meta skuid != 0 reject with tcp reset; \}; \}"
)


def nft(ctx: Context) -> int:
    """nft(8) with such a table in one word."""
    match ctx.args:
        case [rules] if rules == _GONE or _RULES.fullmatch(rules):
            with ctx.cluster() as cluster:
                found = _RULES.fullmatch(rules)
                ctx.host(cluster).parts["closed port"] = int(found[1]) if found else None
        case _:
            raise ctx.not_simulated()
    return 0


def runuser(ctx: Context) -> int:
    """runuser(1): nobody connects to a port of loopback with bash, within a limit."""
    match ctx.args:
        case ["-u", "nobody", "--", "timeout", _, "bash", "-c", line] if port := re.fullmatch(
            r"exec 3<>/dev/tcp/127\.0\.0\.1/(\d+)", line
        ):
            if int(port[1]) == ctx.host(ctx.store.read()).parts.get("closed port"):
                raise CommandError("bash: connect: Connection refused")
            os.execvp(ctx.args[3], ctx.args[3:])
        case _:
            raise ctx.not_simulated()
