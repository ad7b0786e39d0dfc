from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bridge import view
from f3s.parsing import NoAnswer
from f3s.zfs import Snapshot, parse_datasets
from facts.clock import Clock
from facts.usb import KeyStick
from facts.zfs import Datasets, Snapshots
from operations.base import LOOK_SECONDS, ask
from tests.f3s.settings_data import F1, F2, FREEBSD, build, change, good
from tests.facts.recorded import REPLICA, zfs_get


class Recorder:
    """A host that remembers how it was asked."""

    data: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        self.asked.append(arguments)


class Answers(Recorder):
    """A host that has answers to some questions."""

    def __init__(self, answers: dict[type, Any]) -> None:
        super().__init__()
        self.answers = answers

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        super().get_fact(fact, **arguments)
        return self.answers.get(fact)


def test_the_standby_looks_into_the_replica_that_it_serves() -> None:
    """And not into that of a third host's dataset of the same name."""
    inventory = change(good(), (F2,), pool_disk="ada1")
    other = {"name": "other", "source": F2, "target": F1, "dataset": "zdata/enc/nfsdata", "interval": "1h"}
    for each in FREEBSD:
        inventory[each][1]["zrepl_jobs"].append(other)
    site = build(inventory)
    for settings, dataset in ((site.primary, "zdata/enc/nfsdata"), (site.standby, "zdata/sink/f0/zdata/enc/nfsdata")):
        host: Any = Recorder()
        view.look(host, settings, site)
        assert [asked["dataset"] for asked in host.asked if "dataset" in asked] == [dataset]


def test_a_question_that_never_ends_does_not_hide_the_other_answers() -> None:
    host: Any = Recorder()
    assert ask(host, Clock) is None
    assert host.asked == [{"_ignore_errors": True, "_timeout": LOOK_SECONDS}]


def test_nobody_asks_a_silent_stick_about_its_keys() -> None:
    """They are unknown, and that it is silent is told; with another stick the keys are tested, closed replicas' too."""
    silent = NoAnswer("the stick F3S_KEYS (da0) did not answer within 60 s", "pull it out")
    site = build(good())
    replica = site.replica(site.served_job)
    closed = "zdata/sink/f0/zroot/bhyve/fedora"
    lines = [line for name in (replica, closed) for line in zfs_get(name, REPLICA, encryptionroot=name)]
    snapshots = tuple(Snapshot(f"{name}@zrepl_1", "1", 1, 1) for name in (replica, closed))
    for stick, tested in ((silent, None), (None, {replica, closed})):
        host: Any = Answers({KeyStick: stick, Datasets: parse_datasets(lines), Snapshots: snapshots})
        seen = view.look(host, site.standby, site)
        assert (seen.stick, seen.stick_silent, seen.key_checks) == (None, stick, None)
        keys = [dict(asked["keys"]) for asked in host.asked if "keys" in asked]
        assert [set(each) for each in keys] == ([] if tested is None else [tested])
