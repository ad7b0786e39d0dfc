"""Replays recorded commands in a lab and compares status and output, with what differs between machines left out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import clock
from lab.core import Store
from lab.replay_text import Normaliser

KILL = 'kill() { command /bin/kill "$@"; }; '
"""Goes before a line that uses the shell's own kill, which knows nothing of daemons that the lab plays."""


@dataclass(frozen=True)
class Command:
    """One recorded command.

    :param number: position in its section, from 0
    """

    section: str
    number: int
    host: str
    cmd: str
    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Outcome:
    """A recorded command and what the lab made of it.

    :param wanted: the recorded status and output as they were compared
    """

    command: Command
    rc: int
    stdout: str
    stderr: str
    same: bool
    wanted: tuple[int, str, str]


def recorded(transcript: Path) -> list[Command]:
    """The transcript, in order."""
    commands: list[Command] = []
    counts: dict[str, int] = {}
    for line in transcript.read_text().splitlines():
        entry = json.loads(line)
        number = counts.setdefault(entry["section"], 0)
        counts[entry["section"]] += 1
        fields = (entry[name] for name in ("host", "cmd", "rc", "stdout", "stderr"))
        commands.append(Command(entry["section"], number, *fields))
    return commands


Answer = tuple[int, str, str]
"""Status, standard output, standard error."""


def run(store: Store, host: str, script: str) -> Answer:
    """What a line comes to in the lab; a line with a pipe on ``f0|f1``."""
    sender, pipe, receiver = host.partition("|")

    def line(host: str, script: str) -> tuple[Store, str, list[str]]:
        known = KILL if re.search(r"\bkill ", script) and host != "r0" else ""
        return store, store.read().host(host).name, ["/bin/sh", "-c", known + script]

    if pipe:
        left, _, right = script.partition(" | ")
        end, begin = os.pipe()
        with open(os.devnull, "r+b") as nothing, clock.start(*line(sender, left), (nothing.fileno(), begin, 2)):
            os.close(begin)
            done = clock.run(*line(receiver, right), stdin=end)
        os.close(end)
    else:
        done = clock.run(*line(host, script))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Comparison:
    """Compares answers to recorded commands, in order: what was the same has to stay the same."""

    def __init__(self) -> None:
        self.theirs, self.ours = Normaliser(), Normaliser()

    def outcome(self, command: Command, answer: Answer) -> Outcome:
        key = (command.section, command.number)
        rc, stdout, stderr = answer
        wanted = (command.rc, self.theirs(command.stdout, key), self.theirs(command.stderr, key))
        got = (rc, self.ours(stdout, key), self.ours(stderr, key))
        return Outcome(command, *got, same=wanted == got, wanted=wanted)


Step = tuple[str, str] | Callable[[Store], object]
"""A line on a host, or something with the lab."""


def replay(
    store: Store,
    commands: list[Command],
    before: Mapping[tuple[str, int], Sequence[Step]],
    unplayed: Container[tuple[str, int]] = (),
) -> list[Outcome]:
    """Runs the commands in order, and compares them.

    :param before: what is done before a command (section, position)
    :param unplayed: commands that are not compared: what they name must not count for those behind them
    """
    comparison = Comparison()
    outcomes = []
    for command in commands:
        key = (command.section, command.number)
        for each in before.get(key, ()):
            if callable(each):
                each(store)
            else:
                done = run(store, *each)
                assert done[0] == 0, f"before {key}: {each}: {done}"
        answer = run(store, command.host, command.cmd)
        if key not in unplayed:
            outcomes.append(comparison.outcome(command, answer))
    return outcomes
