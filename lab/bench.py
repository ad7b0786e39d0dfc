"""``make bench``: how many round trips a run costs, for which host and task.

The deploy runs twice against a fresh simulated cluster: first run, and a run that finds nothing to do. The counts are
those of the connector (``LAB_COUNT``): one for each command and each upload.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lab.core import Store
from lab.stage import LabStage, blank
from lab.zfs import units
from scenarios.pyinfra_output import changes as changed_by
from scenarios.stage import StageError, cast

SETTLE_SECONDS = 130
RUNS = ("first run", "no change")
Counts = Counter[tuple[str, str]]


def parse(text: str) -> Counts:
    """The lines of a LAB_COUNT file.

    :raises ValueError: a line of another form
    """
    found: Counts = Counter()
    for line in text.splitlines():
        host, task = line.split("\t")
        found[host, task] += 1
    return found


def table(runs: Mapping[str, Counts]) -> str:
    """Round trips by host and task, sorted, a column for each run, sums below."""
    keys = sorted({key for counts in runs.values() for key in counts})
    rows = [["HOST", "TASK", *runs]]
    rows += [[host, task, *(str(counts[host, task]) for counts in runs.values())] for host, task in keys]
    for host in dict.fromkeys(host for host, _ in keys):
        sums = (sum(n for (of, _), n in counts.items() if of == host) for counts in runs.values())
        rows.append([host, "all tasks", *map(str, sums)])
    rows.append(["all hosts", "all tasks", *(str(counts.total()) for counts in runs.values())])
    return units.table(rows, [0] * len(rows[0]), [column > 1 for column in range(len(rows[0]))])


def measure(stage: LabStage, *, changes: bool) -> Counts:
    """The round trips of one run of the deploy.

    :param changes: whether the run has to change something; a run that has to change nothing fails if it does
    :raises StageError: the run failed, or was not of the kind that was to be measured
    """
    count = stage.store.folder / "round-trips"
    stage.environment = {**stage.environment, "LAB_COUNT": str(count)}
    count.unlink(missing_ok=True)
    done = stage.pyinfra("deploy.py", "-y")
    if done.rc != 0:
        raise StageError(f"the deploy failed:\n{done.output[-4000:]}")
    if bool(changed_by(done.output)) != changes:
        raise StageError(f"a run that has to {'change something' if changes else 'find nothing to do'} did not")
    return parse(count.read_text())


def main() -> int:
    """Prints the table; returns the exit status."""
    counts: dict[str, Counts] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="lab-bench-") as place:
            folder = Path(place) / "state"
            stage = LabStage(Store(folder), cast(blank(folder)))
            if (made := stage.pki("init")).rc != 0:
                raise StageError(made.output)
            for run in RUNS:
                counts[run] = measure(stage, changes=run == RUNS[0])
                # what cron and the clients' timers do after a first run is done when somebody runs it again
                stage.wait(SETTLE_SECONDS)
    except StageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Round trips: facts, commands and uploads\n\n{table(counts)}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
