from __future__ import annotations

from typing import Any

from pyinfra.context import ctx_host

from facts import cluster
from facts.clock import Clock
from tests.f3s.settings_data import F1, F2, FREEBSD, build, change, good


class Recorder:
    """A host that remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get_fact(self, fact: type, **arguments: Any) -> None:
        self.asked.append(arguments)


def test_the_standby_looks_into_the_replica_that_it_serves() -> None:
    """And not into that of a third host's dataset of the same name."""
    inventory = change(good(), (F2,), pool_disk="ada1")
    other = {"name": "other", "source": F2, "target": F1, "dataset": "zdata/enc/nfsdata", "interval": "1h"}
    for each in FREEBSD:
        inventory[each][1]["zrepl_jobs"].append(other)
    site = build(inventory)
    for settings, dataset in ((site.primary, "zdata/enc/nfsdata"), (site.standby, "zdata/sink/f0/zdata/enc/nfsdata")):
        host = Recorder()
        with ctx_host.use(host):  # type: ignore[arg-type]
            cluster.look(settings, site)
        assert [asked["dataset"] for asked in host.asked if "dataset" in asked] == [dataset]


def test_a_question_that_never_ends_does_not_hide_the_other_answers() -> None:
    host = Recorder()
    with ctx_host.use(host):  # type: ignore[arg-type]
        assert cluster.ask(Clock) is None
        cluster.ask(Clock, within=5)
    assert host.asked == [{"_ignore_errors": True, "_timeout": limit} for limit in (cluster.ANSWER_WITHIN, 5)]
