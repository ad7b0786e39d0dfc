"""A virtual machine that ran on its replica comes back in the lab: killed again and again, refused, to a new disk."""

from __future__ import annotations

import re

import pytest

from tests.lab.cluster import F0, F1, Cluster

pytestmark = pytest.mark.lab
FEDORA = "zroot/bhyve/fedora"
REPLICA = f"zdata/sink/f0/{FEDORA}"
RETURN = ("tasks/return_vm.py", "-y", "--data", "return_vm=fedora")
DISK = "/dev/zvol/{}/disk1"


@pytest.fixture
def moved(site: Cluster) -> Cluster:
    """f0 has died; fedora ran on f1, wrote there and was stopped; f0 is back, and has writes of its own."""
    site.sh(F1, "pkg install -y vm-bhyve; mkdir /vms; sysrc vm_enable=YES vm_dir=/vms")
    site.sh(F0, f"zfs create -V 16M -o volmode=dev {FEDORA}/disk1")
    site.tick(610)
    site.deploy("zrepl")
    site.lab("crash", "f0")
    site.sh(
        F1,
        f"zfs snapshot -r {REPLICA}@f3s_promoted; zfs load-key -r {REPLICA}; zfs inherit -r readonly {REPLICA};"
        "zfs set mountpoint=/data/vms_of_f0 zdata/sink/f0/zroot/bhyve; rm -f /data/vms_of_f0/fedora/run.lock;"
        "vm datastore add f0 zfs:zdata/sink/f0/zroot/bhyve; vm start fedora;"
        f"echo on-f1 >/data/vms_of_f0/fedora/on-f1; echo on-f1 >{DISK.format(REPLICA)};"
        f"zfs create -V 16M {REPLICA}/disk2; echo new >{DISK.format(REPLICA).replace('1', '2')}",
    )
    site.lab("boot", "f0")
    site.tick(70)
    site.sh(F0, f"touch /{FEDORA}/only-on-f0; echo only-on-f0 >{DISK.format(FEDORA)}")
    return site


def home(site: Cluster) -> None:
    """fedora runs on f0 with what it wrote on f1, and is replicated; nothing is left to do."""
    assert site.done(*RETURN).changed == []
    assert "only-on-f0" not in site.sh(F0, f"cat /{FEDORA}/on-f1; ls /{FEDORA}")
    assert site.sh(F0, f"head -c 6 {DISK.format(FEDORA)}") == "on-f1\n"
    assert site.sh(F0, f"head -c 4 /dev/zvol/{FEDORA}/disk2") == "new\n"
    shown = site.sh(F0, f"zfs get -H -r -t filesystem,volume -o value encryptionroot,readonly {FEDORA}").split()
    assert shown == ["zroot/bhyve", "off"] * 3
    assert re.search(r"fedora .*Running", site.sh(F0, "vm start fedora; vm list"))
    assert site.done(*RETURN).changed == []
    site.sh(F0, f"echo later >/{FEDORA}/later")
    site.tick(610)
    assert "running already" in site.attempt(F1, "vm start fedora").out, "it would run twice"
    assert site.sh(F1, "cat /data/vms_of_f0/fedora/later") == "later\n"
    assert site.sh(F1, f"zfs get -H -o value readonly {REPLICA} {REPLICA}/disk1").split() == ["on", "on"]


def test_a_return_that_is_killed_again_and_again_ends_as_one_that_never_was(moved: Cluster) -> None:
    moved.sh(F1, "vm stop fedora; sleep 20")
    numbers: list[int] = []
    moved.killed(*RETURN, first=8, later=6, between=numbers.append)  # a run begins with looks, and each step does
    assert len(numbers) >= 4, "it was over too soon to have been killed in each step"
    home(moved)
    aside = f"{FEDORA}_set_aside"
    assert moved.sh(F0, f"zfs get -H -o value readonly,mounted {aside}").split() == ["on", "no"]
    assert "only-on-f0" in moved.sh(F0, f"zfs mount {aside}; ls /{aside}")
    assert moved.sh(F0, f"head -c 10 {DISK.format(aside)}") == "only-on-f0"
    assert moved.sh(F0, f"zfs get -H -o value volmode {FEDORA}/disk1") == "dev\n"


def test_what_refuses_before_anything_is_changed(moved: Cluster) -> None:
    assert "fedora runs on f1: `doas vm stop fedora` there" in moved.pyinfra(*RETURN).output
    moved.sh(F1, "vm stop fedora; sleep 20")
    moved.sh(F0, "vm start fedora")
    assert "fedora runs on f0: `doas vm stop fedora` there" in moved.pyinfra(*RETURN).output
    moved.sh(F0, "vm stop fedora; sleep 20")
    assert f"{F0} does not take part in this run" in moved.pyinfra(*RETURN, "--limit", F1).output
    assert "no job replicates a virtual machine rocky" in moved.pyinfra(*RETURN[:3], "return_vm=rocky").output
    assert moved.sh(F0, f"zfs list -H -o name -t filesystem -r {FEDORA.rpartition('/')[0]} | grep -c fedora") == "1\n"
    # tasks/zrepl.py leaves it writable, and says what it is
    run = moved.done("tasks/zrepl.py", "-y", "--limit", "storage")
    assert f"{REPLICA} has diverged" in run.output
    assert moved.sh(F1, f"zfs get -H -o value readonly {REPLICA}") == "off\n"


def test_a_host_with_nothing_of_it_gets_all_of_it(moved: Cluster) -> None:
    moved.sh(F1, "vm stop fedora; sleep 20")
    moved.sh(F0, f"zfs destroy -r {FEDORA}")
    moved.done(*RETURN)
    home(moved)
