"""Records what hosts answer to the facts of a run of pyinfra, for tests/facts/test_hostile.py.

    MACHINES_STATE=... python -m tests.facts.record FILE machines/inventory.py tasks/verify.py -y

Of each fact the first answers that differ are kept. No fact has a secret.
"""

from __future__ import annotations

import atexit
import json
import sys
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main

from facts.base import HostFact
from facts.together import Together

MOST, LONGEST = 3, 120
"""Answers of each fact; lines of an answer."""
_seen: dict[str, list[dict[str, Any]]] = {}
_process = HostFact.process


def process(self: HostFact[Any], output: list[str]) -> Any:
    """As it is, and noted."""
    value = _process(self, output)
    if isinstance(self, Together):  # each of its answers comes here as well
        return value
    answers = _seen.setdefault(f"{type(self).__module__}.{type(self).__name__}", [])
    kept = {"arguments": vars(self), "lines": list(output)}
    if len(output) <= LONGEST and len(answers) < MOST and kept not in answers:
        answers.append(json.loads(json.dumps(kept)))
    return value


def save(file: Path) -> None:
    file.write_text("".join(f"{json.dumps({'fact': name, **one})}\n" for name in sorted(_seen) for one in _seen[name]))


if __name__ == "__main__":
    HostFact.process = process  # type: ignore[method-assign]
    atexit.register(save, Path(sys.argv.pop(1)))
    main()
