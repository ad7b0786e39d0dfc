"""What hosts said becomes data: a site with other names, places and numbers, of which not everything can be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from f3s import stunnel, zrepl
from f3s.keys import KeyFile, Stick
from f3s.mounts import Mount, MountTable
from f3s.parsing import UnknownOutput
from f3s.secretfile import SecretState
from f3s.survey import proposal
from f3s.survey.model import EXPORTS, FSTAB, HOSTS, Proposal, Seen, served
from f3s.system import parse_system
from f3s.textfile import TextFile, digest
from f3s.verify.model import HostView
from f3s.zfs import Dataset
from tests.f3s.settings_data import group_data
from tests.f3s.verify.world import dataset, pool

ALPHA, BETA, NODE = (f"{name}.example.org" for name in ("alpha", "beta", "node"))
DEFAULTS = {group: group_data(group) for group in ("all", "freebsd", "storage", "clients")}
DATA = "tank/secret/shared"
REPLICA = f"vault/copies/alpha/{DATA}"
JOBS = """\
jobs:
- name: shared
  type: push
  connect: {type: tcp, address: "10.9.0.2:7777"}
  filesystems: {"tank/secret/shared": true}
  send: {encrypted: true}
  snapshotting: {type: periodic, prefix: auto_, interval: 30s}
  pruning:
    keep_sender:
    - {type: not_replicated}
    - {type: last_n, count: 20}
    - {type: grid, grid: 1x1h(keep=all) | 48x1h, regex: "^auto_"}
    keep_receiver: [{type: last_n, count: 20}]
- name: elsewhere
  type: push
  connect: {type: tcp, address: "10.9.0.77:8888"}
  filesystems: {"tank/secret/shared": true}
  snapshotting: {type: periodic, prefix: auto_, interval: 1h}
- name: gone
  type: push
  connect: {type: tcp, address: "10.9.0.2:7777"}
  filesystems: {"tank/secret/gone": true}
  snapshotting: {type: periodic, prefix: auto_, interval: 1h}
- name: by_hand
  type: snap
"""
SINK = """\
jobs:
- name: copies
  type: sink
  root_fs: vault/copies
  serve: {type: tcp, listen: ":7777", clients: {10.9.0.1: alpha}}
