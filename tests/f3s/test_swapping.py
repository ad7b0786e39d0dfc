"""The permanent swap: which steps are left in each state that a killed run may leave, what they do, what refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from f3s.carp import CarpState
from f3s.controller import Status, told_role, wanted_values
from f3s.returning import KEPT, kept
from f3s.settings import Site
from f3s.swapping import Found, Means, Swap, refusals
from tests.f3s.settings_data import build, change, good
from tests.f3s.verify.world import F0, F1, NFS, SITE, changed, dataset, one, right_cluster, snapshots
from tests.f3s.verify.world import REPLICA as BEFORE
from tests.f3s.ways import assert_nothing_is_destroyed, steps_left

REPLICA, ASIDE = f"zdata/sink/f1/{NFS}", f"{NFS}_set_aside_1"
COMMON, PROMOTED = "zrepl_20260301_115900_000", "f3s_promoted_1"
OLD_KEY, NEW_KEY = f"file:///keys/{F0}:zdata.key", f"file:///keys/{F1}:zdata.key"
MEANS = Means("program", {F0: "F3S_ROLE='standby'\n", F1: "F3S_ROLE='primary'\n"})
OLD = ["keep", "key", "aside"]
# "aside" first: the old job would send all of it anew into the new primary's sink, where nothing refuses it
ALL = [*OLD, "take over", "stand by"]
ROLES = {F0: wanted_values(SITE.primary, SITE), F1: wanted_values(SITE.standby, SITE)}


def swapped() -> Site:
    """The shipped site with the two hosts in each other's place."""
    inventory = good()
    for host, without, within in ((F0, "primary", "standby"), (F1, "standby", "primary")):
        inventory[host][0].remove(f"storage_{without}")
        inventory[host][0].add(f"storage_{within}")
    jobs = [dict(job) for job in inventory[F0][1]["zrepl_jobs"]]
    jobs[0] |= {"name": "f1_to_f0_nfsdata", "source": F1, "target": F0}
    return build(change(inventory, tuple(host for host, _ in inventory.items() if host[0] == "f"), zrepl_jobs=jobs))


AFTER = swapped()


def side(host: str, present: dict[str, list[str]], properties: dict[str, dict[str, str]], **said: Any) -> Found:
    """One of the hosts. present: dataset -> snapshots."""
    datasets = {"zdata/enc": dataset("zdata/enc", "zdata/enc")}
    for name in present:
        usual = {"mounted": "no", "readonly": "on", "canmount": "noauto", "keylocation": OLD_KEY}
        datasets[name] = dataset(name, name, **(usual | properties.get(name, {})))
    usual_status = {"started": True, "writer": "f1", "epoch": 1, "values": ROLES[host]}
    return Found(datasets, snapshots(present), Status(**(usual_status | said)))


def old(present: dict[str, list[str]], **said: Any) -> Found:
    properties = said.pop("properties", {})
    return side(F0, present, properties, **({"ready": False, "carp": CarpState.BACKUP} | said))


def new(present: dict[str, list[str]], **said: Any) -> Found:
    properties = said.pop("properties", {})
    return side(F1, present, properties, **({"ready": True, "carp": CarpState.MASTER} | said))


SERVES = new({BEFORE: ["a", COMMON, PROMOTED]})
TAKEN = new(
    {NFS: ["a", COMMON, PROMOTED]},
    values=wanted_values(AFTER.primary, AFTER),
    properties={NFS: {"keylocation": NEW_KEY}},
)
BEGINS = old({NFS: ["a", COMMON, "own"]})
KEYED = {REPLICA: {"keylocation": NEW_KEY}}
PLACED = old({ASIDE: ["own"], REPLICA: ["a", COMMON]}, properties=KEYED)
STANDS_BY = replace(PLACED, controller=replace(PLACED.controller, values=wanted_values(AFTER.standby, AFTER)))


def swap(mine: Found, theirs: Found, **holds: tuple[str, ...]) -> Swap:
    return Swap(AFTER, mine, theirs, holds, MEANS)


def commands(mine: Found, theirs: Found, key: str, **holds: tuple[str, ...]) -> list[tuple[str, str]]:
    found = [step for step in swap(mine, theirs, **holds).steps() if step.key == key]
    return [(host, str(line)) for step in found for host, line in step.commands]


