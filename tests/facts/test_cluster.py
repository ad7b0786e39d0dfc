from __future__ import annotations

from typing import Any

from pyinfra.context import ctx_host

from facts import cluster
from facts.clock import Clock


class Recorder:
    """A host that remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get_fact(self, fact: type, **arguments: Any) -> None:
        self.asked.append(arguments)


def test_a_question_that_never_ends_does_not_hide_the_other_answers() -> None:
    host = Recorder()
    with ctx_host.use(host):  # type: ignore[arg-type]
        assert cluster.ask(Clock) is None
        cluster.ask(Clock, within=5)
    assert host.asked == [{"_ignore_errors": True, "_timeout": limit} for limit in (cluster.ANSWER_WITHIN, 5)]
