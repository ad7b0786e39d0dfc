"""What a hot standby needs of FreeBSD: nullfs with its number, nfsd's answer, a stunnel with two services."""

from __future__ import annotations

import pytest

from lab import clock, replay
from lab.rc.scripts import processes
from tests.lab.cluster import F0, REPOSITORY, Cluster
from tests.lab.replay_story import SERVER, certificates

pytestmark = pytest.mark.lab

DATASET = (
    "zpool create -m none zdata ada1; head -c 32 /dev/random >/root/k; "
    "zfs create -o mountpoint=/data/nfs -o encryption=on -o keyformat=raw -o keylocation=file:///root/k zdata/d; "
    "touch /data/nfs/marker; mkdir -p /export/nfs"
)
NULLFS = "mount -t nullfs /data/nfs /export/nfs"
EXPORTS = (
    "printf 'V4: /export/nfs -sec=sys\\n/export/nfs -alldirs -maproot=root -network 127.0.0.1 -mask 255.255.255.255\\n'"
    " >/etc/exports; sysrc nfsv4_server_enable=YES nfs_reserved_port_only=NO nfs_server_flags='-t -h 127.0.0.1'"
)
NFSD = "service nfsd onestart"


ANSWERS = (REPOSITORY / "files/freebsd/answers.sh").read_text()


def ask(lab: Cluster) -> tuple[int, str]:
    """What the program of f3s_storage that asks nfsd for the marker ends with and says."""
    (lab.store.root(F0) / "usr/local/libexec/answers").write_text(ANSWERS)
    ran = lab.attempt("f0", "sh /usr/local/libexec/answers nfs marker")
    return ran.rc, ran.out.strip()


def refuses(status: int) -> tuple[int, str]:
    return 1, f"nfsd refuses marker of its NFSv4 root, status {status}"


@pytest.fixture
def served(lab: Cluster) -> Cluster:
    """f0 exports its dataset through nullfs."""
    lab.sh("f0", f"{DATASET}; {NULLFS}; {EXPORTS}; {NFSD}")
    return lab


def test_the_number_of_a_nullfs_mount_counts_the_mounts_since_boot(lab: Cluster) -> None:
    lab.sh("f0", f"{DATASET}; {NULLFS}")
    line = "/data/nfs on /export/nfs (nullfs, local, fsid {}ff002929000000, vnodes: count 1 )"
    assert lab.sh("f0", "mount -v").splitlines()[-1] == line.format("01")
    lab.sh("f0", f"umount /export/nfs; {NULLFS}; umount /export/nfs; {NULLFS}")
    assert lab.sh("f0", "mount -v -t nullfs") == line.format("03") + "\n"
    own = lab.sh("f0", "mount -v | grep 'zdata/d on'")
    assert own.startswith("zdata/d on /data/nfs (zfs, local, nfsv4acls, fsid ")
    lab.sh("f0", "umount /export/nfs; zfs unmount zdata/d; zfs mount zdata/d")
    assert lab.sh("f0", "mount -v | grep 'zdata/d on'") == own
    assert "nullfs of anything but a mount point" in lab.attempt("f0", "mount -t nullfs /etc /mnt").err
    assert lab.attempt("f0", "mount -t nullfs -o nocache /data/nfs /mnt").rc == 99


def test_what_lies_below_a_nullfs_mount_is_busy_and_read_only_reaches_through(lab: Cluster) -> None:
    lab.sh("f0", f"{DATASET}; {NULLFS}")
    busy = "cannot unmount '/data/nfs': pool or dataset is busy\n"
    assert lab.attempt("f0", "zfs unmount zdata/d").err == busy
    assert lab.attempt("f0", "zfs destroy zdata/d").err == busy
    assert lab.attempt("f0", "umount -f /data/nfs").err == "umount: unmount of /data/nfs failed: Device busy\n"
    assert lab.attempt("f0", "zfs unload-key zdata/d").rc == 255
    lab.sh("f0", "zfs snapshot zdata/d@a; touch /export/nfs/new; zfs set readonly=on zdata/d")
    assert "Read-only file system" in lab.attempt("f0", "touch /export/nfs/x").err
    assert "read-only" not in lab.sh("f0", "mount | grep nullfs")
    lab.sh("f0", "zfs set readonly=off zdata/d; touch /export/nfs/x; zfs rollback zdata/d@a")
    assert lab.sh("f0", "ls /export/nfs") == "marker\n"
    lab.sh("f0", "umount /export/nfs; zfs unmount zdata/d; zfs unload-key zdata/d")


def test_nfsd_answers_with_the_number_of_the_export(served: Cluster) -> None:
    assert ask(served) == (0, "01ff002929000000")
    served.sh("f0", "rm /data/nfs/marker")
    assert ask(served) == refuses(2)
    assert "not simulated: nc with another question" in served.attempt("f0", "echo x | nc -N -w 5 127.0.0.1 2049").err
    assert "not simulated" in served.attempt("f0", "nc -N -w 5 127.0.0.1 22 </dev/null").err


