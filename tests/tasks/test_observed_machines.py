"""The storage tasks on machines like the observed ones: FreeBSD on UFS, virtual themselves, VM datasets on a disk of
their own (tests/lab/transcripts, section migrate)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.cluster import F0, F1, REPOSITORY, Cluster

pytestmark = pytest.mark.lab

# in a process of its own: reading the inventory patches the interpreter for gevent
MAKE = """
import dataclasses
from lab import build, catalog, plans, rootfs
from lab.core import Store, state_dir

store = Store(state_dir())
machines = []
for plan in plans.plans(plans.site()):
    slots = {**plan.slots, "ada2": (1 << 30, "QEMU HARDDISK", "S0ZROOT0")}
    machines.append(dataclasses.replace(plan, slots=slots, ufs_root=True) if plan.platform == "freebsd" else plan)
build.up(store, machines)
with store.edit() as cluster:
    f0 = cluster.host("f0")
    f0.parts["virtualization"] = False
    f0.packages.add("vm-bhyve")
    rootfs.install_played(store.root(f0.name), catalog.PACKAGES["freebsd", "vm-bhyve"])
"""
VM_DATASETS = """
zpool create -m none zroot /dev/ada2
zfs create -o mountpoint=/zroot/bhyve zroot/bhyve
zfs create zroot/bhyve/rocky
zfs create -V 64M -s zroot/bhyve/rocky/disk0
zfs create zroot/bhyve/fedora
echo disk > /zroot/bhyve/rocky/disk.img
mkdir -p /zroot/bhyve/.config /zroot/bhyve/.templates /zroot/bhyve/.img /zroot/bhyve/.iso
echo sw > /zroot/bhyve/.config/system.conf
sysrc vm_enable=YES vm_dir="zfs:zroot/bhyve"
"""
TASKS = ("usb_keys", "zfs_encrypt", "bhyve_migrate", "zrepl")
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"


def test_from_the_installation_to_a_replica_that_survives_reboots(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "state")
    subprocess.run([sys.executable, "-c", MAKE], env=cluster.environment, cwd=REPOSITORY, check=True)
    cluster.sh(F0, VM_DATASETS)
    assert "virtualization is not supported" in cluster.attempt(F0, "vm list").err
    assert "zfs_enable" not in cluster.sh(F0, "cat /etc/rc.conf")
    cluster.deploy(*TASKS)
    cluster.sh(F0, "echo hello > /data/nfs/hello; zpool sync zdata")
    cluster.tick(62)
    for host in (F0, F1):
        cluster.lab("reboot", host)
    assert cluster.sh(F0, "cat /zroot/bhyve/rocky/disk.img /zroot/bhyve/.config/system.conf") == "disk\nsw\n"
    roots = cluster.sh(F0, "zfs get -r -t filesystem,volume -H -o value encryptionroot zroot/bhyve").split()
    assert roots == ["zroot/bhyve"] * 4
    assert cluster.sh(F1, "cat /data/nfs/hello") == "hello\n"
    assert cluster.sh(F1, f"zfs get -H -o value mounted,readonly {REPLICA}").split() == ["yes", "on"]
    assert cluster.done(*(f"tasks/{task}.py" for task in TASKS), "-y").changed == []
