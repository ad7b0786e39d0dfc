"""Replays recorded commands in a lab and compares status and output, with what differs between machines left out."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import build, clock
from lab.core import Store

TRANSCRIPT = Path(__file__).with_name("transcripts") / "freebsd-13.2.jsonl"
GIB = 1 << 30


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
    """A recorded command and what the lab made of it."""

    command: Command
    rc: int
    stdout: str
    stderr: str
    same: bool


def recorded(transcript: Path = TRANSCRIPT) -> list[Command]:
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


def machines(store: Store) -> None:
    """The two observed machines, freshly installed."""
    plans = []
    for number in range(2):
        slots = {
            "ada0": (4 * GIB, "QEMU HARDDISK", f"S0BOOT{number}"),
            "ada1": (GIB, "Samsung-SSD-870", f"S0DATA{number}"),
            "ada2": (GIB, "QEMU HARDDISK", f"S0ZROOT{number}"),
            "da0": (64 << 20, "QEMU QEMU HARDDISK", "1-0000:00:02.0-1"),
        }
        address = {"vtnet0": (f"192.168.1.13{number}", 24)}
        plans.append(build.Plan(f"f{number}.lan.buetow.org", "freebsd", slots, address, ufs_root=True))
    build.up(store, plans)


def run(store: Store, command: Command) -> tuple[int, str, str]:
    """Status and output of a command in the lab."""
    sender, pipe, receiver = command.host.partition("|")

    def line(host: str, script: str) -> list[str]:
        return [*clock.command_line(store, store.read().host(host).name), "/bin/sh", "-c", script]

    if not pipe:
        done = subprocess.run(
            line(command.host, command.cmd), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    left, _, right = command.cmd.partition(" | ")
    with subprocess.Popen(line(sender, left), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as source:
        done = subprocess.run(line(receiver, right), stdin=source.stdout, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


Unrecorded = tuple[str, str] | Callable[[Store], object]
UNRECORDED: Mapping[tuple[str, int], Sequence[Unrecorded]] = {("return2", 3): (("f0", "zfs create zdata/enc/test1"),)}
"""What was done on the machines between two recorded commands, as later output shows."""

SIZE = r"(?<![\w.])\d+(?:\.\d+)?[KMGT]B?(?![\w])"
NUMBER = r"(?<![\w.:/-])[1-9]\d{3,14}(?![\w.:-])"
DATES = (
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [ \d]\d:\d\d(:\d\d)? \d{4}",
    r"[A-Z][a-z]{2} [ \d]\d (\d\d:\d\d| \d{4})",
)
IDENTITIES = {
    "token": r"1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]{20,}",
    "hash": r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ufsid": r"(?<=ufsid/)[0-9a-f]{16}",
    "guid": r"(?<!\d)\d{15,20}(?!\d)",
}


class Normaliser:
    """Replaces what is another on each machine. What was equal stays equal: ``<guid 3>`` is one guid."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {kind: {} for kind in IDENTITIES}

    def __call__(self, text: str) -> str:
        return "".join(self._line(line) for line in text.splitlines(keepends=True))

    def _line(self, line: str) -> str:
        before = line
        for kind, pattern in IDENTITIES.items():
            line = re.sub(pattern, lambda match, kind=kind: self._name(kind, match.group()), line)
        for pattern in DATES:
            line = re.sub(pattern, "<date>", line)
        line = re.sub(SIZE, "<size>", line)
        line = re.sub(r"^(d[rwx-]{9} +)\d+( .*?)\d+( <date>)", r"\1<links>\2<size>\3", line)
        line = re.sub(NUMBER, "<number>", line)
        line = re.sub(r"\b(createtxg|objsetid)\t\d+", r"\1\t<number>", line)
        line = re.sub(r"^total \d+$", "total <number>", line, flags=re.MULTILINE)
        # columns are as wide as what is in them, so they are only compared where nothing was replaced
        return line if line == before else re.sub(r" {2,}", "  ", line)

    def _name(self, kind: str, value: str) -> str:
        known = self._names[kind]
        return known.setdefault(value, f"<{kind} {len(known) + 1}>")


def replay(
    store: Store,
    commands: list[Command],
    unrecorded: Mapping[tuple[str, int], Sequence[Unrecorded]] = UNRECORDED,
    normaliser: type[Normaliser] = Normaliser,
) -> list[Outcome]:
    """Runs the commands in order.

    :param unrecorded: what is done before a command (section, position): a line on a host, or something with the lab
    """
    theirs, ours = normaliser(), normaliser()
    outcomes = []
    for command in commands:
        for each in unrecorded.get((command.section, command.number), ()):
            if callable(each):
                each(store)
            else:
                run(store, Command("", 0, *each, 0, "", ""))
        rc, stdout, stderr = run(store, command)
        wanted = (command.rc, theirs(command.stdout), theirs(command.stderr))
        got = (rc, ours(stdout), ours(stderr))
        outcomes.append(Outcome(command, *got, same=wanted == got))
    return outcomes
