"""Each refusal that needs several values to be seen, with its exact text."""

from __future__ import annotations

from typing import Any

import pytest

from f3s.settings.checks import SAME_EVERYWHERE
from tests.f3s.settings_data import (
    CLIENTS,
    EVERY,
    F0,
    F1,
    F2,
    FREEBSD,
    R0,
    R1,
    build,
    change,
    good,
    refusals,
    with_backup,
)

BSD = " or ".join(FREEBSD)
OWN = "an address of the host's own"
SERVED = "site: zrepl_jobs[f0_to_f1_nfsdata]"
ELSEWHERE = f"is not nfs_mountpoint, where the standby {F1} has to serve this replica"
NO_JOB = f"has no job for nfs_dataset from the primary {F0} to the standby {F1}, which would have nothing to serve"


def own(hosts: tuple[str, ...], variable: str, value: Any, says: str, of: str = "") -> Any:
    """A value of hosts, and what is said of it for each of them, or for `of` alone."""
    shown = "(hidden)" if "password" in variable else repr(value[0] if isinstance(value, list) else value)
    return hosts, {variable: value}, [f"{host}: {variable} = {shown}: {says}" for host in ([of] if of else hosts)]


def site(hosts: tuple[str, ...], variable: str, value: Any, says: str) -> Any:
    """The same of a value that is the whole site's."""
    return own(hosts, variable, value, says, of="site")


LAN, WIREGUARD = (f"a host address of 192.168.{number}.0/24" for number in (1, 2))
SAME, APART = "allowed: the same on every host", "allowed: a directory of its own"
PORT = "allowed: a port of its own"
EMPTY = "allowed: a directory without a mount point in it"
PURPOSES, NAMED = "which usb_purposes does not name", "is the name of another file or share in nfs_mountpoint"
NOT_A_JOB = "is not the name of a job; allowed: f0_to_f1_nfsdata or f0_to_f1_fedora"
NOT_BSD = f"is not a FreeBSD host of the inventory; allowed: {BSD}"
NO_SINK = "has no pool zdata for the sink zdata/sink: its pool_disk is not set; allowed: a host with a pool_disk"

