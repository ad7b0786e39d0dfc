"""What the lab keeps of a running zrepl."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.core import Host
from lab.rc.scripts import processes
from lab.zrepl.config import Config, Sink

CONTROL = "/var/run/zrepl/control"


@dataclass
class Filesystem:
    """What a run did with one file system.

    :param whole: all of it was sent, not only what is new
    """

    name: str
    error: str = ""
    whole: bool = False


@dataclass
class Run:
    """The latest replication of a job.

    :param finished: virtual seconds since the epoch
    :param paused: it is under way, and goes on at `finished`
    """

    finished: float
    error: str = ""
    filesystems: list[Filesystem] = field(default_factory=list)
    paused: bool = False

    @property
    def state(self) -> str:
        if self.paused:
            return "fan-out-filesystems"
        if self.error:
            return "planning-error"
        return "filesystem-error" if any(each.error for each in self.filesystems) else "done"


@dataclass
class Job:
    """A push job of a running daemon."""

    run: Run | None = None
    snapshot_error: str = ""


@dataclass
class Daemon:
    """:param number: of this start, so that what an earlier one had planned is not done"""

    config: Config
    number: int
    jobs: dict[str, Job] = field(default_factory=dict)


def running(host: Host) -> Daemon | None:
    """The host's daemon, if it runs."""
    if not host.up or not processes(host).get("zrepl"):
        return None
    found = host.parts.get("zrepl")
    return found if isinstance(found, Daemon) else None


def sink_at(host: Host, address: str, port: str) -> Sink | None:
    """The sink of a running daemon that listens there."""
    daemon = running(host)
    for sink in daemon.config.sinks if daemon else ():
        listen, _, own = sink.listen.rpartition(":")
        if own == port and listen in ("", "0.0.0.0", address):
            return sink
    return None
