"""Telling a story: proven steps, bounded waits, and what a client noticed meanwhile."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from scenarios.stage import Cast, Ran, Report, Stage, StageError


class NotSoError(Exception):
    """A step did not go as told; the text is the whole message."""


@dataclass(frozen=True)
class Expect:
    """The most that a client may notice. Acknowledged lines are never lost, and none lands on the client's own disk.

    :param pause: seconds that a reading program may have to wait; None: the story has no such measure
    """

    pause: float | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.pause is None:
            return self.text
        before = f"{self.text}, " if self.text else ""
        return f"{before}pause <= {self.pause:g} s, no error, no remount, no line lost or astray"


STEPS = Expect(None, "every step as told, no line lost or astray")
"""For a stage whose pauses come from a model."""


@dataclass
class Story:
    """One story on a stage, from an intact cluster.

    :param reports: what clients noticed; filled by `watched`
    :param seen: what a condition saw last, told where it never becomes true
    """

    stage: Stage
    expect: Expect
    tell: Callable[[str], None] = print
    reports: list[Report] = field(default_factory=list)
    seen: str = ""

    def __post_init__(self) -> None:
        self.began = self.stage.now()

    @property
    def cast(self) -> Cast:
        return self.stage.cast

    # -- telling --

    def say(self, text: str) -> None:
        """A step that has been proven."""
        self.tell(f"  {self.stage.now() - self.began:7.1f} s  {text}")

    def prove(self, proven: bool, what: str) -> None:
        """
        :raises NotSoError: it is not so
        """
        if not proven:
            raise NotSoError(f"not so: {what}")
        self.say(what)

    def within(self, what: str, condition: Callable[[], bool], *, timers: float = 0, work: float = 0) -> float:
        """Waits until it is so; returns the seconds that it took.

        :param timers: seconds that clocks take: advertisements, intervals, cron
        :param work: seconds that programs take on ordinary hardware
        :raises NotSoError: it did not become so
        """
        limit = timers + work * self.stage.slow
        begin, self.seen = self.stage.now(), ""
        while not condition():
            if self.stage.now() - begin >= limit:
                raise NotSoError(f"not within {limit:.0f} s: {what}; {self.seen}".removesuffix("; "))
            self.stage.wait(max(1.0, min(10.0, limit / 15)))
        self.say(what)
        return self.stage.now() - begin

    # -- acting and looking --

    def attempt(self, host: str, script: str) -> Ran:
        """A shell line as root, whatever its result."""
        return self.stage.run(host, script)

    def on(self, host: str, script: str, *, timeout: float = 60) -> str:
        """What a shell line as root prints.

        :raises NotSoError: it failed
        """
        ran = self.stage.run(host, script, timeout=timeout)
        if ran.rc != 0:
            raise NotSoError(f"on {host}: {script}: exit status {ran.rc}\n{ran.output}")
        return ran.output

    def types(self, host: str, command: str) -> None:
        """Somebody runs a command."""
        self.on(host, command)
        self.say(f"{host}: {command}")

    def while_running(self, act: Callable[[], Ran], until: Callable[[], bool], then: Callable[[], None]) -> Ran:
        """Starts something long, and does something else in the middle of it; returns how it ended.

        :param until: when the middle has come; asked every second
        :raises NotSoError: it ended before that
        """
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(act)
            while not until():
                if running.done():
                    raise NotSoError(
                        f"it ended too early, with exit status {running.result().rc}:\n{running.result().output}"
                    )
                self.stage.wait(1)
            then()
            return running.result()

    def deploys(self, *words: str) -> str:
        """A run of pyinfra that succeeds; what it prints.

        :raises NotSoError: it failed
        """
        ran = self.stage.pyinfra(*words)
        if ran.rc != 0:
            raise NotSoError(f"pyinfra {' '.join(words)}: exit status {ran.rc}\n{ran.output[-16000:]}")
        self.say(f"controller: pyinfra {' '.join(words)}")
        return ran.output

    def refused(self, *words: str, because: str) -> str:
        """A run of pyinfra that fails with a reason; the line that says it.

        :param because: a regular expression
        :raises NotSoError: it succeeded, or says something else
        """
        ran = self.stage.pyinfra(*words)
        said = re.search(rf"^.*{because}.*$", ran.output, re.MULTILINE)
        if ran.rc == 0 or said is None:
            raise NotSoError(f"pyinfra {' '.join(words)}: exit status {ran.rc}, no '{because}'\n{ran.output[-16000:]}")
        self.say(f"controller: pyinfra {' '.join(words)} fails: {said[0].strip()[:200]}")
        return said[0]

    @contextlib.contextmanager
    def watched(self, *clients: str) -> Iterator[None]:
        """Meanwhile probes run on clients (by default on the one of the cast); their reports go to `reports`."""
        names = clients or (self.cast.client,)
        for name in names:
            self.stage.start_probe(name)
        try:
            yield
        except Exception:
            # the first error counts; a broken client may have no report
            for name in names:
                with contextlib.suppress(StageError):
                    self._ask(name)
            raise
        for name in names:
            self._ask(name)

    def _ask(self, client: str) -> None:
        report = self.stage.stop_probe(client)
        self.reports.append(report)
        self.say(f"{client} felt: {felt(report)}")

    def faults(self) -> list[str]:
        """What clients noticed beyond what is expected; empty if all is well."""
        found = []
        for report in self.reports:
            if report.lost:
                found.append(f"{report.lost} of {report.acknowledged} acknowledged lines are lost")
            if report.stray:
                found.append(f"{report.stray} lines landed on the client's own disk")
            if self.expect.pause is not None:
                if report.pause > self.expect.pause:
                    found.append(f"a reading client paused for {report.pause:.1f} s")
                if report.remounted:
                    found.append("the client mounted the share anew")
                if report.read_errors:
                    found.append(f"a reading client got {report.read_errors} errors")
        return found


def felt(report: Report) -> str:
    """A report in one line."""
    errors = [f"{n} x {kind} ({op})" for op, kinds in report.errors.items() for kind, n in kinds.items()]
    longest = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.pauses.items())
    words = [f"longest pauses: {longest or 'none'}"]
    if waits := report.interruptions:
        each = ", ".join(f"{seconds:.1f}" for seconds in waits)
        words += [f"a reader waited {len(waits)} times: {each} s"]
    words += [f"{report.acknowledged} lines acknowledged"]
    words += [", ".join(errors)] if errors else ["no error"]
    words += [f"{report.lost} LOST"] if report.lost else []
    words += [f"{report.stray} ASTRAY"] if report.stray else []
    words += ["MOUNTED ANEW"] if report.remounted else []
    words += [f"{name} hung for {seconds:.0f} s at the end" for name, seconds in report.hanging.items()]
    return "; ".join(words)
