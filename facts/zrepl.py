"""What zrepl says of its jobs, and whether replicas were written to."""

from __future__ import annotations

from typing_extensions import override

from f3s.quoting import command
from f3s.replication import parse_status
from f3s.zfs import parse_written
from f3s.zrepl import job_names
from facts.base import HostFact, marked


class Jobs(HostFact[dict[str, str | None]]):
    """The push jobs of the running zrepl, each with what it failed of last; None where no daemon answers."""

    @override
    def command(self) -> str:
        return marked(command("zrepl status --mode raw && echo"))

    @override
    def read(self, lines: list[str]) -> dict[str, str | None]:
        return parse_status("\n".join(lines))


class ConfiguredJobs(HostFact[tuple[str, ...]]):
    """The names of all jobs in zrepl's configuration, whoever wrote it; none where there is no such file."""

    @override
    def command(self, path: str) -> str:
        return marked(command("if [ -e {} ]; then cat {}; fi", path, path))

    @override
    def read(self, lines: list[str]) -> tuple[str, ...]:
        return job_names("\n".join(lines))


class Written(HostFact[dict[str, int]]):
    """Bytes in each dataset of a tree that no snapshot of it has, by dataset.

    + tree: a dataset that exists; it and all below are read

    `written` lags behind the writes until the pool is synced (observed), so that comes first.
    """

    @override
    def command(self, tree: str) -> str:
        pool = tree.partition("/")[0]
        get = "zfs get -Hp -r -t filesystem,volume -o name,value written {}"
        return marked(command(f"zpool sync {{}} && {get}", pool, tree))

    read = staticmethod(parse_written)
