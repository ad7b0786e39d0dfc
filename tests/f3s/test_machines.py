"""The way back of a virtual machine: what is left in each state that a killed run may leave, and what refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from f3s.bhyve.vms import Vm, VmHost
from f3s.machines import MachineWay, job_of, refusals
from f3s.returning import Data
from f3s.zfs import DATASET_PROPERTIES, Dataset, Property
from tests.f3s.verify.world import BHYVE_KEY, DISK, DISK_REPLICA, F0, F1, FEDORA, FEDORA_REPLICA, SITE, snapshots
from tests.f3s.ways import PROGRAMS, assert_nothing_is_destroyed, commands, places, sent, steps_left

PARENT = "zroot/bhyve"
NEW, ASIDE = f"{FEDORA}_return", f"{FEDORA}_set_aside"
NEW_DISK = f"{NEW}/disk0"
C, P, E = "zrepl_c", "f3s_promoted", "zrepl_e"
OFF = VmHost(True, (Vm("fedora", "Stopped", None, None),), "", frozenset())
RUNS = VmHost(True, (Vm("fedora", "Running", "9", None),), "", frozenset({"fedora"}))
JOB = job_of(SITE, "fedora")
assert JOB is not None
ALL = ["keep", "send", "place"]


def dataset(name: str, root: str = PARENT, local: str = "", **values: str) -> Dataset:
    """local: which of the values it has itself."""
    kind = "volume" if "disk" in name else "filesystem"
    values = {"type": kind, "encryption": "aes-256-gcm", "encryptionroot": root, "keystatus": "available"} | values
    values = {"readonly": "off", "written": "0", "used": "10", "available": "1000"} | values
    if kind == "filesystem":
        values = {"mounted": "yes", "canmount": "on"} | values
    found = {key: Property(value, "local" if key in local.split() else "default") for key, value in values.items()}
    return Dataset(name, dict.fromkeys(DATASET_PROPERTIES, Property("-", "-")) | found)


def data(present: dict[str, str], written: int = 0, **values: str) -> Data:
    """present: dataset -> its snapshots."""
    datasets = {name: dataset(name, **values) for name in present}
    found = snapshots({name: shorts.split() for name, shorts in present.items()})
    return Data(datasets, found, dict.fromkeys(present, written))


def home(present: dict[str, str], **values: str) -> Data:
    found = data(present, **values)
    return replace(found, datasets={PARENT: dataset(PARENT), **found.datasets})


def closed(present: dict[str, str], **values: str) -> Data:
    """What is kept is read-only; a clone is not, and nobody can write to it."""
    found = home(present, **{"canmount": "noauto", "mounted": "no", **values})
    kept = {name: dataset(name, readonly="on", canmount="noauto", mounted="no") for name in present if NEW not in name}
    return replace(found, datasets={**found.datasets, **kept})


def away(*later: str, **values: Any) -> Data:
    shorts = " ".join(("a", C, P, *later))
    return data({FEDORA_REPLICA: shorts, DISK_REPLICA: shorts}, **values)


OWN = f"a {C} own"
WRITES = away(written=5)
SENT = away(E, readonly="on")
BEGUN = home({FEDORA: OWN, DISK: OWN})
CLONED = closed({FEDORA: "own", DISK: "own", NEW: f"a {C}", NEW_DISK: f"a {C}"})
ARRIVED = closed({FEDORA: "own", DISK: "own", NEW: f"a {C} {E}", NEW_DISK: f"a {C} {E}"})
PLACED = home({ASIDE: "own", FEDORA: f"a {C} {E}", DISK: f"a {C} {E}"})


def way(old: Data, new: Data, here: VmHost = OFF, there: VmHost = OFF) -> MachineWay:
    return MachineWay(SITE, JOB, (old, here), (new, there), PROGRAMS)


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        (BEGUN, WRITES, ALL),
        (closed({FEDORA: "own", DISK: OWN, NEW: f"a {C}"}), WRITES, ALL),
        (closed({FEDORA: "own", DISK: OWN, NEW: f"a {C}", NEW_DISK: ""}), WRITES, ALL),
        (CLONED, WRITES, ALL[1:]),
        (CLONED, away(readonly="on", written=5), ALL[1:]),
        (CLONED, SENT, ALL[1:]),
        (closed({FEDORA: "own", DISK: "own", NEW: f"a {C} {E}", NEW_DISK: f"a {C}"}), SENT, ALL[1:]),
        (ARRIVED, SENT, ALL[2:]),
        # between the renames; then before the mount
        (closed({ASIDE: "own", NEW: f"a {C} {E}", NEW_DISK: f"a {C} {E}"}), SENT, ALL[2:]),
        (home({FEDORA: f"a {C} {E}", DISK: f"a {C} {E}"}, canmount="noauto", mounted="no"), SENT, ALL[2:]),
        (PLACED, SENT, []),
        # it runs at home, and is replicated again
        (home({FEDORA: f"a {C} {E} zrepl_f", DISK: f"a {C} {E} zrepl_f"}), away(E, "zrepl_f", readonly="on"), []),
        # whoever went on writing there in the middle of it
        (ARRIVED, away(E, written=5), ALL[1:]),
        # a host with a new disk, and a replica that has nothing in common
        (home({}), WRITES, ALL[1:]),
        (home({FEDORA: "strange", DISK: "strange"}), WRITES, ALL),
    ],
)
def test_what_is_left_is_found_from_facts(old: Data, new: Data, left: list[str]) -> None:
    assert steps_left(way(old, new), refusals) == left


def test_what_its_own_host_has_is_kept_and_the_clones_have_its_settings() -> None:
    old = home({FEDORA: OWN, DISK: OWN})
    local = "compression volmode volsize refreservation"
    values = {"compression": "zstd", "volmode": "dev", "volsize": "64", "refreservation": "64"}
    old.datasets[DISK] = dataset(DISK, local=local, **values)
    assert commands(way(old, WRITES), "keep") == [
        f"zfs unmount {FEDORA}",
        f"zfs set readonly=on canmount=noauto {FEDORA}",
        f"zfs set readonly=on {DISK}",
        f"zfs snapshot -r {FEDORA}@f3s_after_{C}",
        f"zfs clone -o canmount=noauto {FEDORA}@{C} {NEW}",
        f"zfs promote {NEW}",
        f"zfs clone -o compression=zstd -o volmode=dev {DISK}@{C} {NEW_DISK}",
        f"zfs promote {NEW_DISK}",
    ]
    assert commands(way(CLONED, WRITES), "send") == [
        f"zfs set readonly=on {FEDORA_REPLICA}",
        f"zfs set readonly=on {DISK_REPLICA}",
        f"now=$(date -u +%Y%m%d_%H%M%S) && zfs snapshot -r {FEDORA_REPLICA}@zrepl_${{now}}_000",
    ]
    mount = f"case $(zfs get -H -o value mounted {FEDORA}) in yes) ;; *) zfs mount {FEDORA} ;; esac"
    assert commands(way(ARRIVED, SENT), "place") == [
        f"zfs rename {FEDORA} {ASIDE}",
        f"zfs rename {NEW} {FEDORA}",
        f"zfs set canmount=on {FEDORA}",
        mount,
    ]
    again = closed({FEDORA: "own", ASIDE: "own", NEW: f"a {C} {E}", NEW_DISK: f"a {C} {E}"})
    assert f"zfs rename {FEDORA} {ASIDE}_2" in commands(way(again, SENT), "place")


def test_what_comes_whole_gets_the_key_of_what_it_is_below() -> None:
    got = closed({NEW: E})
    got.datasets[NEW] = dataset(NEW, NEW, keylocation="prompt", readonly="on", canmount="noauto", mounted="no")
    got.datasets[NEW_DISK] = dataset(NEW_DISK, NEW_DISK, keylocation="prompt", readonly="on")
    for old in (home({}), got):
        of_disk = [line for line in commands(way(old, WRITES), "place") if DISK in line]
        assert of_disk[:2] == [
            f"zfs set keylocation={BHYVE_KEY} {DISK}",
            f"case $(zfs get -H -o value keystatus {DISK}) in available) ;; *) zfs load-key {DISK} ;; esac",
        ]
        assert of_disk[2:] == [f"zfs change-key -i {DISK}", f"zfs inherit readonly {DISK}"]


def test_nothing_is_ever_destroyed() -> None:
    olds = (BEGUN, CLONED, ARRIVED, home({}), home({FEDORA: "strange"}))
    assert_nothing_is_destroyed((way(old, WRITES) for old in olds), "-f")
    assert places(way(BEGUN, WRITES)) == {"keep": {F0}, "send": {F1}, "place": {F0}}


def test_what_is_sent() -> None:
    assert sent(way(CLONED, SENT)) == (f"from @{C} {FEDORA_REPLICA}@{E}", f"old {NEW}")
    first = closed({NEW: f"a {C} {E}", NEW_DISK: f"a {C}"})
    assert sent(way(first, SENT)) == (f"from @{C} {DISK_REPLICA}@{E}", f"old {NEW_DISK}")
    assert way(first, SENT).target == NEW_DISK
    assert sent(way(home({}), SENT)) == (f"whole {FEDORA_REPLICA}@{E}", f"new {NEW}")
    assert sent(way(closed({NEW: E}), SENT)) == (f"whole {DISK_REPLICA}@{E}", f"volume {NEW_DISK}")
    half = closed({NEW: E, NEW_DISK: ""})
    half.datasets[NEW_DISK] = dataset(NEW_DISK, receive_resume_token="1-abc")
    assert sent(way(half, SENT)) == ("token 1-abc", f"old {NEW_DISK}")
    assert sent(way(ARRIVED, SENT)) is None


LOCKED = VmHost(True, (Vm("fedora", "Locked", F1, None),), "", frozenset())


@pytest.mark.parametrize(
    ("old", "new", "vms", "reason"),
    [
        (BEGUN, data({}), (OFF, OFF), f"f1 has no dataset {FEDORA_REPLICA}"),
        (BEGUN, data({FEDORA_REPLICA: f"a {C}"}), (OFF, OFF), "fedora was not promoted on f1"),
        (BEGUN, WRITES, (RUNS, OFF), "fedora runs on f0: `doas vm stop fedora`"),
        (BEGUN, WRITES, (OFF, RUNS), "fedora runs on f1: `doas vm stop fedora`"),
        # started by hand, without vm-bhyve
        (BEGUN, WRITES, (replace(OFF, devices=frozenset({"fedora"})), OFF), "fedora runs on f0"),
        (BEGUN, WRITES, (OFF, LOCKED), "fedora ended on f1 a moment ago, or with its host"),
        (BEGUN, WRITES, (OFF, VmHost(True, None, "no vm_dir", frozenset())), "not known what runs on f1: no vm_dir"),
        (data({}), WRITES, (OFF, OFF), f"f0 has no encrypted {PARENT} that is open"),
        (
            closed({FEDORA: "own", NEW: f"a {C} strange", NEW_DISK: f"a {C}"}),
            WRITES,
            (OFF, OFF),
            f"{NEW} on f0 has something that f1 does not",
        ),
        (home({}), away(used="2000"), (OFF, OFF), "too little room on f0: 2000 bytes"),
    ],
)
def test_what_refuses(old: Data, new: Data, vms: tuple[VmHost, VmHost], reason: str) -> None:
    found = refusals(way(old, new, *vms))
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize(
    ("old", "new", "roots"),
    [
        (BEGUN, WRITES, ([PARENT], [PARENT])),
        (BEGUN, data({FEDORA_REPLICA: C, DISK_REPLICA: C}, root=FEDORA_REPLICA), ([PARENT], [FEDORA_REPLICA])),
        # what comes whole: its key is loaded from there, too
        (home({}), data({FEDORA_REPLICA: C}, root=FEDORA_REPLICA), ([], [FEDORA_REPLICA])),
        # a root itself gets its wrapped key with the stream, whichever that is
        (home({FEDORA: OWN}, root=FEDORA), data({FEDORA_REPLICA: C}, root=FEDORA_REPLICA), ([], [])),
    ],
)
def test_what_one_key_has_to_open(old: Data, new: Data, roots: tuple[list[str], list[str]]) -> None:
    (_, here), (_, there) = way(old, new).locks()
    assert (list(here), list(there)) == roots
    assert {*here.values(), *there.values()} <= {BHYVE_KEY}


def test_a_machine_that_is_home_may_run_and_a_lock_from_a_power_cut_or_against_its_start_does_not_refuse() -> None:
    assert refusals(way(PLACED, SENT, RUNS)) == []
    assert refusals(way(BEGUN, WRITES, LOCKED)) == []
    assert job_of(SITE, "rocky") is None
