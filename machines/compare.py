"""Measures the simulated cluster against real machines: both get the same commands, and differences are listed.

The commands are those of the facts of a deploy and of tasks/verify.py, those that scripts run on the hosts meanwhile
if they only look (`LOOKS`), and `QUESTIONS`. Both sides answer twice: blank, and deployed. The machines' answers are
kept as a recording that names their version; with it the comparison needs no machines.

The machines are those of `python -m machines reset f0 f1`. The exit status is 1 if a difference is not in
`machines.differences`, or if one of those no longer occurs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from lab import build, clock, replay
from lab.core import LabError, Store
from lab.rc import boot
from lab.replay import Answer, Command, Comparison, Outcome
from machines import freebsd, site
from machines.cluster import Cluster
from machines.differences import ACCEPTED, Accepted
from machines.programs import MachinesError
from scenarios.stage import REPOSITORY, ran

HOSTS = ("f0", "f1")
LIMIT = ("--limit", "freebsd")
BLANK, DEPLOYED = "blank", "deployed"
"""When commands are sent; the sections of a recording."""
ASKING = (
    r"(zfs|zpool) (get|list|status)( [^@]*)?",
    r"zfs load-key -n .*",
    r"sysctl [^=]*|ifconfig( \S+)?|mount( -p)?|kldstat.*|vm list",
    r"(service|rc\.d/)\S* (\S+ )?(one)?status",
    r"(pgrep|sockstat|fstyp|diskinfo|showmount|swapctl) .*",
    r"(glabel|zrepl) status.*|(geom|gpart) (\S+ )?(list|show).*|zdb -l .*",
)
LOOKS = re.compile(rf"(doas -n )?sh -c 'export LC_ALL=C; .*|\S*/({'|'.join(ASKING)})", re.DOTALL)
"""Commands that change nothing: the facts of this project, and those commands of scripts that only ask."""
SETTLE_SECONDS = 130
"""After a deploy, until cron and zrepl have run once."""
PACKAGES = ("stunnel", "zrepl", "vm-bhyve")
"""What the machines' image has from the beginning."""
GIB = 1 << 30
SYSTEM_SIZE = 1077993472
"""Of the image's disk in bytes."""
QUESTIONS = REPOSITORY / "machines/questions.txt"
"""Further commands that only look, ``HOST<tab>LINE``: output that people see."""
RECORDING = REPOSITORY / "tests/lab/transcripts/freebsd-15.1.jsonl"
"""The machines' last answers."""
MARK = "-- machines.compare: standard error --"


class CompareError(Exception):
    """A run failed; the text is the whole message."""


class Simulated:
    """The simulated cluster, built as the machines are."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.inventory = "machines/simulated.py"
        self.environment = {**os.environ, "LAB_STATE": str(folder), "PYINFRA_PROGRESS": "off", "NO_COLOR": "1"}

    def make(self) -> None:
        """Blank hosts with the machines' disks and cards, from the settings of their site."""
        plans = []
        for number, host in enumerate(each for each in site.site().hosts if each.short_name in HOSTS):
            name = host.short_name.upper()
            slots = {
                "ada0": (SYSTEM_SIZE, "QEMU HARDDISK", f"{name}SYSTEM"),
                "ada1": (3 * GIB, "QEMU HARDDISK", f"{name}DATA"),
                "ada2": (3 * GIB, "QEMU HARDDISK", f"{name}VM"),
                "da0": (64 << 20, "QEMU QEMU HARDDISK", f"1-0000:00:0{number}.0-1"),
            }
            cards = {"vtnet0": (host.lan.address, 24), "vtnet1": (host.wireguard.address, 24)}
            plans.append(build.Plan(host.name, "freebsd", slots, {**cards, "vtnet2": ("10.0.2.15", 24)}, ufs_root=True))
        build.up(self.store, plans)
        for plan in plans:
            self.answer(plan.name, f"pkg install -y {' '.join(PACKAGES)}")

    def answer(self, host: str, line: str) -> Answer:
        """What a line comes to: status and output."""
        answer = replay.run(self.store, host, line)
        clock.quiesce(self.store)
        return answer

    def copy(self, folder: Path) -> Simulated:
        """Another one in the same state."""
        subprocess.run(["cp", "-a", "--sparse=always", self.store.folder, folder], check=True)
        for place in folder.glob("hosts/*/root/.lab/state-path"):
            place.write_text(f"{folder}\n")
        return Simulated(folder)

    def settle(self) -> None:
        """What comes after a deploy has happened."""
        clock.tick(self.store, SETTLE_SECONDS)


