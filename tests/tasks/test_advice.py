"""What a stop advises is done to the letter, on the host or in the data, and the run gets on.

tests/test_stops.py names the test of every stop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.connector import csh_says
from tests.lab.cluster import F0, F1, F2, Cluster

pytestmark = pytest.mark.lab
ENC, NFS, KEY = "zdata/enc", "zdata/enc/nfsdata", f"/keys/{F0}:zdata.key"
UNUSED = f"/keys/{F2}:zdata.key"
REPLICA = f"zdata/sink/f0/{NFS}"
CLOSED = f"zfs unmount {NFS}; zfs unmount {ENC}"
BLANK_POOL = "zpool create -m /data zdata /dev/ada1"


def without(key: str) -> str:
    """Shell lines that take a key from a stick."""
    return f"mount -u -o rw /keys; rm {key}; mount -u -o ro /keys"


@dataclass(frozen=True)
class Stop:
    """A state of f0 in which a task stops.

    + name: of the state; from: `sticks`, with keys alone, or `data`, with the encrypted datasets as well
    + bring: shell lines that bring it about; elsewhere: the same on f1, or on all other hosts with a stick
    + says: pairs of a part of the message and what the operator does then: shell lines in which `\\1` is what the
      message told, or NAME=VALUE for the data
    A line may begin with `f1: `, where it is typed, or with `lab: `, for what is done to a disk.
    """

    name: str
    task: str
    begin: str
    bring: str
    says: tuple[tuple[str, str], ...]
    elsewhere: str = ""


TYPE = r"\1"
JOB = (
    f'{{"name": "f0_to_f1_nfsdata", "source": "{F0}", "target": "{F1}", "dataset": "{NFS}", "interval": "1m", '
    '"replica_mountpoint": "/data/nfs"}'
)
MORE = JOB.replace("f0_to_f1_nfsdata", "more").replace(f'"{NFS}"', '"zdata/enc/none"').replace('"/data/nfs"', "null")
STOPS = (
    Stop("a stick mounted elsewhere", "usb_keys", "sticks", "umount /keys; mount /dev/ufs/F3S_KEYS /mnt",
         ((r"it belongs on /keys: (umount /mnt)", TYPE),)),
    Stop("something else in the place of the stick", "usb_keys", "sticks",
         "umount /keys; zfs create -o mountpoint=/keys zroot/x",
         ((r"/keys is taken by zroot/x: (umount /keys), then", TYPE),)),
    Stop("a stick without a label that is not mounted", "usb_keys", "sticks",
         "mkdir /tmp/k; cp -p /keys/* /tmp/k; umount /keys; newfs /dev/da0 >/dev/null; mount /dev/da0 /keys; "
         "cp -p /tmp/k/* /keys; umount /keys",
         ((r"Look at it: (mount -r /dev/da0 /mnt && ls /mnt); if it has the keys: (umount /mnt && tunefs -L F3S_KEYS "
           r"/dev/da0)", r"\1 && \2"),)),
    Stop("a stick of something else", "usb_keys", "sticks",
         "umount /keys; newfs /dev/da0 >/dev/null; mount /dev/da0 /keys; echo x >/keys/photo",
         ((r"Find out what it is for: `(ls /keys)`. The stick belongs there: (umount /keys), take", r"\1; \2"),
          (r"if it has none, put another stick in", "lab: swap f0 da0"))),
    Stop("a key that is in use is on no stick", "usb_keys", "data",
         f"mount -u -o rw /keys; mv {KEY} /root/copy; mount -u -o ro /keys",
         ((r"bring back a stick that has the key",
           f"mount -u -o rw /keys; cp -p /root/copy {KEY}; mount -u -o ro /keys"),), elsewhere=without(KEY)),
    Stop("a pool that is not imported", "usb_keys", "data",
         f"{without(UNUSED)}; {CLOSED}; zpool export zdata",
         ((r"Import them \((zpool import -N) NAME\)", r"\1 zdata"),), elsewhere=without(UNUSED)),
    Stop("a pool that is gone for good", "usb_keys", "data",
         f"{without(UNUSED)}; sysrc zfskeys_datasets+=old/enc",
         ((r"take it out of the list: (sysrc zfskeys_datasets-=old/enc)", TYPE),), elsewhere=without(UNUSED)),
    Stop("a dataset that names no key", "usb_keys", "data",
         f"{without(UNUSED)}; zfs set keylocation=prompt {ENC}",
         ((r"Say so there: (zfs set keylocation=file://)PATH_OF_ITS_KEY( zdata/enc)", rf"\1{KEY}\2"),),
         elsewhere=without(UNUSED)),
    Stop("another disk than the data say", "zfs_encrypt", "sticks", "true",
         ((r"disk ada1 has the serial number (\S+), the settings want other", r"pool_disk_serial=\1"),)),
    Stop("no such disk", "zfs_encrypt", "sticks", "true",
         ((r"there is no disk ada7 .* or set (pool_disk) for this host", r"\1=ada1"),)),
    Stop("the pool is not imported", "zfs_encrypt", "data", f"{CLOSED}; zpool export zdata",
         ((r"run `(zpool import zdata)` there, then this task again", TYPE),)),
    Stop("the pool has another mount point", "zfs_encrypt", "sticks", "zpool create -m /tank zdata /dev/ada1",
         ((r"or run `(zfs set mountpoint=/data zdata)` at", TYPE),)),
    Stop("the data disk is not blank", "zfs_encrypt", "sticks",
         "printf x | dd of=/dev/ada1 bs=1 seek=4000000 conv=notrunc 2>/dev/null",
         # the lab's disks have no end
         ((r"clear both ends by hand on that host: (dd .*) && (dd .*) \(the second ends", r"\1; \2 count=4"),)),
    Stop("something is mounted in the place of the pool", "zfs_encrypt", "sticks",
         f"{BLANK_POOL}; zfs unmount zdata; zfs create -o mountpoint=/data zroot/x",
         ((r"find out who uses that, (umount /data) there", TYPE),)),
    Stop("files in the place of the pool", "zfs_encrypt", "sticks",
         f"{BLANK_POOL}; zfs unmount zdata; touch /data/old",
         ((r"which holds old: .* look at it, move it away", "mv /data/old /root"),)),
    Stop("the pool is not to be mounted", "zfs_encrypt", "sticks",
         f"{BLANK_POOL}; zfs unmount zdata; zfs set canmount=off zdata",
         ((r"`(zfs set canmount=on zdata)` there", TYPE),)),
    Stop("the pool's disk does not answer", "zfs_encrypt", "data", "lab: unplug f0 ada1",
         ((r"pool zdata is SUSPENDED; see `(zpool status -v zdata)`",
           r"\1 | grep 'devices are connected, then run .zpool clear'; lab: plug f0 ada1; zpool clear zdata"),)),
    Stop("a plain dataset in the place of the encrypted one", "zfs_encrypt", "sticks",
         f"{BLANK_POOL}; zfs create {ENC}", ((r"rename it away: (zfs rename \S+ \S+)", TYPE),)),
    Stop("another cipher than the data say", "zfs_encrypt", "data", "true",
         ((r"zdata/enc is encrypted with (aes-256-gcm) and keyformat raw", r"enc_encryption=\1"),)),
    Stop("a key of another name", "zfs_encrypt", "data",
         f"mount -u -o rw /keys; mv {KEY} /keys/mine.key; mount -u -o ro /keys; "
         f"zfs set keylocation=file:///keys/mine.key {ENC}; zfs set keylocation=file:///keys/mine.key {NFS}",
         ((r"Copy it on this stick: `([^`]+)`", TYPE),)),
    Stop("a foreign file system on the mount point", "zfs_encrypt", "data",
         f"zfs destroy {NFS}; zfs create -o mountpoint=/data/nfs zdata/nfs",
         ((r"zdata/nfs is mounted on /data/nfs, .*give it another mount point",
           "zfs set mountpoint=/data/old zdata/nfs"),)),
    Stop("plain text on the mount point", "zfs_encrypt", "data",
         f"zfs unmount {NFS}; chflags noschg /data/nfs; touch /data/nfs/plain",
         ((r"but it holds plain: this was written UNENCRYPTED .* move it away", "mv /data/nfs/plain /root"),)),
    Stop("a file in the place of the mount point", "zfs_encrypt", "data",
         f"zfs destroy {NFS}; chflags noschg /data/nfs; rmdir /data/nfs; touch /data/nfs",
         ((r"/data/nfs is a Regular File, not a directory: move it away", "mv /data/nfs /root"),)),
    Stop("a file in the place of a share", "nfs", "data", "touch /data/nfs/k3svolumes",
         ((r"/data/nfs/k3svolumes is not a directory: move it away", "mv /data/nfs/k3svolumes /root"),)),
    Stop("a directory in the place of the marker", "nfs", "data", "mkdir /data/nfs/nfs.DO_NOT_REMOVE",
         ((r"nfs.DO_NOT_REMOVE is not a file: move it away", "mv /data/nfs/nfs.DO_NOT_REMOVE /root"),)),
    Stop("a dataset below the export", "nfs", "data", f"zfs create {NFS}/more",
         ((r"or give what is mounted another mount point", f"zfs set mountpoint=/data/more {NFS}/more"),)),
    Stop("the data was made anew", "nfs", "data", "true",
         ((r"if nobody needs anything in it, run `(zfs destroy -r \S+)` on f1", r"f1: \1"),),
         elsewhere=f"zfs create -p {REPLICA}; zfs snapshot {REPLICA}@zrepl_1"),
    Stop("a file in the place of the pool", "zfs_encrypt", "sticks",
         f"{BLANK_POOL}; zfs unmount zdata; rmdir /data; touch /data",
         ((r"which is a Regular File and not a directory: move it away", "mv /data /root"),)),
    Stop("the plain replica of an earlier job", "zrepl", "data", "true",
         ((r"Set it aside: `([^`]+)`", r"f1: \1"),),
         elsewhere=f"zfs create -p {REPLICA}; zfs snapshot {REPLICA}@zrepl_1"),
    Stop("another file system in the place of the replica", "zrepl", "data", "true",
         ((r"zdata/x is mounted on /data/nfs, where the replica .* belongs.*If that is the replica: `([^`]+)`",
           r"f1: \1"),),
         elsewhere=f"zfs create -p -o mountpoint=none zdata/sink/f0/zdata/enc; zfs create -o encryption=on -o "
         f"keyformat=raw -o keylocation=file://{KEY} {REPLICA}; zfs snapshot {REPLICA}@zrepl_1; "
         "zfs create -o mountpoint=/data/nfs zdata/x"),
    Stop("another root of NFSv4", "nfs", "data", "echo 'V4: /tank' >/etc/exports",
         ((r"its line `V4: /tank` .*Take the line out", "sed -i '' -e '/^V4: .tank/d' /etc/exports"),)),
    Stop("a dataset that is not there is to be sent", "zrepl", "data", "true",
         ((r"more: there is no dataset zdata/enc/none; .* take the job out of zrepl_jobs", f"zrepl_jobs=[{JOB}]"),)),
    Stop("another vhid", "carp", "data", "kldload carp; ifconfig re0 vhid 5 pass x alias 192.168.1.140/32",
         ((r"name it in (carp_other_vhids)", r"\1=[5]"),)),
    Stop("the address without a vhid", "carp", "data", "ifconfig re0 inet 192.168.1.138/32 alias",
         ((r"has 192.168.1.138 without a vhid; remove that address first", "ifconfig re0 inet 192.168.1.138 -alias"),)),
    Stop("an rc.conf.d/netif of somebody else", "carp", "data",
         "mkdir -p /etc/rc.conf.d; echo 'ifconfig_re1=DHCP' >/etc/rc.conf.d/netif",
         ((r"move its variables to /etc/rc.conf, remove it",
           "cat /etc/rc.conf.d/netif >>/etc/rc.conf; rm /etc/rc.conf.d/netif"),)),
    Stop("a rule of somebody else for CARP", "carp", "data",
         "echo 'notify 10 {match \"system\" \"CARP\";action \"/root/tell\";};' >>/etc/devd.conf",
         ((r"or name (/etc/devd.conf) in (replace_files)", r'\2=["\1"]'),)),
    Stop("unicast before FreeBSD 14", "carp", "data", "true",
         ((r"(carp_unicast) needs FreeBSD 14, .*: set it to False", r"\1=false"),)),
)  # fmt: skip
DATA = {
    "another disk than the data say": "pool_disk_serial=other",
    "no such disk": "pool_disk=ada7",
    "another cipher than the data say": "enc_encryption=aes-128-gcm",
    "unicast before FreeBSD 14": "carp_unicast=true",
    "a dataset that is not there is to be sent": f"zrepl_jobs=[{JOB}, {MORE}]",
}


@pytest.fixture(scope="module")
def sticks(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    cluster = installed.copy(tmp_path_factory.mktemp("lab") / "sticks")
    cluster.make_secrets()
    cluster.deploy("usb_keys")
    return cluster


@pytest.fixture(scope="module")
def data(sticks: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    cluster = sticks.copy(tmp_path_factory.mktemp("lab") / "data")
    cluster.deploy("zfs_encrypt")
    return cluster


def do(cluster: Cluster, lines: str) -> None:
    for line in lines.split("; "):
        if line.startswith("lab: "):
            cluster.lab(*line.split()[1:])
        else:
            cluster.sh(F1 if line.startswith("f1: ") else F0, line.removeprefix("f1: "))


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_it_leads_on(stop: Stop, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(stop.begin).copy(tmp_path / "state")
    for host in (F1, F2) if stop.task == "usb_keys" and stop.elsewhere else (F1,):
        cluster.sh(host, stop.elsewhere or "true")
    do(cluster, stop.bring)
    told = [DATA[stop.name]] if stop.name in DATA else []
    by_run = stop.task == "usb_keys"

    def run(mode: str) -> tuple[int, str]:
        words = [word for each in told for word in ("--data", each)]
        limit = "storage" if stop.task == "zrepl" else F0
        ran = cluster.pyinfra(f"tasks/{stop.task}.py", mode, "--limit", limit, *words)
        return ran.rc, " ".join(ran.output.split())

    for part, act in stop.says:
        rc, output = run("-y" if by_run else "--dry")
        match = re.search(part, output)
        assert rc != 0, output
        assert match is not None, output
        done = match.expand(act)
        assert csh_says(match[1] if match.groups() else "") == ""
        if re.fullmatch(r"\w+=.*", done):
            told = [done]
        else:
            do(cluster, done)
    rc, output = run("-y" if stop.task == "usb_keys" else "--dry")
    assert rc == 0, output