@pytest.mark.parametrize(
    ("mine", "theirs", "left"),
    [
        (SERVES, BEGINS, ALL),
        # a clone that was not promoted yet; then one that was, with its new key
        (SERVES, old({NFS: ["a", COMMON, "own"], REPLICA: []}), ALL),
        (SERVES, old({NFS: ["own"], REPLICA: ["a", COMMON]}), ALL[1:]),
        (SERVES, old({NFS: ["own"], REPLICA: ["a", COMMON]}, properties=KEYED), ALL[2:]),
        (SERVES, PLACED, ALL[3:]),
        # no power after the rename, before the role
        (new({NFS: ["a", COMMON, PROMOTED]}, ready=False), PLACED, ALL[3:]),
        (TAKEN, PLACED, ALL[4:]),
        (TAKEN, STANDS_BY, []),
        # what the deploy has received meanwhile is its own business
        (TAKEN, replace(STANDS_BY, datasets={REPLICA: dataset(REPLICA, REPLICA, keylocation="prompt")}), []),
        # a blank disk, another host without f3s_storage, nothing in common
        (SERVES, old({}), ALL[3:]),
        (SERVES, old({}, values=None, writer="", epoch=0), ["take over"]),
        (SERVES, old({NFS: ["strange"]}), ["aside", *ALL[3:]]),
        (SERVES, old({NFS: ["strange"]}, properties={NFS: {"readonly": "off"}}), ["keep", "aside", *ALL[3:]]),
        # a host that got a new system, and kept its data
        (TAKEN, replace(BEGINS, controller=Status()), OLD),
    ],
)
def test_what_is_left_is_found_from_facts(mine: Found, theirs: Found, left: list[str]) -> None:
    assert steps_left(swap(mine, theirs), refusals) == left


def test_the_old_writes_are_kept_beside_and_the_history_becomes_the_replica() -> None:
    theirs = old({NFS: ["a", COMMON, "own"]}, properties={NFS: {"readonly": "off", "canmount": "on", "mounted": "yes"}})
    placeholder = "zfs create -o zrepl:placeholder=on -o mountpoint=none -o encryption=off"
    assert commands(SERVES, theirs, "keep") == [
        (F0, f"zfs set readonly=on canmount=noauto {NFS}"),
        (F0, f"zfs unmount {NFS}"),
        (F0, f"zfs snapshot {NFS}@{KEPT}{COMMON}"),
        (F0, "zfs create -o mountpoint=none zdata/sink"),
        (F0, f"{placeholder} zdata/sink/f1"),
        (F0, f"{placeholder} zdata/sink/f1/zdata"),
        (F0, f"{placeholder} zdata/sink/f1/zdata/enc"),
        (F0, f"zfs clone -o canmount=noauto -o readonly=on {NFS}@{COMMON} {REPLICA}"),
        (F0, f"zfs promote {REPLICA}"),
    ]
    assert commands(SERVES, theirs, "key") == [
        (
            F0,
            f"case $(zfs get -H -o value keystatus {REPLICA}) in available) ;; *) zfs load-key {REPLICA} ;; esac",
        ),
        (F0, f"zfs change-key -o keylocation={NEW_KEY} -o keyformat=raw {REPLICA}"),
    ]
    assert commands(SERVES, theirs, "aside") == [
        (F0, f"zfs set mountpoint=none {NFS}"),
        (F0, f"zfs rename {NFS} {ASIDE}"),
    ]


def test_the_promoted_host_takes_the_name_the_key_and_the_role() -> None:
    hold = {f"{BEFORE}@{COMMON}": ("zrepl_last_received_J_sink", "keep")}
    assert commands(SERVES, PLACED, "take over", **hold) == [
        (F1, f"zfs release zrepl_last_received_J_sink {BEFORE}@{COMMON}"),
        (
            F1,
            f"zfs load-key -n -L {NEW_KEY} zdata/enc && "
            f"zfs change-key -o keylocation={NEW_KEY} -o keyformat=raw {BEFORE}",
        ),
        (F1, f"sh -c program take-role 'F3S_ROLE='\"'\"'primary'\"'\"'' {BEFORE} {NFS}"),
    ]
    assert commands(SERVES, PLACED, "stand by") == [
        (F0, "rm -f /var/db/f3s/carp.hold"),
        (F0, f"sysrc zfskeys_datasets-={NFS}"),
        (F0, f"sysrc zfskeys_datasets+={REPLICA}"),
        (F0, f"case $(zfs get -H -o value keystatus {REPLICA}) in available) ;; *) zfs load-key {REPLICA} ;; esac"),
        (F0, f"zfs set mountpoint=/data/nfs {REPLICA}"),
        (F0, f"zfs set canmount=on {REPLICA}"),
        (F0, f"case $(zfs get -H -o value mounted {REPLICA}) in yes) ;; *) zfs mount {REPLICA} ;; esac"),
        (F0, "sh -c program take-role 'F3S_ROLE='\"'\"'standby'\"'\"''"),
    ]


