"""The commands in README.md and docs/: every block says where it runs, and tests run it there.

A block of commands has a marker above it, a block of output too::

    <!-- run: controller -->      on the controller; inventory.py becomes lab/inventory.py, secrets/ that of the lab
    <!-- run: f0 f1 -->           on each of these hosts, line by line as root
    <!-- run: f0 fails -->        the same, and the last line has to fail
    <!-- run: f1 names COMMON --> the same; what it prints is what the word COMMON stands for in the commands below;
                                  on the controller: the value of the last --data that it advises
    <!-- run: make -->            targets of the Makefile; looked up with make -n, because CI runs them one by one
    <!-- lab: crash f0 -->        no block: python -m lab crash f0, unseen by the reader; brings the trouble about
    <!-- data: NAME=VALUE -->     no block: what the reader has by now written into group_data/; from here on it stands
                                  behind each command of pyinfra, as --data NAME=VALUE
    <!-- primary: f1 -->          no block: by now the reader has made this host the primary in inventory.py, and turned
    <!-- standby: f2 -->          the job of the NFS data round (scenarios/roles.py); or that one the standby
    <!-- verify -->               no block: tasks/verify.py shows the rows in backticks of the **verify says** paragraph
                                  above, in any order; one of them where it says "or"
    <!-- shows -->                what the last commands print: these lines, in this order; ``...`` is anything

Other fenced blocks than marked ones, ``mermaid`` and unmarked ``text`` do not pass: a command that no test runs would
be wrong some day.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.connector import csh_says
from scenarios.roles import PRIMARY, STANDBY
from tests.lab.cluster import REPOSITORY, Cluster

_FENCE = re.compile(r"^\s*```(\S*)\s*$")
_MARKER = re.compile(r"^<!-- (?:run: (?P<run>[a-z0-9 ]+?)(?: names (?P<names>[A-Z]+))?|(?P<shows>shows)) -->$")
_ACTION = re.compile(r"^<!-- (lab|data|primary|standby): (.+) -->$")
_VERIFY = "<!-- verify -->"
_SAYS = "**verify says**"
_ROW = re.compile(r"`([^`]+ (?:ok|WRONG|UNKNOWN)\b[^`]*)`")
_SHOWN = {"right": "ok", "wrong": "WRONG", "unknown": "UNKNOWN"}
_HOSTS = {"f0", "f1", "f2", "r0", "r1", "r2"}
_INVENTORY = "--inventory lab/inventory.py"


class DocumentError(Exception):
    """A block that cannot be tested; the text says where and why."""


@dataclass(frozen=True)
class Block:
    """One fenced block, or an action on the lab.

    :param where: ``controller``, ``make``, ``lab``, ``data``, ``primary``, ``standby``, ``verify``, names of hosts, or
        nothing for output
    :param fails: the last line has to end with another status than 0
    :param names: a word of later commands that stands for what this block prints
    :param any_of: of the lines, one is enough
    :param heading: the nearest heading of the second level above it; ``top`` before the first
    """

    line: int
    heading: str
    where: tuple[str, ...]
    fails: bool
    lines: tuple[str, ...]
    names: str | None = None
    any_of: bool = False

    @property
    def is_output(self) -> bool:
        return not self.where


def blocks(text: str) -> list[Block]:
    """The blocks that are run or compared, in order.

    :raises DocumentError: a block of another kind, without a marker, or a marker without a block
    """
    found: list[Block] = []
    heading, marker, language = "top", None, None
    body: list[str] = []
    says: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if language is not None:
            if line.strip() != "```":
                body.append(line)
                continue
            if block := _block(start, heading, marker, language, tuple(body)):
                found.append(block)
            marker, language = None, None
        elif fence:
            language, body, start = fence[1], [], number
        elif (action := _ACTION.match(line)) and marker is None:
            found.append(Block(number, heading, (action[1],), False, (action[2],)))
        elif line == _VERIFY and marker is None:
            found.append(_rows(number, heading, " ".join(says)))
        elif line.startswith("<!--"):
            if marker is not None:
                raise DocumentError(f"line {number}: a marker after a marker")
            marker = _MARKER.match(line)
            if marker is None:
                raise DocumentError(f"line {number}: unknown marker {line}")
        elif marker is not None:
            raise DocumentError(f"line {number}: a marker without a block below it")
        elif line.startswith("## "):
            heading, says = line.removeprefix("## ").strip(), []
        elif line.startswith(_SAYS) or (says and says[-1]):
            says.append(line)
    if language is not None or marker is not None:
        raise DocumentError("a block or a marker at the end is not complete")
    return found


def _rows(line: int, heading: str, paragraph: str) -> Block:
    rows = tuple(re.sub(" +", " ", row) for row in _ROW.findall(paragraph))  # columns or not
    if not rows:
        raise DocumentError(f"line {line}: no row of verify is told above: {_SAYS} `CHECK  HOST  WRONG  REASON`")
    return Block(line, heading, ("verify",), False, rows, any_of=", or " in paragraph)


def _block(
    start: int, heading: str, marker: re.Match[str] | None, language: str, lines: tuple[str, ...]
) -> Block | None:
    if marker is None:
        if language in ("text", "mermaid"):
            return None
        raise DocumentError(f"line {start}: a block of {language or 'no language'} without a marker: nothing tests it")
    if marker["shows"]:
        if language != "text":
            raise DocumentError(f"line {start}: what is shown is a block of text")
        return Block(start, heading, (), False, lines)
    if language != "sh":
        raise DocumentError(f"line {start}: what is run is a block of sh")
    words = marker["run"].split()
    fails = words[-1] == "fails"
    where = tuple(words[:-1] if fails else words)
    if where not in (("controller",), ("make",)) and not (where and set(where) <= _HOSTS):
        raise DocumentError(f"line {start}: nobody knows where to run '{marker['run']}'")
    if any(place.startswith("f") for place in where):
        for line in lines:
            # seen with tcsh 6.24; people type these lines into it
            if problem := "Illegal variable name." if "$(" in line else csh_says(line):
                raise DocumentError(f"line {start}: csh says to {line}: {problem}")
    return Block(start, heading, where, fails, lines, marker["names"])


class Runner:
    """Runs blocks against a lab and keeps what the last ones printed."""

    def __init__(self, lab: Cluster, document: str) -> None:
        self.lab = lab
        self.document = document
        self.printed = ""
        self.named: dict[str, str] = {}
        self.data: tuple[str, ...] = ()
        self.edited: dict[str, str] = {}

    def follow(self, todo: Iterable[Block]) -> None:
        """Runs or compares the blocks in order; fails the test at the first that is not as the document says."""
        for block in todo:
            if block.is_output:
                compare(block.lines, self.printed, f"{self.document}:{block.line}")
                continue
            if block.where == ("lab",):
                self.lab.lab(*shlex.split(block.lines[0]))
                continue
            if block.where == ("data",):
                self.data += ("--data", block.lines[0])
                continue
            if block.where in (("primary",), ("standby",)):
                self.edited[PRIMARY if block.where == ("primary",) else STANDBY] = block.lines[0]
                continue
            if block.where == ("verify",):
                self._verify(block)
                continue
            self.printed = ""
            for host in block.where:
                self._run(block, host)
            if block.names:
                advised = r"--data \w+=(\S+)\n" if block.where == ("controller",) else r"\A(.*)\n\Z"
                names = re.findall(advised, self.printed)
                assert names, f"{self.document}:{block.line}: no name in {self.printed!r}"
                self.named[block.names] = names[-1].strip()

    def _verify(self, block: Block) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "verify.json"
            words = ("tasks/verify.py", "-y", "--data", f"verify_json={file}", *self.data)
            ran = self.lab.pyinfra(*words, **self.edited)
            rows = json.loads(file.read_text())["rows"]
        shown = [" ".join([row["check"], row["host"], _SHOWN[row["state"]], row["reason"]]) for row in rows]
        missing = [row for row in block.lines if not any(_pattern(row).match(line) for line in shown)]
        enough = len(missing) < len(block.lines) if block.any_of else not missing
        assert enough, f"{self.document}:{block.line}: verify does not say {missing}:\n{ran.output}"

    def _run(self, block: Block, where: str) -> None:
        lines = [line for line in block.lines if line.strip()]
        for line in lines:
            rc, output = self._line(where, self._spelt_out(line))
            self.printed += output
            failed_as_told = block.fails and line is lines[-1]
            assert (rc != 0) == failed_as_told, f"{self.document}:{block.line}: on {where}: {line}: {rc}\n{output}"

    def _spelt_out(self, line: str) -> str:
        for name, value in self.named.items():
            line = re.sub(rf"\b{name}\b", value, line)
        return line

    def _line(self, where: str, line: str) -> tuple[int, str]:
        if where == "make":
            words = shlex.split(line)
            assert words[0] == "make", line
            return self._program(["make", "-n", *words[1:]])
        if where == "controller":
            line = line.replace("=secrets/", f"={self.lab.state}/secrets/")
            return self._program(["/bin/sh", "-c", on_the_lab(line, self.data)])
        ran = self.lab.attempt(where, line)
        return ran.rc, ran.out + ran.err

    def _program(self, words: list[str]) -> tuple[int, str]:
        path = f"{Path(sys.executable).parent}:{self.lab.environment['PATH']}"
        done = subprocess.run(
            words,
            cwd=REPOSITORY,
            env={
                **self.lab.environment,
                **self.edited,
                "PATH": path,
                "F3S_PASSPHRASE": "correct horse battery staple",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def on_the_lab(line: str, data: Sequence[str] = ()) -> str:
    """The command with the simulated hosts in place of the real ones.

    :param data: further words for pyinfra
    :raises DocumentError: a command that would reach something else
    """
    if line == ". .venv/bin/activate":
        return "true"  # the tests run in that environment
    if line.startswith("python -m lab "):
        return line
    if line.startswith("python certificates.py "):
        return line if _INVENTORY in line else line.replace("certificates.py", f"certificates.py {_INVENTORY}", 1)
    for inventory in ("inventory.py", "lab/inventory.py"):
        if line.startswith(f"pyinfra {inventory} "):
            return " ".join([line.replace(inventory, "lab/inventory.py", 1), *map(shlex.quote, data)])
    raise DocumentError(f"not a command of this project: {line}")


def _pattern(line: str) -> re.Pattern[str]:
    """A line in which ``...`` is any text."""
    return re.compile(".*".join(re.escape(piece.strip(" ")) for piece in re.split(r" ?\.\.\. ?", line.strip())))


def compare(wanted: Iterable[str], printed: str, where: str) -> None:
    """Each wanted line is in the output, in order; ``...`` in it is any text. Spaces at both ends do not count."""
    rest = printed.splitlines()
    for line in wanted:
        pattern = _pattern(line)
        while rest and not pattern.fullmatch(rest[0].strip()):
            rest.pop(0)
        assert rest, f"{where}: not shown: {line}\nthe output was:\n{printed}"
        rest.pop(0)