class Real:
    """The machines."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.inventory = site.INVENTORY
        self.environment = cluster.environment

    def answer(self, host: str, line: str) -> Answer:
        """What a line comes to: status and output."""
        errors = "/var/tmp/compare.stderr"
        script = f"sh -c {shlex.quote(line)} 2>{errors} </dev/null; rc=$?; echo '{MARK}'; cat {errors}; exit $rc"
        done = self.cluster.ssh(host, script, timeout=900)
        stdout, mark, stderr = done.output.partition(f"{MARK}\n")
        if not mark:
            raise MachinesError(f"{host} gave no answer to {line}: {done.output}")
        return done.rc, stdout, stderr

    def settle(self) -> None:
        """What comes after a deploy has happened."""
        time.sleep(SETTLE_SECONDS)

    def version(self) -> str:
        """Of FreeBSD: ``15.1``."""
        return self.cluster.must(HOSTS[0], "uname -r").partition("-")[0]


Side = Simulated | Real


def controller(side: Side, *words: str) -> None:
    """A program of this virtual environment for the hosts of one side.

    :raises CompareError: it failed
    """
    done = ran([sys.executable, "-m", *words], None, side.environment)
    # tasks/verify.py knows nothing of the clients, which are not asked
    if done.rc != 0 and " 0 wrong, " not in done.output:
        raise CompareError(f"{' '.join(words)} failed:\n{done.output[-4000:]}")


def pyinfra(side: Side, *words: str) -> None:
    """pyinfra on the hosts of one side.

    :raises CompareError: it failed
    """
    controller(side, "pyinfra", side.inventory, *words, *LIMIT)


def prepare(side: Side) -> None:
    """Blank hosts get what a site has before the first deploy: certificates, and virtual machines on the primary.

    :raises CompareError: that failed
    """
    controller(side, "certificates", "--inventory", side.inventory, "init")
    primary = site.site().primary
    rc, stdout, stderr = side.answer(primary.short_name, freebsd.virtual_machines(primary.bhyve.dataset))
    if rc != 0:
        raise CompareError(f"virtual machines on {primary.name}: {stdout}{stderr}")


def simulated(folder: Path) -> dict[str, Simulated]:
    """The simulated cluster at both points.

    :raises CompareError: a run failed
    """
    lab = Simulated(folder / DEPLOYED)
    lab.make()
    prepare(lab)
    blank = lab.copy(folder / BLANK)
    pyinfra(lab, "deploy.py", "-y")
    lab.settle()
    return {BLANK: blank, DEPLOYED: lab}


def collected(lab: Simulated) -> list[tuple[str, str]]:
    """Host and line of the commands that a deployed cluster gets, each once, in order.

    :raises CompareError: a run failed
    """
    log = lab.store.folder / "commands"
    log.touch()
    pyinfra(lab, "deploy.py", "-y")
    pyinfra(lab, "tasks/verify.py", "-y")
    for host in reversed(HOSTS):
        boot.reboot(lab.store, host)
        lab.settle()
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    log.unlink()
    # as root on both sides: how to become root is not part of the question
    lines = ((entry["host"].partition(".")[0], entry["cmd"].removeprefix("doas -n ")) for entry in entries)
    sent = [(host, line) for host, line in lines if LOOKS.fullmatch(line)]
    return list(dict.fromkeys([*sent, *questions()]))


def questions() -> list[tuple[str, str]]:
    """Host and line of the further questions."""
    host_and_line = (line.split("\t") for line in QUESTIONS.read_text().splitlines())
    return [(host, line) for host, line in host_and_line]


def answers(real: Real, point: str, lines: Iterable[tuple[str, str]]) -> list[Command]:
    """What the machines answer, as the section of a recording; what both say alike is in it once."""
    found: dict[tuple[str, Answer], Command] = {}
    for host, line in lines:
        answer = real.answer(host, line)
        found.setdefault((line, answer), Command(point, len(found), host, line, *answer))
    return list(found.values())


def written(commands: Iterable[Command]) -> str:
    """A recording: one JSON object per line."""
    fields = ("section", "host", "cmd", "rc", "stdout", "stderr")
    return "".join(json.dumps({name: getattr(each, name) for name in fields}) + "\n" for each in commands)


def compared(labs: dict[str, Simulated], recording: list[Command]) -> list[Outcome]:
    """The simulated cluster's answers to the commands of a recording, with what differs between machines left out."""
    comparison = Comparison()
    return [comparison.outcome(each, labs[each.section].answer(each.host, each.cmd)) for each in recording]