CASES: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
    # addresses
    own((F1,), "lan_address", "192.168.1.130", f"is the address of {F0}, too; allowed: {OWN}"),
    own((R1,), "lan_address", "192.168.1.120", f"is the address of {R0}, too; allowed: {OWN}"),
    own((F1,), "wireguard_address", "192.168.2.130", f"is the address of {F0}, too; allowed: {OWN}"),
    own((R0,), "lan_address", "192.168.7.120", f"is outside 192.168.1.0/24; allowed: {LAN}"),
    own((F2,), "wireguard_address", "192.168.1.132", f"is outside 192.168.2.0/24; allowed: {WIREGUARD}"),
    own((R0,), "lan_address", "192.168.1.255", f"is the network's own or its broadcast address; allowed: {LAN}"),
    site(EVERY, "vip_address", "10.0.0.1", f"is outside 192.168.1.0/24; allowed: {LAN}"),
    site(EVERY, "vip_address", "192.168.1.130", f"is the lan_address of {F0}; allowed: an address that no host has"),
    site(FREEBSD, "wireguard_network", "192.168.0.0/16",
        "overlaps lan_network 192.168.1.0/24; allowed: a network apart from it"),
    # names
    site(EVERY, "vip_names", ["f0"], "is the name of a host; allowed: names that no host has"),
    site(EVERY, "pki_extra_clients", [R0],
        "is a host of the inventory, which gets its certificate anyway; allowed: names that no host has"),
    # hosts that must agree
    own((F1,), "carp_vhid", 2, f"differs from 1 of {F0}; {SAME}"),
    own((F1,), "carp_advbase", 2, f"differs from 1 of {F0}; {SAME}"),
    own((F1,), "nfs_owners", "names", f"differs from 'numeric' of {F0}; {SAME}"),
    own((F1,), "usb_label", "OTHER", f"differs from 'F3S_KEYS' of {F0}; {SAME}"),
    own((F1,), "carp_password", "a1b2c3d4e5", f"differs from (hidden) of {F0}; {SAME}"),
    own((R0,), "stunnel_port", 2324, f"differs from 2323 of {F0}; {SAME}"),
    ((F0,), {"carp_other_vhids": [7, 255]},
     [f"{F0}: carp_other_vhids[1] = 255: is out of range; allowed: a whole number from 1 to 254"]),
    # the export, ports
    own(FREEBSD, "nfs_export", "/data/nfs", f"is nfs_mountpoint, too; {APART}"),
    own(FREEBSD, "zrepl_port", 2049, f"is the port of NFS, too; {PORT}"),
    (EVERY, {"stunnel_port": 2049}, [f"{h}: stunnel_port = 2049: is the port of NFS, too; {PORT}" for h in FREEBSD]),
    own((F2,), "zrepl_metrics_port", 2323, f"is stunnel_port, too; {PORT}"),
    # keys
    own((F0,), "enc_key", "f9.lan.buetow.org:zdata", f"names the host f9.lan.buetow.org, which {NOT_BSD}"),
    own((F0,), "bhyve_key", f"{R0}:bhyve", f"names the host {R0}, which {NOT_BSD}"),
    own((F0,), "enc_key", "tank", f"has the purpose tank, {PURPOSES}; allowed: bhyve or zdata"),
    own((F0,), "bhyve_key", "zdata", "is enc_key, too; allowed: a key of its own"),
    # disks
    own((F0,), "pool_disk", "da0", "is usb_device, too; allowed: another disk"),
    (
        (F1,),
        {"pool_disk": None, "zrepl_jobs": []},
        [
            f"{F1}: pool_disk = None: is missing on a storage host; allowed: the name of the data disk, such as ada1",
            f"{F1}: zrepl_jobs = []: differs from ['f0_to_f1_nfsdata', 'f0_to_f1_fedora'] of {F0}; {SAME}",
            *(f"site: zrepl_jobs[f0_to_f1_{job}].target = '{F1}': {NO_SINK}" for job in ("fedora", "nfsdata")),
        ],
    ),
    own((F0,), "usb_format_allow", ["ada1"], "is pool_disk; allowed: a key stick"),
    # datasets
    ((F2,), {"enc_dataset": "tank/enc", "nfs_dataset": "tank/enc/nfsdata"},
     [f"{F2}: enc_dataset = 'tank/enc': is not in the data pool; allowed: below zdata",
      f"{F2}: nfs_dataset = 'tank/enc/nfsdata': differs from 'zdata/enc/nfsdata' of {F0}; {SAME}"]),
    (
        FREEBSD,
        {"nfs_mountpoint": "/data/enc"},
        [
            *(f"{h}: nfs_mountpoint = '/data/enc': is the mount point of enc_dataset, too; {APART}" for h in FREEBSD),
            f"{SERVED}.replica_mountpoint = '/data/nfs': {ELSEWHERE}; allowed: /data/enc",
        ],
    ),
    (FREEBSD, {"nfs_dataset": "zdata/nfsdata"},
     [f"{F0}: nfs_dataset = 'zdata/nfsdata': would not be encrypted; allowed: below zdata/enc",
      f"site: zrepl_jobs = ['f0_to_f1_nfsdata', 'f0_to_f1_fedora']: {NO_JOB}; "
      f"allowed: with a job of source {F0}, target {F1}, dataset zdata/nfsdata, replica_mountpoint /data/nfs",
      f"{SERVED}.replica_mountpoint = '/data/nfs': is nfs_mountpoint of {F1}, too; {APART}, or None"]),
    ((F0, F1), {"enc_dataset": "zdata/a/enc"},
     [f"{F0}: enc_dataset = 'zdata/a/enc': is not directly below pool_name, and nothing makes zdata/a; "
      "allowed: zdata/enc",
      f"{F0}: nfs_dataset = 'zdata/enc/nfsdata': would not be encrypted; allowed: below zdata/a/enc",
      f"{F1}: enc_dataset = 'zdata/a/enc': is not directly below pool_name, and nothing makes zdata/a; "
      "allowed: zdata/enc",
      "site: zrepl_jobs[f0_to_f1_nfsdata].dataset = 'zdata/enc/nfsdata': would not be encrypted, "
      "and only encrypted datasets are sent; allowed: below zdata/a/enc or zroot/bhyve"]),
    own((F1,), "zrepl_sink_root", "zdata/backup/sink",
        "is not directly below its pool, and nothing makes zdata/backup; allowed: zdata/sink"),
    own((F0,), "bhyve_old_dataset", "zroot/bhyve/old",
        "and bhyve_dataset zroot/bhyve lie in one another; allowed: a dataset beside zroot/bhyve"),
    own((F0,), "bhyve_old_dataset", "zdata/bhyve_old",
        "is in another pool, where a rename cannot put it; allowed: in zroot"),
    ((F2,), {"bhyve_dataset": "zdata/enc/bhyve", "bhyve_old_dataset": "zdata/bhyve_old"},
     [f"{F2}: bhyve_dataset = 'zdata/enc/bhyve': and enc_dataset zdata/enc lie in one another; "
      "allowed: a dataset outside zdata/enc"]),
    own((F1,), "zrepl_sink_root", "zdata/enc/sink",
        "and enc_dataset zdata/enc lie in one another; allowed: a dataset outside zdata/enc"),
    # switches
    site(FREEBSD, "bhyve_destroy_old", ["f7.lan.buetow.org"], NOT_BSD),
    site(FREEBSD, "zrepl_rollback_replicas", ["nfsdata"], NOT_A_JOB),
    site(FREEBSD, "zrepl_prune_history", ["nfsdata"], NOT_A_JOB),
    # mount points
    own(FREEBSD, "usb_mountpoint", "/data/keys",
        "lies in a directory that may be on a file system which the boot mounts later; "
        "allowed: a directory directly below /, such as /keys"),
    (
        FREEBSD,
        {"pool_mountpoint": "/keys/data", "nfs_mountpoint": "/keys/data/nfs"},
        [
            *(
                f"{host}: usb_mountpoint = '/keys': has the mount point of enc_dataset /keys/data/enc, pool_mountpoint "
                f"/keys/data, nfs_mountpoint /keys/data/nfs in it; {EMPTY}"
                for host in FREEBSD
            ),
            f"{SERVED}.replica_mountpoint = '/data/nfs': {ELSEWHERE}; allowed: /keys/data/nfs",
        ],
    ),
    own(FREEBSD, "usb_mountpoint", "/data", f"is pool_mountpoint, too; {APART}"),
    (FREEBSD, {"nfs_export": "/data/nfs/export"},
     [f"{h}: nfs_mountpoint = '/data/nfs': has nfs_export /data/nfs/export in it; {EMPTY}" for h in FREEBSD]),
    (FREEBSD, {"pool_mountpoint": "/export/nfs/data"},
     [f"{h}: nfs_export = '/export/nfs': has the mount point of enc_dataset /export/nfs/data/enc, pool_mountpoint "
      f"/export/nfs/data in it; {EMPTY}" for h in FREEBSD]),
    # NFS and clients
    site(FREEBSD, "nfs_marker", "k3svolumes", f"{NAMED}; allowed: a name of its own"),
    site(FREEBSD, "nfs_failback_block", "nfs.DO_NOT_REMOVE", f"{NAMED}; allowed: a name of its own"),
    (FREEBSD,
     {"nfs_shares": [{"directory": "k3svolumes", "mode": "0755"}, {"directory": "k3svolumes", "mode": "0700"}]},
     ["site: nfs_shares = 'k3svolumes': is there 2 times; allowed: each directory once"]),
    ((R0,), {"client_mounts": [{"share": share, "mountpoint": "/data/x"} for share in ("k3svolumes", "backup")]},
     [f"{R0}: client_mounts[1].mountpoint = '/data/x': is used twice; allowed: one mount a directory",
      f"{R0}: client_mounts[1].share = 'backup': is not a directory of nfs_shares; allowed: k3svolumes"]),
    ((R0,), {"client_mounts": [{"share": "k3svolumes", "mountpoint": point} for point in ("/a/b", "/a")]},
     [f"{R0}: client_mounts[1].mountpoint = '/a': and /a/b lie in one another; allowed: one mount a directory"]),
    own((R0,), "client_mount_preset", "wan", "is not a preset; allowed: lan or laptop"),
    (
        CLIENTS,
        {"client_escalate_after": 6},
        [
            f"{host}: client_escalate_command = None: is missing, with client_escalate_after = 6; "
            "allowed: the absolute path of a program"
            for host in CLIENTS
        ],
    ),
    own((F0, F1), "alert_ping_url", "https://hc-ping.com/x",
        f"is that of {F0}, too: nobody would notice that one of them is silent; "
        "allowed: one of the host's own, in inventory.py", of=F1),
    # certificates
    (
        EVERY,
        {"pki_ca_days": 800},
        [
            f"site: pki_{each}_days = 825: outlives the CA (pki_ca_days = 800); allowed: 800 at most"
            for each in ("client", "server")
        ],
    ),
    site(EVERY, "pki_client_days", 60, "is renewed on every run (pki_renew_before_days = 60); allowed: more than 60"),
]  # fmt: skip


