"""The rotation of keys in the lab: of the data in use, killed again and again, and of the virtual machines."""

from __future__ import annotations

import os
import re

import pytest

from tests.lab.cluster import F0, F1, F2, Cluster

pytestmark = pytest.mark.lab
DATA, MACHINES = f"{F0}:zdata", f"{F0}:bhyve"
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
KILLS = (
    f"zfs set keylocation=file:///keys/{DATA}.old.key zdata/enc/nfsdata",
    f"zfs change-key -o keylocation=file:///keys/{DATA}.key -o keyformat=raw zdata/enc/nfsdata",
    "await-key",
)
if os.environ.get("CRASH_TEST"):
    KILLS = ("write-keys", KILLS[0], "zfs change-key", *KILLS[1:])


def task(verb: str, key: str) -> tuple[str, ...]:
    return "tasks/rotate_keys.py", "-y", "--data", f"rotate_{verb}={key}"


def named(site: Cluster, host: str, key: str) -> str:
    """The encryption roots of a host that name this key, each opened by it."""
    found = site.sh(host, f"zfs get -H -o name,value keylocation | grep -F /{key}.key").split()[::2]
    for dataset in found:
        site.sh(host, f"zfs load-key -n {dataset}")
    return " ".join(found)


def digests(site: Cluster, key: str) -> list[str]:
    return [site.sh(host, f"sha256 -q /keys/{key}.key").strip() for host in (F0, F1, F2)]


def test_a_rotation_that_is_killed_again_and_again_ends_with_one_new_key_that_opens_all(site: Cluster) -> None:
    site.make_secrets()
    before = digests(site, DATA)
    assert (
        f"say which key: --data rotate_key=NAME, or rotate_retire=NAME; {MACHINES}, {DATA}"
        in site.pyinfra(*task("key", "zdata")).output
    )
    for text in KILLS:
        killed = site.pyinfra(*task("key", DATA), LAB_KILL_AT=text)
        assert killed.rc == 137, f"it never came to {text}:\n{killed.output}"
    assert "still needs" in site.pyinfra(*task("retire", DATA)).output
    site.tick(70)
    # the replica has the new key, and names the old one: the only time at which a boot does not open it
    site.lab("reboot", "f1")
    site.tick(60)
    site.done(*task("key", DATA))
    assert site.done(*task("key", DATA)).changed == []
    assert digests(site, f"{DATA}.old") == before
    new = digests(site, DATA)
    assert len(set(new)) == 1
    assert new != before
    assert named(site, F0, DATA) == "zdata/enc zdata/enc/nfsdata"
    assert named(site, F1, DATA) == REPLICA

    assert f"{F1}: zrepl: the replica of f0_to_f1_nfsdata is mounted" in site.done("tasks/zrepl.py", "-y").changed
    site.done(*task("retire", DATA))
    assert site.done(*task("retire", DATA)).changed == []
    assert "old" not in site.sh(F2, "ls /keys")
    for host in ("f0", "f1"):
        site.lab("reboot", host)
        site.tick(240)
    assert site.sh(F0, "carp").startswith("MASTER")
    assert site.done("deploy.py", "-y", "--limit", "freebsd").changed == []


def test_the_closed_replicas_of_virtual_machines_get_the_new_key_too(site: Cluster) -> None:
    closed = named(site, F1, MACHINES)
    assert "zdata/sink/f0/zroot/bhyve/fedora" in closed
    before = digests(site, MACHINES)
    told = site.done("tasks/rotate_keys.py", "-y").output
    assert f"{MACHINES}: zroot/bhyve on f0, zdata/sink/f0/zroot/bhyve/fedora on f1" in told
    plan = site.done("tasks/rotate_keys.py", "--dry", "--data", f"rotate_key={MACHINES}")
    assert "the new key opens zdata/sink/f0/zroot/bhyve/fedora" in plan.output
    assert digests(site, MACHINES) == before
    site.done(*task("key", MACHINES))
    assert digests(site, MACHINES) != before
    assert named(site, F1, MACHINES) == closed
    verify = site.pyinfra("tasks/verify.py", "-y").output
    assert re.search(rf"replica keys +{F1} +ok +the stick opens zdata/sink/f0/zroot/bhyve/fedora", verify)