def rows(outcome: Outcome) -> list[str]:
    """What differs, line by line: ``stdout -what the machine says``, ``stdout +what the lab says``."""
    found = []
    theirs, ours = outcome.wanted, (outcome.rc, outcome.stdout, outcome.stderr)
    for kind, real, mine in zip(("status", "stdout", "stderr"), theirs, ours, strict=True):
        lines = difflib.unified_diff(str(real).splitlines(), str(mine).splitlines(), "-", "+", n=0, lineterm="")
        found += [f"{kind} {line}" for line in list(lines)[2:] if not line.startswith("@@")]
    return found


def judged(outcomes: Iterable[Outcome], accepted: Iterable[Accepted] = ACCEPTED) -> tuple[list[str], list[Accepted]]:
    """The differences that no entry accepts, for people, and the entries that accept none."""
    unexpected = []
    used = set()
    for outcome in outcomes:
        left = []
        for row in rows(outcome):
            covering = [entry for entry in accepted if entry.covers(outcome.command, row)]
            used.update(covering)
            left += [] if covering else [row]
        if left:
            command = outcome.command
            short = re.sub(r"\s+", " ", command.cmd)[:160]
            title = f"{command.section} {command.number} on {command.host}: {short}"
            unexpected.append("\n    ".join([title, *left]))
    return unexpected, [entry for entry in accepted if entry not in used]


def recorded(real: Real, lines: list[tuple[str, str]]) -> list[Command]:
    """Deploys on blank machines; what they answer before and after.

    :raises CompareError: a run failed
    """
    prepare(real)
    blank = answers(real, BLANK, lines)
    pyinfra(real, "deploy.py", "-y")
    real.settle()
    return blank + answers(real, DEPLOYED, lines)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m machines.compare", description=__doc__)
    parser.add_argument("--recording", type=Path, help="the machines' answers of another day, in place of machines")
    args = parser.parse_args(argv)
    os.environ["MACHINES_STATE"] = str(site.folder())
    try:
        with tempfile.TemporaryDirectory(prefix="compare-") as folder:
            labs = simulated(Path(folder))
            if args.recording:
                theirs = replay.recorded(args.recording)
            else:
                real = Real(site.cluster(orphans=True))
                theirs = recorded(real, collected(labs[DEPLOYED].copy(Path(folder) / "collected")))
                file = RECORDING.with_name(f"freebsd-{real.version()}.jsonl")
                file.write_text(written(theirs))
                print(f"recorded in {file}")
            outcomes = compared(labs, theirs)
    except (CompareError, LabError, MachinesError) as error:
        print(error, file=sys.stderr)
        return 1
    unexpected, stale = judged(outcomes)
    for text in unexpected:
        print(text)
    for entry in stale:
        print(f"no difference any more, take it out of machines/differences.py: {entry}")
    same = sum(outcome.same for outcome in outcomes)
    print(f"{len(outcomes)} answers, {same} alike, {len(outcomes) - same - len(unexpected)} known to differ")
    return 1 if unexpected or stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
