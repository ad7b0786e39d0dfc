"""The way back of the role: which steps are left in each state that a killed run may leave, and what refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from f3s.carp import CarpState
from f3s.controller import Status
from f3s.returning import Side, Way, kept, refusals
from tests.f3s.verify.world import F0, F1, NFS, REPLICA, SITE, dataset, snapshots
from tests.f3s.ways import PROGRAMS, assert_nothing_is_destroyed, commands, places, sent, steps_left

NEW, ASIDE = f"{NFS}_return", f"{NFS}_set_aside_1"
COMMON = "zrepl_20260301_115900_000"
PROMOTED = "f3s_promoted_1"
A, B = "zrepl_20260301_120500_000", "zrepl_20260301_120500_001"
ALL = ["keep", "catch up", "place", "open", "freeze", "hand over", "afterwards"]


def home(present: dict[str, list[str]], *, readonly: str = "on", zrepl: bool = True, **values: Any) -> Side:
    """The old primary. present: dataset -> snapshots."""
    said = Status(started=True, ready=False, writer="f1", epoch=1, carp=CarpState.BACKUP, reason="f1 was promoted")
    return side(present, said, zrepl, readonly=readonly, canmount="noauto", **values)


def away(*snapshots: str, **values: Any) -> Side:
    """The promoted standby, whose clients write."""
    said = Status(started=True, ready=True, writer="f1", epoch=1, carp=CarpState.MASTER)
    return side({REPLICA: list(snapshots)}, said, True, readonly="off", **values)


def side(present: dict[str, list[str]], said: Status, zrepl: bool, **properties: str) -> Side:
    datasets = {"zdata/enc": dataset("zdata/enc", "zdata/enc", available="1000", used="1")}
    for name in present:
        datasets[name] = dataset(name, name, **{"used": "10", "mounted": "no", **properties})
    return Side(datasets, snapshots(present), dict.fromkeys(present, 0), said, zrepl)


def says(one: Side, **values: Any) -> Side:
    return replace(one, controller=replace(one.controller, **values))


def frozen(one: Side) -> Side:
    datasets = {**one.datasets, REPLICA: dataset(REPLICA, REPLICA, readonly="on", used="10")}
    return replace(says(one, returning=True), datasets=datasets)


WRITES = away("a", COMMON, PROMOTED)
SENT = away("a", COMMON, PROMOTED, A, B)
READY = says(home({NFS: ["a", COMMON, A]}, zrepl=False), ready=True, returning=True)
FINAL = frozen(away("a", COMMON, PROMOTED, A, B, "z"))
DONE = says(home({NFS: ["a", COMMON, A, "z"]}), writer="f0", epoch=2, ready=True, carp=CarpState.MASTER)


def way(old: Side, new: Side) -> Way:
    return Way(SITE, old, new, PROGRAMS)


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        (home({NFS: ["a", COMMON, "own"]}), WRITES, ALL),
        # a clone that was not promoted yet; then one that was
        (home({NFS: ["a", COMMON, "own"], NEW: []}), WRITES, ALL),
        (home({NFS: ["own"], NEW: ["a", COMMON]}), WRITES, ALL[1:]),
        # which shows what its source's log had as written; a dataset that somebody could write to has to be clean
        (replace(home({NFS: ["own"], NEW: ["a", COMMON]}), written={NEW: 8192, NFS: 0}), WRITES, ALL[1:]),
        (replace(home({NFS: ["a", COMMON]}), written={NFS: 8192}), WRITES, ALL),
        # what follows, and could be written
        (home({NFS: ["a", COMMON]}, readonly="off"), WRITES, ALL),
        # the renames, and between them
        (home({ASIDE: ["own"], NEW: ["a", COMMON, A]}, zrepl=False), SENT, ALL[1:]),
        (home({ASIDE: ["own"], NFS: ["a", COMMON, A]}, zrepl=False), SENT, ["catch up", *ALL[3:]]),
        (home({NFS: [A]}, zrepl=False, keystatus="unavailable"), SENT, ["catch up", *ALL[3:]]),
        (READY, SENT, ["catch up", *ALL[4:]]),
        # from the freeze on
        (READY, frozen(SENT), ALL[4:]),
        (says(home({NFS: ["a", COMMON, "z"]}, zrepl=False), ready=True), FINAL, ALL[5:]),
        (
            says(home({NFS: ["a", COMMON, "z"]}, zrepl=False), ready=True),
            says(FINAL, started=False, ready=False),
            ALL[5:],
        ),
        (DONE, says(FINAL, started=False), ["afterwards"]),
        (DONE, says(FINAL, writer="f0", epoch=2, carp=CarpState.BACKUP), []),
        # a blank host, and one without anything in common, whose dataset is set aside as it is
        (home({}), WRITES, ALL[1:]),
        (home({NFS: ["strange"]}), WRITES, ALL[1:]),
    ],
)
def test_what_is_left_is_found_from_facts(old: Side, new: Side, left: list[str]) -> None:
    assert steps_left(way(old, new), refusals) == left


def test_the_old_writes_are_kept_in_a_dataset_of_their_own_before_anything_else() -> None:
    old = home({NFS: ["a", COMMON, "own"]}, readonly="off")
    old.datasets[NFS] = dataset(NFS, NFS, readonly="off", canmount="on", mounted="yes", used="10")
    assert commands(way(old, WRITES), "keep") == [
        f"zfs set readonly=on canmount=noauto {NFS}",
        f"zfs unmount {NFS}",
        f"zfs snapshot {NFS}@f3s_after_{COMMON}",
        f"zfs clone -o canmount=noauto -o readonly=on {NFS}@{COMMON} {NEW}",
        f"zfs promote {NEW}",
    ]
    place = commands(way(home({NFS: ["own"], NEW: ["a", COMMON]}), WRITES), "place")
    assert place[1:] == [f"zfs set mountpoint=none {NFS}", f"zfs rename {NFS} {ASIDE}", f"zfs rename {NEW} {NFS}"]
    found = home({ASIDE: [f"f3s_after_{COMMON}"], NFS: [COMMON]})
    assert kept(SITE.primary, found.datasets, found.snapshots, SITE) == (
        f"; {ASIDE} has what f0 wrote by itself: `doas zfs set mountpoint=/mnt {ASIDE}; doas zfs mount {ASIDE}; "
        f"doas zfs diff {NFS}@{COMMON} {ASIDE}@f3s_after_{COMMON}`"
    )


def test_nothing_is_ever_destroyed() -> None:
    olds = (home({NFS: ["a", COMMON, "own"]}), home({}), home({NFS: ["strange"]}), READY)
    assert_nothing_is_destroyed((way(old, WRITES) for old in olds), "-f")


def test_a_snapshot_that_slipped_in_is_set_aside_as_well() -> None:
    """A zrepl that somebody started in the middle takes one."""
    old = home({ASIDE: ["own"], NFS: ["a", COMMON, A, "slipped"]})
    found = way(old, SENT)
    assert steps_left(found, refusals) == ALL
    assert f"zfs clone -o canmount=noauto -o readonly=on {NFS}@{A} {NEW}" in commands(found, "keep")
    assert f"zfs rename {NFS} {ASIDE}_2" in commands(found, "place")


def test_what_is_sent() -> None:
    follows = home({NEW: ["a", COMMON]})
    assert sent(way(follows, SENT)) == (f"from @{COMMON} {REPLICA}@{A}", f"old {NEW}")
    assert sent(way(home({}), SENT)) == (f"whole {REPLICA}@{A}", f"new {NEW}")
    # the newest is kept back, or the sink would take what zrepl sends
    assert sent(way(home({NEW: ["a", COMMON, A]}), SENT)) is None
    assert sent(way(READY, FINAL)) == (f"from @{A} {REPLICA}@z", f"old {NFS}")
    half = way(home({NEW: []}, receive_resume_token="1-abc"), SENT)
    assert sent(half) == ("token 1-abc", f"old {NEW}")
    assert steps_left(half, refusals) == ALL[1:]


def test_the_snapshots_are_named_as_zrepl_prunes_them() -> None:
    first = f"now=$(date -u +%Y%m%d_%H%M%S) && zfs snapshot {REPLICA}@zrepl_${{now}}_000"
    assert str(way(READY, SENT).snapshots()) == f"{first} && zfs snapshot {REPLICA}@zrepl_${{now}}_001"
    assert str(way(READY, FINAL).snapshots()) == first


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (home({NFS: ["a"]}), says(WRITES, writer="f0", epoch=0), "f1 was not promoted"),
        (says(home({NFS: ["a"]}), writer="f0", epoch=0), WRITES, "f0 has not learned yet"),
        (home({NFS: ["a"]}), says(WRITES, carp=CarpState.BACKUP), "f1 does not serve"),
        (home({NFS: ["a"]}), says(WRITES, ready=False, reason="no key"), "f1 does not serve: no key"),
        (home({NFS: ["a"], f"{NFS}/below": ["a"]}), WRITES, f"f0 has datasets below {NFS}"),
        (says(home({NFS: ["a"]}), fsid_number=16), WRITES, "reboot f0"),
        (home({NFS: ["own"], NEW: ["a", COMMON, "strange"]}), WRITES, f"{NEW} on f0 has something"),
        (home({}, used="1"), away(COMMON, used="2000"), "too little room on f0: 2000 bytes"),
        (home({}), away(), "has no snapshot"),
        (home({NFS: ["a", "own"]}, keystatus="unavailable"), WRITES, f"the key of {NFS} on f0 is not loaded"),
    ],
)
def test_what_refuses(old: Side, new: Side, reason: str) -> None:
    found = "\n".join(refusals(way(old, new)))
    assert reason in found
    assert found.count("\n") == 0


def test_a_standby_that_is_slow_to_answer_serves() -> None:
    assert refusals(way(home({NFS: ["a"]}), says(WRITES, ready=None, reason="stunnel does not answer"))) == []


def test_the_standby_is_stopped_and_has_nothing_new_before_the_other_one_writes() -> None:
    whole = says(home({NFS: ["a", COMMON, "z"]}, zrepl=False), ready=True)
    stops, promotes = commands(way(whole, FINAL), "hand over")
    assert stops == (
        "service f3s_storage stop && zpool sync zdata && "
        f"zfs get -Hp -o value readonly,written {REPLICA} | xargs | grep -x 'on 0'"
    )
    assert promotes == "/usr/local/bin/carp promote without f1"


def test_where_each_command_runs() -> None:
    where = places(way(home({NFS: ["a", COMMON, "own"]}), WRITES))
    assert where["keep"] == where["place"] == where["open"] == {F0}
    assert where["catch up"] == where["freeze"] == {F1}
    assert where["hand over"] == where["afterwards"] == {F0, F1}