"""
IFCONFIG = """\
=== release
FreeBSD 14.3-RELEASE
=== packages
sanoid 2.2.0
zrepl 0.7.0
=== ifconfig
lo0: flags=8049<UP,LOOPBACK> metric 0 mtu 16384
\tinet 127.0.0.1 netmask 0xff000000
igb0: flags=8963<UP> metric 0 mtu 1500
\tether 52:54:00:00:01:01
\tinet 10.1.2.{0} netmask 0xffff0000 broadcast 10.1.255.255
\tinet 10.1.2.9 netmask 0xffffffff broadcast 10.1.2.9 vhid 7
\tcarp: MASTER vhid 7 advbase 1 advskew 0
wg7: flags=80c1<UP> metric 0 mtu 1420
\tinet 10.9.0.{0} netmask 0xffffff00
"""
CLIENT = """\
=== release
Rocky Linux 9.5
=== packages
stunnel 5.71
=== ip
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: ens3    inet 10.1.2.50/16 brd 10.1.255.255 scope global noprefixroute ens3\\       valid_lft forever
"""
TUNNEL = "[web]\naccept = 443\nconnect = 80\n[nfs]\naccept = 10.1.2.9:2424\nconnect = 127.0.0.1:2049\n"
CLIENT_TUNNEL = (
    "[nfs-ha]\naccept = 127.0.0.1:2424\nconnect = 10.1.2.9:2424\n[mail]\naccept = 25\nconnect = 10.1.2.9:465\n"
)
STATE = SecretState("644", "root", "wheel", "")


def texts(**files: str) -> dict[str, TextFile | None]:
    paths = {"jobs": zrepl.CONFIG, "exports": EXPORTS, "tunnel": stunnel.SERVER_CONFIG, "fstab": FSTAB, "hosts": HOSTS}
    return {paths[name]: TextFile(replace(STATE, sha256=digest(text)), text) for name, text in files.items()}


def view(device: str, disks: tuple[str, ...], *datasets: Dataset) -> HostView:
    keys = {name: KeyFile(name, 32, "400", "root:wheel", "0" * 64) for name in (f"{ALPHA}:data", f"{BETA}:data")}
    mount = Mount(f"ufs/{device}" if device == "STICK" else device, "/stick", "ufs", frozenset({"ro"}))
    return HostView(
        datasets={each.name: each for each in datasets},
        mounts=MountTable((mount,), {}),
        stick=Stick("da1" if device == "STICK" else None, mount, None, keys, ()),
        pools={each.pool: pool(each.pool, vdevs=disks) for each in datasets},
    )


def key(host: str) -> str:
    return f"file:///stick/{host}:data.key"


def system(number: int) -> Any:
    return parse_system(IFCONFIG.replace("{0}", str(number)).splitlines())


def hosts() -> dict[str, Seen]:
    alpha = view(
        "STICK",
        ("nda1",),
        dataset("tank", None, mountpoint="/tank"),
        dataset("tank/secret", "tank/secret", key(ALPHA), mountpoint="/tank/secret"),
        dataset(DATA, "tank/secret", mountpoint="/tank/shared"),
    )
    beta = view(
        "da3s1a",
        ("gpt/vault",),
        dataset("vault", None, mountpoint="/vault"),
        dataset("vault/own", "vault/own", key(BETA), mountpoint="/vault/own"),
        dataset(REPLICA, REPLICA, key(ALPHA), mountpoint="/tank/shared"),
    )
    rc = {"vm_dir": None, "nfsuserd_enable": "NO", "nfsuserd_flags": None, "zfskeys_datasets": ""}
    common = {"exports": "V4: /tank/shared\n/tank/shared 127.0.0.1\n", "tunnel": TUNNEL}
    names = "10.1.2.9 files files.example.org # the address\n"
    mount = "localhost:/home /mnt/home nfs4 port=2424,hard 0 0\n"
    node = {**texts(fstab=mount), stunnel.CLIENT_CONFIG: TextFile(STATE, CLIENT_TUNNEL)}
    rule = 'notify 9 { match "system" "CARP"; match "subsystem" "7@igb0"; action "/root/x"; };\n'
    return {
        BETA: Seen(frozenset({"freebsd"}), {"ssh_port": 2222}, BETA, system(2), beta, texts(jobs=SINK, **common), rc),
        ALPHA: Seen(
            *(frozenset({"freebsd"}), {}, ALPHA, system(1), alpha, texts(jobs=JOBS, hosts=names, **common), rc),
            devd={"/etc/devd.conf": TextFile(STATE, rule)},
        ),
        NODE: Seen(
            *(frozenset({"clients"}), {}, NODE, parse_system(CLIENT.splitlines())),
            texts=node,
            certificates={"/etc/stunnel/ca-cert.pem": "-----BEGIN CERTIFICATE-----\n"},
        ),
    }


def proposed(seen: Mapping[str, Seen]) -> tuple[Proposal, dict[str, Any]]:
    """The proposal, and the data in its files."""
    found = proposal(seen, DEFAULTS, {"home": "2775"})
    data: dict[str, Any] = {}
    for name, text in found.files.items():
        scope: dict[str, Any] = {"__file__": name}
        exec(text.replace("from bridge.settings import check_inventory", "check_inventory = print"), scope)
        data[name.removeprefix("group_data/")] = {k: v for k, v in scope.items() if not k.startswith("__")}
        data[name.removeprefix("group_data/")].pop("check_inventory", None)
    return found, data


def test_what_differs_from_the_shipped_data_is_said_once_where_it_belongs() -> None:
    _, data = proposed(hosts())
    inventory = data["inventory.py"]
    assert (inventory["storage_primary"], inventory["storage_standby"]) == ([ALPHA], [BETA])
    assert inventory["clients"] == [(NODE, {"lan_address": "10.1.2.50"})]
    assert dict(inventory["freebsd"]) == {
        ALPHA: {
            "usb_device": "da1", "usb_label": "STICK", "enc_dataset": "tank/secret", "pool_name": "tank",
            "pool_mountpoint": "/tank", "lan_address": "10.1.2.1", "wireguard_address": "10.9.0.1",
        },
        BETA: {
            "ssh_port": 2222, "usb_device": "da3", "enc_dataset": "vault/own", "pool_name": "vault",
            "pool_mountpoint": "/vault", "lan_address": "10.1.2.2", "wireguard_address": "10.9.0.2",
        },
    }  # fmt: skip
    assert data["all.py"] == {
        "vip_address": "10.1.2.9",
        "stunnel_port": 2424,
        "vip_names": ["files", "files.example.org"],
        "lan_network": "10.1.0.0/16",
    }
    assert data["storage.py"] == {"carp_interface": "igb0", "carp_vhid": 7, "pool_disk": "nda1"}
    assert data["clients.py"] == {"client_mounts": [{"share": "home", "mountpoint": "/mnt/home"}]}
    freebsd = data["freebsd.py"]
    assert freebsd["zrepl_jobs"] == [
        {
            "name": "shared", "source": ALPHA, "target": BETA, "dataset": DATA, "interval": "30s",
            "replica_mountpoint": "/tank/shared",
        }
    ]  # fmt: skip
    assert freebsd["nfs_shares"] == [{"directory": "home", "mode": "2775"}]
    assert freebsd["zrepl_keep_grid"] == "1x1h(keep=all) | 48x1h"
    rest = ("zrepl_sink_root", "zrepl_port", "zrepl_snapshot_prefix", "zrepl_keep_last", "usb_purposes", "enc_key")
    assert [freebsd[name] for name in rest] == ["vault/copies", 7777, "auto_", 20, ["bhyve", "data"], "data"]
    assert "nfs_for_others" not in freebsd


@pytest.mark.parametrize(
    "row",
    [
        "alpha yours the job elsewhere stays as it is: 10.9.0.77 is no host of the inventory",
        "alpha yours the job gone stays as it is: tank/secret/gone is not there. Take it out of",
        "alpha yours the job by_hand (snap) stays as it is",
        "alpha yours sanoid: takes or prunes snapshots, too",
        "alpha yours [web] accepts on 443, connects to 80: it stays as it is",
        "beta unknown pool_disk: vault is on gpt/vault, which is no one disk",
        "beta job copies: the sink, into vault/copies",
        "node tunnel [nfs-ha] accepts on 127.0.0.1:2424, connects to 10.1.2.9:2424",
        "node yours [mail] accepts on 25, connects to 10.1.2.9:465: it stays as it is",
        "node yours /etc/stunnel/ca-cert.pem is where a file of this deploy belongs: see replace_files",
        "alpha yours /etc/devd.conf is where a file of this deploy belongs: see replace_files",
    ],
)
def test_what_is_no_data_is_a_note(row: str) -> None:
    assert row in " ".join(proposed(hosts())[0].report.split())


def test_jobs_in_another_form_are_not_known() -> None:
    seen = hosts()
    seen[BETA] = replace(seen[BETA], texts=texts(jobs=SINK.replace("root_fs:", "root_fs: 5 #")))
    assert "beta unknown the jobs in /usr/local/etc/zrepl/zrepl.yml: jobs.0.root_fs is not" in " ".join(
        proposed(seen)[0].report.split()
    )


def test_a_preset_that_is_no_preset_is_told() -> None:
    seen = hosts()
    line = "127.0.0.1:/tank/shared/home /mnt/home nfs4 port=2424,{},_netdev,x-systemd.after=x 0 0\n"
    seen[NODE] = replace(seen[NODE], texts=texts(fstab=line.format("soft,timeo=150")))
    clients = proposed(seen)[1]["clients.py"]
    assert (clients["client_mount_preset"], clients["client_mount_presets"]["site"]) == ("site", "soft,timeo=150,rw")
    seen[NODE] = replace(seen[NODE], texts=texts(fstab=line.format("ro")))
    found, data = proposed(seen)
    assert "client_mount_preset" not in data["clients.py"]
    assert "makes every server look like the read-only standby" in found.report


def test_a_site_that_is_deployed_is_recognised_by_its_own_export() -> None:
    """What is exported then is a nullfs mount of the data."""
    seen = hosts()
    table = MountTable((Mount("/tank/shared", "/export/nfs", "nullfs", frozenset()),), {})
    exports = texts(exports="/export/nfs 127.0.0.1\n")
    seen[ALPHA] = replace(seen[ALPHA], view=replace(seen[ALPHA].view, mounts=table), texts=exports)
    seen[BETA] = replace(seen[BETA], texts=texts(jobs=SINK))
    found = served(seen)
    assert found is not None
    assert (found.host, found.dataset, found.mountpoint, found.root) == (ALPHA, DATA, "/tank/shared", "/export/nfs")


@pytest.mark.parametrize(
    "text",
    [
        IFCONFIG.replace("netmask 0xffff0000 ", ""),
        IFCONFIG.replace("zrepl 0.7.0", "zrepl-0.7.0"),
        CLIENT.replace("inet 10", "inet6 10"),
        CLIENT.replace("=== ip", "=== addresses"),
        CLIENT.replace("Rocky Linux 9.5\n", ""),
    ],
)
def test_a_system_in_another_form_is_not_known(text: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_system(text.replace("{0}", "1").splitlines())
