"""All checks together, and the table as text and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

from f3s.verify.certificates import certificate_rows
from f3s.verify.clients import client_rows
from f3s.verify.clocks import clock_rows
from f3s.verify.listening import listening_rows
from f3s.verify.model import ClusterView, Row, State, unknown, wrong
from f3s.verify.replication import replication_rows
from f3s.verify.serving import serving_rows
from f3s.verify.storage import storage_rows

SIGNS = {State.RIGHT: "ok", State.WRONG: "WRONG", State.UNKNOWN: "UNKNOWN"}
REASON_WIDTH = 72


def rows(cluster: ClusterView) -> tuple[Row, ...]:
    """Every check of the cluster. A host that was not reached is one row; checks that need its answers are unknown."""
    return (
        *absent_rows(cluster),
        *clock_rows(cluster),
        *storage_rows(cluster),
        *replication_rows(cluster),
        *serving_rows(cluster),
        *certificate_rows(cluster),
        *listening_rows(cluster),
        *client_rows(cluster),
    )


def absent_rows(cluster: ClusterView) -> Iterator[Row]:
    """The hosts that did not answer or were not asked."""
    for host in cluster.site.hosts:
        if host.name in cluster.hosts:
            continue
        why = cluster.absent.get(host.name)
        if why is None:
            yield unknown("reachable", host.name, "not asked in this run", "run verify without --limit")
        else:
            yield wrong("reachable", host.name, why, "docs/runbook.md, host dead")


def all_right(found: Sequence[Row]) -> bool:
    return all(row.state is State.RIGHT for row in found)


def summary(found: Sequence[Row]) -> str:
    """For example `23 right, 1 wrong, 2 unknown`."""
    counts = Counter(row.state for row in found)
    return ", ".join(f"{counts[state]} {state.value}" for state in State)


def table(found: Sequence[Row]) -> str:
    """The rows as text: check, host, state, reason, and the next step below, if there is one."""
    heads = ("CHECK", "HOST", "STATE")
    cells = [(row.check, row.host, SIGNS[row.state]) for row in found]
    widths = [max(len(line[column]) for line in [heads, *cells]) for column in range(3)]
    indent = " " * (sum(widths) + 6)
    lines = ["  ".join([*(f"{head:<{width}}" for head, width in zip(heads, widths, strict=True)), "REASON"])]
    for row, cell in zip(found, cells, strict=True):
        text = textwrap.wrap(row.reason, REASON_WIDTH) or [""]
        lines.append("  ".join([*(f"{each:<{width}}" for each, width in zip(cell, widths, strict=True)), text[0]]))
        lines += [f"{indent}{rest}" for rest in text[1:]]
        if row.next_step:
            # in one piece, to be copied
            lines.append(f"{indent}-> {row.next_step}")
    return "\n".join([*lines, "", summary(found)])


def as_json(found: Sequence[Row], at: datetime) -> str:
    """The table for programs; `at` is when it was made, aware."""
    document = {
        "at": at.isoformat(timespec="seconds"),
        "right": all_right(found),
        "rows": [{**asdict(row), "state": row.state.value} for row in found],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