@pytest.mark.parametrize(("hosts", "variables", "lines"), CASES)
def test_combination_is_refused(hosts: tuple[str, ...], variables: dict[str, Any], lines: list[str]) -> None:
    assert refusals(change(good(), hosts, **variables)) == lines


def test_nfs_dataset_two_levels_below_the_encrypted_tree() -> None:
    inventory = change(good(), FREEBSD, nfs_dataset="zdata/enc/k3s/nfsdata")
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"][0]["dataset"] = "zdata/enc/k3s/nfsdata"
    assert refusals(inventory) == [
        f"{F0}: nfs_dataset = 'zdata/enc/k3s/nfsdata': is not directly below enc_dataset, and nothing makes "
        "zdata/enc/k3s; allowed: zdata/enc/nfsdata"
    ]


def test_datasets_that_are_never_made_may_be_anywhere() -> None:
    """f2 has no data pool, and nobody replicates to f0 and f2. A sink may be in any pool of its host."""
    inventory = change(good(), (F2,), enc_dataset="zdata/a/enc", zrepl_sink_root="zdata/backup/sink")
    change(inventory, (F0,), zrepl_sink_root="zdata/backup/sink")
    build(change(inventory, (F1,), zrepl_sink_root="zroot/replicas"))


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"source": "f7.lan.buetow.org"}, NOT_BSD),
        ({"target": R0}, NOT_BSD),
        ({"target": F0}, "is the source, too; allowed: another host"),
        ({"name": "f0_to_f1_fedora"}, "is the name of two jobs; allowed: one name for each job"),
        ({"dataset": "zroot/bhyve/fedora"},
         "goes from the same source to the same target in f0_to_f1_fedora; allowed: one job for it"),
        ({"dataset": "zroot/home"},
         "would not be encrypted, and only encrypted datasets are sent; allowed: below zdata/enc or zroot/bhyve"),
        ({"source": F2, "target": F1},
         "has no pool for zdata/enc/new: its pool_disk is not set; allowed: a host with a pool_disk"),
        ({"target": F2}, NO_SINK),
        ({"replica_mountpoint": "/data/nfs"},
         f"is the replica_mountpoint of f0_to_f1_nfsdata of {F1}, too; {APART}, or None"),
        ({"replica_mountpoint": "/keys"}, f"is usb_mountpoint of {F1}, too; {APART}, or None"),
    ],
)  # fmt: skip
def test_third_job_is_refused(job: dict[str, Any], says: str) -> None:
    inventory = good()
    new = {"name": "new", "source": F0, "target": F1, "dataset": "zdata/enc/new", "interval": "1h"} | job
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"].append(new)
    field = next(iter(job))
    assert refusals(inventory) == [f"site: zrepl_jobs[{new['name']}].{field} = {new[field]!r}: {says}"]