def test_a_host_without_its_data_waits_for_them() -> None:
    commands_of = commands(SERVES, old({}), "stand by")
    assert [line.split()[0] for _, line in commands_of] == ["rm", "sysrc", "sh"]


def test_nothing_is_ever_destroyed_or_sent() -> None:
    olds = (BEGINS, PLACED, old({}), old({NFS: ["strange"]}))
    assert_nothing_is_destroyed((swap(SERVES, theirs) for theirs in olds), "send", "recv")


@pytest.mark.parametrize(
    ("mine", "theirs", "reason"),
    [
        (new({BEFORE: ["a"]}, writer="f0", epoch=0), BEGINS, r"f1 was not promoted: swap .* back .* promote=f1"),
        (new({}, values=None), BEGINS, "f1 has no f3s_storage"),
        (SERVES, old({NFS: ["a"]}, writer="f0", epoch=0), "f0 has not learned yet"),
        (SERVES, old({NFS: ["a"]}, returning=True), "on its way back: .* rm /var/db/f3s/return` on f0"),
        (new({BEFORE: ["a"]}, ready=False, reason="no key"), BEGINS, "f1 does not serve: no key"),
        (new({BEFORE: ["a"]}, carp=CarpState.BACKUP), BEGINS, "f1 does not serve"),
        (new({}), BEGINS, f"f1 has neither {BEFORE} nor {NFS}"),
        (new({BEFORE: ["a"], NFS: []}), old({}), f"f1 has another {NFS}"),
        (new({BEFORE: ["a"], f"{BEFORE}/b": ["a"]}), old({}), f"f1 has datasets below {BEFORE}"),
        (SERVES, old({NFS: ["a"], f"{NFS}/b": ["a"]}), f"f0 has datasets below {NFS}"),
        (SERVES, old({NFS: ["a"]}, fsid_number=16, properties={NFS: {"mounted": "yes"}}), "reboot f0"),
        (SERVES, old({NFS: ["own"], REPLICA: ["a", "strange"]}), f"{REPLICA} on f0 has something"),
        (SERVES, old({NFS: ["a"]}, properties={NFS: {"keystatus": "unavailable"}}), f"the key of {NFS} on f0"),
    ],
)
def test_what_refuses(mine: Found, theirs: Found, reason: str) -> None:
    (said,) = refusals(swap(mine, theirs))
    assert re.search(reason, said), said


def test_a_host_that_is_slow_to_answer_serves() -> None:
    assert refusals(swap(new({BEFORE: ["a"]}, ready=None), old({}))) == []


def test_the_role_is_read_from_a_file_of_any_version() -> None:
    assert told_role("# Installed\nF3S_ROLE='standby'\nF3S_UNKNOWN='x'\n") == "standby"
    assert told_role("") is None


def test_verify_says_what_was_set_aside_on_the_new_standby() -> None:
    theirs = old({ASIDE: [f"{KEPT}{COMMON}"], REPLICA: [COMMON]})
    told = kept(AFTER.standby, theirs.datasets, theirs.snapshots, AFTER)
    assert told == (
        f"; {ASIDE} has what f0 wrote by itself: `doas zfs set mountpoint=/mnt {ASIDE}; doas zfs mount {ASIDE}; "
        f"doas zfs diff {REPLICA}@{COMMON} {ASIDE}@{KEPT}{COMMON}`"
    )
    cluster = right_cluster()
    there = {**(cluster.hosts[F1].datasets or {}), ASIDE: dataset(ASIDE, ASIDE)}
    assert f"{ASIDE} has what f1 wrote" in one(changed(cluster, F1, datasets=there), "writer", "cluster").reason