def test_what_is_mounted_after_mountd_started_is_not_served(lab: Cluster) -> None:
    lab.sh("f0", f"{DATASET}; {EXPORTS}; {NFSD}; {NULLFS}")
    assert "/ (zfs, NFS exported, local" in lab.sh("f0", "mount"), "what the directory was on then"
    assert ask(lab) == refuses(2), "the bare directory"
    lab.sh("f0", "service mountd onerestart")
    assert ask(lab)[0] == 0
    lab.sh("f0", f"umount /export/nfs; {NULLFS}")
    assert ask(lab) == refuses(70), "the root's handle names the number of the last mount"
    lab.sh("f0", "service mountd onerestart")
    assert ask(lab)[0] == 0
    assert "NFS exported" not in lab.sh("f0", "mount")
    lab.sh("f0", "echo 'V4: /export/nfs -sec=sys' >/etc/exports; service mountd onerestart")
    assert ask(lab) == refuses(10020), "it could be looked up, but is not exported"


def test_an_nfsd_that_stands_still_says_nothing(served: Cluster) -> None:
    silent = (3, "nfsd does not answer on 127.0.0.1:2049")
    served.sh("f0", "pkill -STOP -x nfsd; service nfsd onestatus")
    before = served.hosts.now
    assert ask(served) == silent
    assert 7 <= served.hosts.now - before < 8
    assert served.attempt("f0", "timeout 20 service nfsd onestop").rc == 124
    assert served.hosts.now - before >= 27
    served.sh("f0", "pkill -KILL -x nfsd; service nfsd onestatus; pkill -KILL -x nfsd")
    assert served.attempt("f0", "service nfsd onestatus").out == "nfsd is not running.\n"
    assert ask(served) == silent
    served.sh("f0", f"{NFSD}; /bin/kill -STOP $(pgrep nfsd); /bin/kill -CONT $(pgrep nfsd)")
    assert ask(served)[0] == 0
    served.sh("f0", "pkill -STOP -x nfsd; pkill -x nfsd; pkill -CONT -x nfsd; ! service nfsd onestatus")


ALIVE = """
[alive]
accept = 127.0.0.1:2323
connect = 127.0.0.1:2049
verify = 0
"""
CERTIFICATE = "openssl s_client -connect 127.0.0.1:2323 </dev/null"


def test_stunnel_serves_two_ports_or_none(lab: Cluster) -> None:
    lab.sh("f0", "pkg install -y stunnel; ifconfig re0 192.168.1.138/32 alias")
    certificates(lab.store)
    config = lab.store.root(lab.hosts.host("f0").name) / "usr/local/etc/stunnel/stunnel.conf"
    config.write_text(SERVER + ALIVE)
    ran = lab.attempt("f0", CERTIFICATE)
    assert (ran.rc, ran.err) == (1, "connect:errno=61\n")
    lab.sh("f0", "sysrc stunnel_enable=YES; service stunnel start")
    local = [line.split()[5] for line in lab.sh("f0", "sockstat -4l | grep stunnel").splitlines()]
    assert local == ["192.168.1.138:2323", "127.0.0.1:2323"]
    assert "BEGIN CERTIFICATE" in lab.sh("f0", CERTIFICATE)
    lab.sh("f0", "pkill -STOP -x stunnel")
    before = lab.hosts.now
    assert lab.attempt("f0", f"timeout -k 1 5 {CERTIFICATE}").rc == 124
    assert lab.hosts.now - before >= 5
    lab.sh("f0", "pkill -CONT -x stunnel")
    assert "BEGIN CERTIFICATE" in lab.sh("f0", CERTIFICATE)
    lab.sh("f0", "pkill -x stunnel")
    config.write_text(SERVER + ALIVE.replace("127.0.0.1:2323", "192.168.1.7:2323"))
    ran = lab.attempt("f0", "service stunnel start")
    assert "[!] Binding service [alive] failed" in ran.err
    assert lab.sh("f0", "sockstat -4l | grep -c stunnel || :") == "0\n"
    assert not processes(lab.hosts.host("f0")).get("stunnel")


SHARE = "/data/nfs/k3svolumes"
SCRIPT = f"""
import os, time
reading = os.open("{SHARE}/file", os.O_RDONLY)
writing = os.open("{SHARE}/file", os.O_WRONLY | os.O_APPEND)
time.sleep(6)
print(os.pread(reading, 100, 0), os.listdir("{SHARE}"))
try:
    os.write(writing, b"more")
except OSError as error:
    print(error.errno)
"""