@pytest.mark.parametrize("other", [{"target": F2}, {"dataset": "zdata/enc/other"}, {"source": F1, "target": F0}])
def test_without_a_job_that_brings_the_standby_what_it_serves(other: dict[str, Any]) -> None:
    inventory = change(good(), (F2,), pool_disk="ada1")
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"][0].update(other, replica_mountpoint=None)
    assert refusals(inventory) == [
        f"site: zrepl_jobs = ['f0_to_f1_nfsdata', 'f0_to_f1_fedora']: {NO_JOB}; "
        f"allowed: with a job of source {F0}, target {F1}, dataset zdata/enc/nfsdata, replica_mountpoint /data/nfs"
    ]


@pytest.mark.parametrize("elsewhere", ["/data/replica", None])
@pytest.mark.parametrize("first", [True, False])
def test_a_replica_that_the_standby_could_never_serve(first: bool, elsewhere: str | None) -> None:
    inventory = with_backup(good(), first=first)
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"][first]["replica_mountpoint"] = elsewhere
    assert refusals(inventory) == [f"{SERVED}.replica_mountpoint = {elsewhere!r}: {ELSEWHERE}; allowed: /data/nfs"]


def test_only_the_replica_that_is_served_belongs_on_nfs_mountpoint() -> None:
    """On the primary that is the dataset itself, whatever somebody sends there."""
    inventory = good()
    back = {"name": "back", "source": F1, "target": F0, "dataset": "zdata/enc/nfsdata", "interval": "1h"}
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"].append({**back, "replica_mountpoint": "/data/nfs"})
    assert refusals(inventory) == [
        f"site: zrepl_jobs[back].replica_mountpoint = '/data/nfs': is nfs_mountpoint of {F0}, too; "
        "allowed: a directory of its own, or None"
    ]


