"""``python -m scenarios STAGE [NAME...]``: what a cluster must survive, played on the lab, on machines or on a site."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from scenarios.play import SCENARIOS, Scenario, play
from scenarios.report import Row, table, write
from scenarios.stage import CannotError, Stage, StageError
from scenarios.story import STEPS

STAGES = {"lab": "lab.stage", "machines": "machines.stage", "site": "scenarios.site"}
"""Modules with ``opened(options)``, a context that gives a stage for each story, and perhaps ``arguments(parser)``."""
MOVES = ("scenarios.failover", "scenarios.network", "scenarios.storage")
LASTING = ("scenarios.promotion", "scenarios.certificates", "scenarios.alarms")
STORIES = {
    "lab": (*MOVES, *LASTING, "scenarios.adopt"),
    "machines": ("scenarios.deploy", "scenarios.adopt", *MOVES, *LASTING, "scenarios.clients", "scenarios.faults"),
    "site": MOVES,
}
"""Modules that register scenarios, in the order of play. What the lab leaves out, its tests cover."""
RESULTS = {"machines": Path("build/vm-test.json")}

Open = Callable[[str], AbstractContextManager[Stage]]


def tell(text: str) -> None:
    print(text, flush=True)


def performed(one: Scenario, open_stage: Open) -> Row:
    """The row of a story on a stage of its own. A stage that does not open gives a row, too."""
    begin = time.monotonic()
    try:
        with open_stage(one.name) as stage:
            row = play(one, stage, tell)
            if row.verdict == "wrong" and (hint := stage.keep()):
                tell(f"  the cluster as it was then: {hint}")
            return row
    except (CannotError, StageError) as error:
        verdict = "not run" if isinstance(error, CannotError) else "wrong"
        tell(f"  {verdict.upper()}: {error}")
        seconds = round(time.monotonic() - begin, 1)
        return Row(one.name, str(one.expect) or one.title, None, 0, 0, 0, verdict, str(error), seconds)  # type: ignore[arg-type]


def chosen(names: list[str]) -> list[Scenario]:
    """The scenarios of those names, all by default.

    :raises StageError: there is no such scenario
    """
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise StageError(f"there is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return [SCENARIOS[n] for n in names] or [one for one in SCENARIOS.values() if not one.part]


def parser(argv: list[str]) -> argparse.ArgumentParser:
    """The command line, with what the named stage adds."""
    made = argparse.ArgumentParser(prog="python -m scenarios", description=__doc__)
    made.add_argument("stage", choices=STAGES, help="where the scenarios are played")
    made.add_argument("names", nargs="*", metavar="NAME", help="which ones; all by default")
    made.add_argument("--list", action="store_true", help="list them")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    made.add_argument("--steps-only", action="store_true", help="do not count pauses, nor the errors that they bring")
    if argv and argv[0] in STAGES:
        more = getattr(importlib.import_module(STAGES[argv[0]]), "arguments", None)
        if more is not None:
            more(made)
    return made


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status: 1 if a row is wrong."""
    words = sys.argv[1:] if argv is None else argv
    options = parser(words).parse_intermixed_args(words)
    for name in STORIES[options.stage]:
        importlib.import_module(name)
    rows: list[Row] = []
    try:
        scenarios = chosen(options.names)
        if options.list:
            width = max(map(len, SCENARIOS))
            tell("\n".join(f"{one.name:<{width}}  {one.title}" for one in scenarios))
            return 0
        file = options.json or RESULTS.get(options.stage)
        with importlib.import_module(STAGES[options.stage]).opened(options) as open_stage:
            for one in scenarios:
                judged = replace(one, expect=STEPS) if options.steps_only else one
                rows.append(performed(judged, open_stage))
                if file:
                    # after each story, so that an interrupted run leaves what it found
                    write(rows, file)
    except (CannotError, StageError) as error:
        print(f"scenarios: {error}", file=sys.stderr)
        return 1
    tell(f"\n{table(rows)}")
    return 1 if any(row.verdict == "wrong" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
