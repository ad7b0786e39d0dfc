"""The storage pair and its client in a story: their state, and steps that several stories share."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from f3s.carp import CarpState
from f3s.controller import FAILBACK_LOG, Status, parse_status
from f3s.parsing import UnknownOutput
from scenarios.stage import CannotError, Ran
from scenarios.story import NotSoError, Story

TAKEOVER = {"timers": 5.0, "work": 2.0}
"""A standby hears nothing for 3 advertisements and its own skew: 3.4 s; seen were 2 to 4."""
SERVING = {"timers": 5.0, "work": 5.0}
"""The controller of a host whose services run already asks them."""
HEALED = {"timers": 15.0, "work": 10.0}
"""The monitor's timer, every 10 s, and the time that a run may take."""
REPLICATED = {"timers": 130.0, "work": 10.0}
"""A replication is due every minute, and one may be under way."""
READY = {"timers": 75.0, "work": 10.0}
"""The controller looks every minute."""
FAILBACK = {"timers": 300.0, "work": 60.0}
"""A replication after the boot, which is due every minute, then the next minute of cron."""
FOUND = {"timers": 110.0, "work": 30.0}
"""The next minute of cron, the patience with what is silent, and a restart."""
STAYS_SECONDS = 180.0
GRACE_SECONDS = 135.0
"""After its nfsd's start in a boot a host may let nobody open a file for so long (docs/day-two.md)."""
OPENED = {"timers": GRACE_SECONDS + 60, "work": 60.0}
"""The end of that, and the client's next attempt."""