@pytest.mark.parametrize(
    ("host", "groups", "line"),
    [
        (F1, "freebsd", "site: storage_standby = []: has 0 hosts; allowed: exactly one host"),
        (R0, "inventory", f"{R0}: groups = []: is in no group of this deploy; allowed: freebsd or clients"),
        (F2, "freebsd storage storage_primary",
         f"site: storage_primary = ['{F0}', '{F2}']: has 2 hosts; allowed: exactly one host"),
        (F2, "freebsd storage",
         f"{F2}: groups = ['freebsd', 'storage']: is in half of the storage groups; "
         "allowed: in storage exactly when in storage_primary or storage_standby"),
        (F2, "freebsd clients", f"{F2}: groups = ['clients', 'freebsd']: is both; allowed: either freebsd or clients"),
        (F1, "storage storage_standby",
         f"{F1}: groups = ['storage', 'storage_standby']: is a storage host only; allowed: in freebsd, too"),
        (F0, "freebsd storage storage_primary storage_standby",
         f"{F0}: groups = ['freebsd', 'storage', 'storage_primary', 'storage_standby']: is both; "
         "allowed: one of storage_primary and storage_standby"),
    ],
)  # fmt: skip
def test_groups_are_refused(host: str, groups: str, line: str) -> None:
    inventory = good()
    inventory[host] = set(groups.split()), inventory[host][1]
    assert line in refusals(inventory)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("f3_x",
         "f3_x: name = 'f3_x': is not a host name; allowed: a host name in lower case, such as f0.lan.example.org"),
        ("f0.other.org",
         "site: freebsd = 'f0': is the short name of 2 hosts; "
         "allowed: FreeBSD hosts that differ before the first dot, where zrepl takes its identities from"),
    ],
)  # fmt: skip
def test_names_of_hosts(name: str, line: str) -> None:
    inventory = good()
    addresses = {"lan_address": "192.168.1.133", "wireguard_address": "192.168.2.133"}
    inventory[name] = {"freebsd"}, inventory[F2][1] | addresses
    assert refusals(inventory) == [line]


def test_what_hosts_must_agree_on_are_settings() -> None:
    hosts = build(good()).hosts
    for prefix, fields in SAME_EVERYWHERE.items():
        parts = [host.parts[prefix] for host in hosts if prefix in host.parts]
        assert set(fields) <= {name for part in parts for name in type(part).model_fields}, prefix
