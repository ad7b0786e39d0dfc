"""The rotation of a key, played on a small model of sticks and datasets, and cut off after each command."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field

import pytest

from f3s.keys import KeyFile
from f3s.quoting import Shell
from f3s.rotation import Holder, Rotation, Step, opens
from f3s.settings import Site
from f3s.zfs import Dataset
from tests.f3s import replication_sites as sites
from tests.f3s.settings_data import F0, F1, F2
from tests.f3s.verify.world import NFS, REPLICA, SITE, dataset

KEY = f"{F0}:zdata"
OLD, NEW = "0" * 64, "1" * 64
FILE, OLD_FILE = f"file:///keys/{KEY}.key", f"file:///keys/{KEY}.old.key"
SOURCES = {(F0, "zdata/enc"), (F0, NFS)}


@dataclass
class World:
    """What sticks have, by host and name of the key; by host and dataset: the file that it names, and what opens it."""

    sticks: dict[str, dict[str, str]] = field(default_factory=lambda: {each: {KEY: OLD} for each in (F0, F1, F2)})
    datasets: dict[tuple[str, str], tuple[str, str]] = field(
        default_factory=lambda: dict.fromkeys([(F0, "zdata/enc"), (F0, NFS), (F1, REPLICA)], (FILE, OLD))
    )
    loaded: str = "available"
    readonly: str = "on"

    def rotation(self, retires: bool = False, promoted: bool | None = False, site: Site = SITE) -> Rotation:
        def holder(host: str) -> Holder:
            keys = {name: KeyFile(name, 32, "400", "root:wheel", sha256) for name, sha256 in self.sticks[host].items()}
            own = {name: opens for (at, name), (_, opens) in self.datasets.items() if at == host}
            datasets: dict[str, Dataset] = {
                name: dataset(name, name, self.datasets[host, name][0], keystatus=self.loaded, readonly=self.readonly)
                for name in own
            }
            opened, by_old = (
                frozenset(name for name, opens in own.items() if self.sticks[host].get(key) == opens)
                for key in (KEY, f"{KEY}.old")
            )
            return Holder(keys, (), datasets, frozenset(own), opened, by_old)

        return Rotation(site, KEY, {host: holder(host) for host in self.sticks}, promoted, once, retires)

    def does(self, step: Step) -> Iterator[None]:
        """The parts of a step, in order."""
        for line in step.lines:
            stick = self.sticks[step.host]
            key = self.sticks[line.copy.source][line.copy.name] if line.copy else NEW
            match line.verb:
                case "write":
                    assert line.name not in stick
                    stick[line.name] = key
                case "replace":
                    assert stick[f"{line.name}.old"] == OLD
                    stick[line.name] = key
                case "retire":
                    assert line.name in stick
                    del stick[f"{line.name}.old"]
            yield
        for host, command in step.commands:
            stick = self.sticks[host]
            match shlex.split(command):
                case ["zfs", "set", location, name]:
                    self.datasets[host, name] = (location.partition("=")[2], self.datasets[host, name][1])
                case ["zfs", "change-key", "-o", location, "-o", "keyformat=raw", name]:
                    file = location.removeprefix("keylocation=file:///keys/").removesuffix(".key")
                    self.datasets[host, name] = (f"file:///keys/{file}.key", stick[file])
                case ["wake-zrepl-job", "f0_to_f1_nfsdata"]:
                    self.datasets[F1, REPLICA] = (self.datasets[F1, REPLICA][0], self.datasets[F0, NFS][1])
                case ["await-key", _, location, *names]:
                    for name in names:
                        self.datasets[host, name] = (location, self.datasets[host, name][1])
                case [*_, "&&", "zfs", "snapshot", name]:
                    assert name == f"{NFS}@zrepl_$at"
                case other:
                    raise AssertionError(other)
            yield

    def opened_by_what_it_names(self) -> set[tuple[str, str]]:
        """The datasets that a boot opens."""
        return {
            (host, name)
            for (host, name), (location, opens) in self.datasets.items()
            if self.sticks[host].get(location.removeprefix("file:///keys/").removesuffix(".key")) == opens
        }


def once(program: str, *arguments: str | int) -> Shell:
    return Shell(shlex.join([program, *map(str, arguments)]))


def goes_on(world: World, retires: bool = False) -> None:
    now = world.rotation(retires=retires)
    assert now.refusals() == []
    for step in now.steps():
        for _ in world.does(step):
            pass
    assert list(world.rotation(retires=retires).steps()) == []


BOTH = {KEY: NEW, f"{KEY}.old": OLD}
ROTATED = World({host: dict(BOTH) for host in (F0, F1, F2)}, dict.fromkeys([*SOURCES, (F1, REPLICA)], (FILE, NEW)))


def test_cut_off_anywhere_a_boot_opens_all_and_the_next_run_ends_the_same() -> None:
    cuts = 0
    for cut in itertools.count():
        world = World()
        parts = itertools.chain.from_iterable(map(world.does, world.rotation().steps()))
        done = len(list(itertools.islice(parts, cut)))
        closed = set(world.datasets) - world.opened_by_what_it_names()
        # the replica has the new key, and names it when the next run has looked
        assert closed <= {(F1, REPLICA)}, (cut, world)
        assert not closed or world.datasets[F1, REPLICA] == (OLD_FILE, NEW)
        goes_on(world)
        assert world == ROTATED, cut
        if done < cut:
            break
        cuts += bool(closed)
    assert cut > 10
    assert cuts == 1


def test_the_old_key_goes_from_every_stick_when_nothing_needs_it() -> None:
    for cut in range(4):
        world = deepcopy(ROTATED)
        now = world.rotation(retires=True)
        assert now.refusals() == []
        assert len(list(itertools.islice(itertools.chain.from_iterable(map(world.does, now.steps())), cut))) == min(
            cut, 3
        )
        goes_on(world, retires=True)
        assert all(stick == {KEY: NEW} for stick in world.sticks.values())
        assert set(world.datasets) == world.opened_by_what_it_names()


def test_a_stick_that_was_made_anew_meanwhile_gets_both_keys() -> None:
    world = deepcopy(ROTATED)
    world.sticks[F2] = {KEY: NEW}
    goes_on(world)
    assert world == ROTATED


def without(world: World, host: str, name: str, opens: str) -> World:
    world.datasets[host, name] = (world.datasets[host, name][0], opens)
    return world


@pytest.mark.parametrize(
    ("world", "retires", "promoted", "reason"),
    [
        (World(), False, True, "f1 was promoted"),
        (World(), False, None, "nothing says whether f1 was promoted"),
        (World({F0: {KEY: OLD}, F1: {KEY: NEW}, F2: {KEY: OLD}}), False, False, "disagree"),
        (World({F0: {KEY: OLD}, F1: {}, F2: {KEY: OLD}}), False, False, "not every stick has"),
        # two new keys
        (World({F0: BOTH, F1: BOTH | {KEY: "2" * 64}, F2: {KEY: OLD}}), False, False, "disagree"),
        (without(World(), F0, NFS, "2" * 64), False, False, f"opens {NFS} on {F0}"),
        (World(loaded="unavailable"), False, False, f"the key of {NFS} on {F0} is not loaded"),
        (World(readonly="off"), False, False, f"{REPLICA} on {F1} can be written"),
        (without(deepcopy(ROTATED), F1, REPLICA, OLD), True, False, f"{REPLICA} on {F1} still needs"),
    ],
)
def test_what_refuses(world: World, retires: bool, promoted: bool | None, reason: str) -> None:
    assert any(reason in each for each in world.rotation(retires=retires, promoted=promoted).refusals())


def test_a_replica_that_no_job_fills_keeps_the_old_key_on_the_sticks() -> None:
    world = World()
    orphan = (F1, "zdata/sink/f0/zdata/enc/former")
    world.datasets[orphan] = (FILE, OLD)
    for step in world.rotation().steps():
        for _ in world.does(step):
            pass
    assert world.datasets[orphan] == (OLD_FILE, OLD)
    assert list(world.rotation().steps()) == []
    assert [each for each in world.rotation(retires=True).refusals() if "former" in each]


def test_a_snapshot_has_the_name_that_its_job_sends_and_prunes() -> None:
    two = sites.site(sites.job("f0_to_f2_nfsdata", F0, F2), sites.job("f0_to_f1_nfsdata", F0, F1))
    [step] = [each for each in World().rotation(site=two).steps() if each.key == "replicate f0_to_f1_nfsdata"]
    assert shlex.split(step.commands[0][1])[-1] == f"{NFS}@zrepl_f0_to_f1_nfsdata_$at"


def test_which_key_opens_what() -> None:
    found = {"f0": {NFS: dataset(NFS, NFS, FILE), "zdata": dataset("zdata", None)}, "f1": None}
    assert opens([KEY, f"{F2}:zdata"], found) == [
        f"{KEY}: {NFS} on f0",
        f"{F2}:zdata: nothing",
        "f1 could not be asked",
    ]