@dataclass
class Pair:
    """Primary, standby and the client of a story."""

    story: Story

    def __post_init__(self) -> None:
        cast = self.story.cast
        self.primary, self.standby, self.client = cast.primary, cast.standby, cast.client
        self.hosts = (self.primary, self.standby)

    # -- looking --

    def state(self, host: str) -> str:
        """The CARP state of a host, ``down`` for one without power."""
        if not self.story.stage.is_up(host):
            return "down"
        words = self.story.attempt(host, "carp 2>/dev/null").output.split()
        return words[0] if words else "unknown"

    def status(self, host: str) -> Status:
        """What f3s_storage says; nothing where the host does not answer."""
        said = self.story.attempt(host, "service f3s_storage status").output.splitlines()
        self.story.seen = f"{host} says {', '.join(said) or 'nothing'}"
        try:
            return parse_status(said)
        except UnknownOutput:
            return Status()

    def serves(self, host: str) -> bool:
        """MASTER, and all that serves answers."""
        status = self.status(host)
        return status.right and status.carp is CarpState.MASTER

    def stands_by(self, host: str) -> bool:
        """BACKUP, and all that serves answers."""
        status = self.status(host)
        return status.right and status.carp is CarpState.BACKUP

    def has(self, host: str, path: str, content: str) -> bool:
        """A storage host has a file with that line."""
        ran = self.story.attempt(host, f"cat {path}")
        return (ran.rc, ran.output) == (0, f"{content}\n")

    def asks(self, client: str, script: str) -> Ran:
        """A shell line on a client, bounded: a hard mount would wait for a dead server."""
        return self.story.attempt(client, f"timeout {math.ceil(3 * self.story.stage.slow)} sh -c '{script}'")

    def reads(self, client: str, name: str, content: str) -> bool:
        ran = self.asks(client, f"cat {self.story.cast.mountpoint}/{name}")
        return (ran.rc, ran.output) == (0, f"{content}\n")

    def one_master(self) -> str | None:
        """The host that is MASTER and serves while the other one is BACKUP; None if it is not so."""
        states = {host: self.state(host) for host in self.hosts}
        self.story.seen = str(states)
        if sorted(states.values()) != ["BACKUP", "MASTER"]:
            return None
        master = next(host for host, state in states.items() if state == "MASTER")
        return master if self.serves(master) else None

    def other(self, what_for: str) -> str:
        """Another client than the one of the story, which is up.

        :raises CannotError: the site has no other
        """
        stage, others = self.story.stage, self.story.cast.others
        if not others:
            raise CannotError(f"the site has one client, and {what_for}")
        if not stage.is_up(others[0]):
            stage.boot(others[0])
        return others[0]

    # -- steps --

    def opening(self) -> Pair:
        """All is well, and what the client wrote has reached the standby; returns the pair."""
        story = self.story
        story.within(f"{self.primary} is MASTER and serves", lambda: self.serves(self.primary), timers=60, work=30)
        story.within(f"{self.standby} stands by", lambda: self.stands_by(self.standby), timers=60, work=30)
        self.has_the_share(self.client)
        self.writes("before", "written before")
        return self

    @contextlib.contextmanager
    def watched(self, *clients: str) -> Iterator[Pair]:
        """As `Story.watched`, from the moment when the standby has the files that the probes read."""
        share, names = self.story.cast.share, clients or (self.client,)
        with self.story.watched(*names):
            self.story.within(
                f"what the probe reads is on {self.standby}",
                lambda: (
                    self.story.attempt(self.standby, f"ls {share}/.f3s-probe-*.fixed | wc -l").output.split()
                    == [str(len(names))]
                ),
                **REPLICATED,
            )
            yield self
        for name, report in zip(names, self.story.reports, strict=False):
            if report.read_errors or report.remounted:
                log = "journalctl -t check-nfs-mount --no-pager -n 12 -o cat"
                self.story.say(f"what {name}'s monitor did: {self.story.attempt(name, log).output}")

    def has_the_share(self, client: str) -> None:
        self.story.within(
            f"{client} has the share mounted",
            lambda: self.story.attempt(client, "check-nfs-mount.sh --status").rc == 0,
            timers=60,
            work=30,
        )

    def writes(self, name: str, content: str) -> None:
        """The client writes a file, which reaches the standby."""
        path = f"{self.story.cast.mountpoint}/{name}"
        self.story.within(
            f'{self.client} writes "{content}"',
            lambda: self.asks(self.client, f"echo {content} >{path}").rc == 0,
            **HEALED,
        )
        self.story.within(
            f"it is on {self.standby}: a replication a minute",
            lambda: self.has(self.standby, f"{self.story.cast.share}/{name}", content),
            **REPLICATED,
        )

    def client_reads(self) -> None:
        self.story.within(
            f"{self.client} reads what was written before",
            lambda: self.reads(self.client, "before", "written before"),
            **HEALED,
        )

    def standby_serves(self, *, at_once: bool = False) -> None:
        """The standby has the address, serves, and the client reads from it.

        :param at_once: it was given the address
        """
        limit = {"timers": 1.0, "work": 2.0} if at_once else TAKEOVER
        self.story.within(f"{self.standby} is MASTER", lambda: self.state(self.standby) == "MASTER", **limit)
        self.story.within(f"{self.standby} serves", lambda: self.serves(self.standby), **SERVING)
        self.client_reads()
        said = self.asks(self.client, f"touch {self.story.cast.mountpoint}/stray")
        self.story.prove(
            said.rc != 0 and "Read-only file system" in said.output,
            f"{self.client} cannot write: Read-only file system",
        )

    def primary_serves(self, timers: float = 2, work: float = 2) -> None:
        """The primary has the address again within that time, the standby stands by, and the client writes."""
        self.story.within(
            f"{self.primary} is MASTER again", lambda: self.state(self.primary) == "MASTER", timers=timers, work=work
        )
        self.story.within(f"{self.primary} serves", lambda: self.serves(self.primary), **SERVING)
        self.story.within(f"{self.standby} stands by", lambda: self.stands_by(self.standby), **SERVING)
        self.client_reads()
        self.writes("after", "written after")

    def failback_by_cron(self) -> None:
        """The primary takes the address back by itself, and says why."""
        self.primary_serves(**FAILBACK)
        self.story.say(f"the log says why: {self.failback_decisions('failback: MASTER, and claims')[-1]}")

    def failback_decisions(self, text: str) -> list[str]:
        """The lines of the failback's log with that text, without their time.

        :raises NotSoError: there is none
        """
        lines = [line[20:] for line in self.story.on(self.primary, f"cat {FAILBACK_LOG}").splitlines()]
        found = [line for line in lines if re.search(text, line)]
        if not found:
            raise NotSoError(f"no '{text}' in {FAILBACK_LOG} of {self.primary}: {lines[-3:]}")
        return found

    def stays(self, reason: str) -> None:
        """The primary does not take the address back for three minutes, and says why.

        :param reason: a regular expression
        """
        self.story.stage.wait(STAYS_SECONDS)
        self.story.prove(self.state(self.primary) == "BACKUP", f"three minutes later {self.primary} is still BACKUP")
        self.story.prove(self.serves(self.standby), f"{self.standby} still serves")
        self.story.say(f"the log says why: {self.failback_decisions(reason)[-1]}")

    def loses_power(self, host: str) -> None:
        self.story.stage.power_cut(host)
        self.story.say(f"{host} loses power")

    def boots(self, *hosts: str) -> None:
        """They boot at the same time."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.story.stage.boot, hosts))
        for host in hosts:
            self.story.prove(self.story.stage.is_up(host), f"{host} has booted")

    def fails_over(self) -> None:
        """The primary loses power, and the standby serves."""
        self.loses_power(self.primary)
        self.standby_serves()

    def comes_back(self) -> None:
        """The primary boots, and takes the address back by itself."""
        self.boots(self.primary)
        self.failback_by_cron()

    def loads_its_keys(self, host: str) -> None:
        """The stick is back, and the operator does what the runbook says."""
        self.story.stage.stick(host, "in")
        self.story.say(f"the stick of {host} is plugged in again")
        self.story.types(host, "service f3skeys onerestart && service zfskeys onestart")

    def verdict(self, check: str, host: str) -> tuple[str, str, str]:
        """What verify says of something: state, reason and next step.

        :param check: the name of the row
        :param host: short name
        :raises NotSoError: it has no such row
        """
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "verify.json"
            ran = self.story.stage.pyinfra("tasks/verify.py", "-y", "--data", f"verify_json={file}")
            if not file.exists():
                raise NotSoError(f"tasks/verify.py did not come to an end:\n{ran.output[-4000:]}")
            rows = json.loads(file.read_text())["rows"]
        for row in rows:
            if row["check"] == check and row["host"].partition(".")[0] == host:
                return row["state"], row["reason"], row["next_step"]
        raise NotSoError(f"verify has no row '{check}' of {host}")

    def takes_the_way_out(self, step: str) -> None:
        """What verify says of a replica that has diverged is done.

        :raises NotSoError: it names no run of tasks/zrepl.py
        """
        way_out = re.search(r"pyinfra inventory\.py (tasks/zrepl\.py .*)$", step)
        self.story.prove(way_out is not None, f"verify names the way out: {step}")
        assert way_out is not None
        self.story.deploys(*shlex.split(way_out[1]), "-y")
