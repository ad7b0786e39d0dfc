"""A site whose hosts have pools of different names: each host gets its own, the replica its source's below that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.f3s.settings_data import TANK
from tests.lab.cluster import F0, F1, REPOSITORY, Cluster, Run

pytestmark = pytest.mark.lab
INVENTORY = f"""
import runpy as _runpy

for _name, _members in _runpy.run_path("{REPOSITORY}/lab/inventory.py").items():
    if isinstance(_members, list) and not _name.startswith("_"):
        globals()[_name] = [
            (_member, {{**_data, **{TANK!r}}} if _member == "@lab/{F1}" else _data) for _member, _data in _members
        ]
"""
REPLICA = "tank/sink/f0/zdata/enc/nfsdata"
JOB = {
    "name": "f0_to_f1_nfsdata", "source": F0, "target": F1, "dataset": "zdata/enc/nfsdata", "interval": "1m",
    "replica_mountpoint": "/data/nfs",
}  # fmt: skip


def test_the_pool_of_the_standby_has_another_name(lab: Cluster, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.py"
    inventory.write_text(INVENTORY)
    lab.make_secrets()

    def task(name: str) -> Run:
        data = ("--data", f"zrepl_jobs={json.dumps([JOB])}")
        hosts = "freebsd" if name == "usb_keys" else "storage"
        return lab.done(f"tasks/{name}.py", "-y", "--limit", hosts, *data, inventory=str(inventory))

    for name in ("usb_keys", "zfs_encrypt", "zrepl", "carp"):
        task(name)
    assert lab.sh(F1, "zfs list -H -o name").split() == [
        "tank", "tank/enc", "tank/sink", "tank/sink/f0", "tank/sink/f0/zdata", "tank/sink/f0/zdata/enc", REPLICA,
        *lab.sh(F1, "zfs list -H -o name -r zroot").split(),
    ]  # fmt: skip
    assert lab.sh(F1, f"zfs get -H -o value mounted,mountpoint,keylocation {REPLICA}").split() == [
        "yes", "/data/nfs", f"file:///keys/{F0}:zdata.key",
    ]  # fmt: skip
    assert lab.sh(F1, "sysrc -n zfskeys_datasets") == f"tank/enc {REPLICA}\n"
    values = "grep -E 'F3S_(DATASET|POOL)=' /usr/local/etc/f3s/storage.conf"
    assert lab.sh(F1, values).split() == ["F3S_POOL='tank'", f"F3S_DATASET='{REPLICA}'"]
    for name in ("zfs_encrypt", "zrepl"):
        assert task(name).changed == []