@pytest.fixture
def pair(served: Cluster) -> Cluster:
    """f0 serves, f1 has the replica with the same number, r0 has mounted; nothing but claims moves the address."""
    lab = served
    certificates(lab.store)
    lab.sh("f0", "umount /export/nfs; mkdir /data/nfs/k3svolumes; echo hello >/data/nfs/k3svolumes/file")
    lab.sh("f0", f"zfs snapshot zdata/d@a; echo later >/data/nfs/k3svolumes/late; {NULLFS}; service mountd onerestart")
    lab.sh("f1", "zpool create -m none zdata ada1; mkdir -p /export/nfs")
    replay.run(lab.store, "f0|f1", "zfs send -w zdata/d@a | zfs recv zdata/d")
    roots = [lab.store.root(lab.hosts.host(name).name) for name in ("f0", "f1")]
    (roots[1] / "root/k").write_bytes((roots[0] / "root/k").read_bytes())
    lab.sh("f1", "zfs set keylocation=file:///root/k zdata/d; zfs set mountpoint=/data/nfs readonly=on zdata/d")
    lab.sh("f1", f"zfs load-key zdata/d; zfs mount zdata/d; {NULLFS}; umount /export/nfs; {NULLFS}; {EXPORTS}; {NFSD}")
    for host, skew in (("f0", 0), ("f1", 100)):
        address = f"ifconfig re0 vhid 1 advskew {skew} pass sesame12 alias 192.168.1.138/32"
        lab.sh(host, f"kldload carp; sysctl net.inet.carp.preempt=1; {address}; pkg install -y stunnel")
        lab.sh(host, "service stunnel onestart")
    lab.tick(5)
    lab.sh("r0", f"dnf install -y stunnel nfs-utils; mkdir -p {SHARE}")
    lab.sh("r0", "cd /etc/stunnel; sed -i s/r0-key/r0-stunnel/ stunnel.conf; stunnel /etc/stunnel/stunnel.conf")
    lab.sh("r0", f"mount -t nfs4 -o port=2323 127.0.0.1:/k3svolumes {SHARE}")
    return lab


def test_a_client_goes_on_where_the_number_is_the_same(pair: Cluster) -> None:
    (pair.store.root(pair.hosts.host("r0").name) / "root/script.py").write_text(SCRIPT)
    with pair.store.edit() as cluster:
        clock.schedule(cluster, 2, "program", cluster.host("f0").name, line="ifconfig re0 vhid 1 advskew 254")
    out = pair.sh("r0", "python3 /root/script.py")
    assert out == "b'hello\\n' ['file']\n5\n", "the replica's files; what was open for writing is lost (EIO)"
    assert "from f1: fine, read-only" in pair.lab("status")
    assert pair.sh("r0", f"cat {SHARE}/file") == "hello\n"
    assert "Read-only file system" in pair.attempt("r0", f"touch {SHARE}/x").err
    pair.sh("f0", "ifconfig re0 vhid 1 advskew 0; zfs set readonly=on zdata/d")
    pair.tick(2)
    assert pair.sh("r0", f"cat {SHARE}/late") == "later\n"
    assert "Read-only file system" in pair.attempt("r0", f"touch {SHARE}/x").err
    pair.sh("f0", "zfs set readonly=off zdata/d")
    pair.sh("r0", f"touch {SHARE}/x")


def test_a_client_waits_for_a_server_that_stands_still_and_is_stale_on_another_number(pair: Cluster) -> None:
    for name in ("nfsd", "stunnel"):
        pair.sh("f0", f"pkill -STOP -x {name}")
        assert pair.attempt("r0", f"timeout 5 cat {SHARE}/file").rc == 124
        pair.sh("f0", f"pkill -CONT -x {name}")
        assert pair.sh("r0", f"cat {SHARE}/file") == "hello\n"
    pair.sh("f1", f"umount /export/nfs; {NULLFS}; service mountd onerestart; ifconfig re0 vhid 1 advskew 20")
    pair.sh("f0", "ifconfig re0 vhid 1 advskew 254")
    pair.tick(2)
    assert pair.attempt("r0", f"cat {SHARE}/file").err == f"cat: {SHARE}/file: Stale file handle\n"


def test_after_a_boot_nobody_opens_a_file_until_nfsds_grace_period_is_over(pair: Cluster) -> None:
    pair.sh("f0", "service nfsd onerestart")
    assert pair.sh("r0", f"cat {SHARE}/file") == "hello\n", "within a boot there is none"
    with pair.store.edit() as cluster:
        del cluster.host("f0").parts["grace"]  # as a power cut does
    pair.sh("f0", "service nfsd onerestart")
    assert pair.attempt("r0", f"timeout 5 cat {SHARE}/file").rc == 124
    assert pair.sh("r0", f"ls {SHARE}").split() == ["file", "late"]
    pair.tick(135)
    assert pair.sh("r0", f"cat {SHARE}/file; touch {SHARE}/x") == "hello\n"
