"""The recorded machines, and what happened on them that nobody recorded: later output shows it, or other sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from f3s.pki.certificates import issue, make_ca, profiles
from f3s.pki.plan import PkiPlan
from lab import actions, build, clock, rootfs
from lab.core import Store
from lab.rc import boot
from lab.replay import Step

GIB = 1 << 30
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"


def machines(store: Store) -> None:
    """The observed machines, freshly installed."""
    plans = []
    for number in range(2):
        slots = {
            "ada0": (4 * GIB, "QEMU HARDDISK", f"S0BOOT{number}"),
            "ada1": (GIB, "Samsung-SSD-870", f"S0DATA{number}"),
            "ada2": (GIB, "QEMU HARDDISK", f"S0ZROOT{number}"),
            "da0": (64 << 20, "QEMU QEMU HARDDISK", "1-0000:00:02.0-1"),
        }
        address = {"vtnet0": (f"192.168.1.13{number}", 24)}
        plans.append(build.Plan(f"f{number}.lan.buetow.org", "freebsd", slots, address, ufs_root=True))
    plans.append(build.Plan("r0.lan.buetow.org", "rocky", {}, {"ens3": ("192.168.1.120", 24)}))
    build.up(store, plans)


def seconds(number: float) -> Step:
    """Time passes."""
    return lambda store: clock.tick(store, number)


HOOK = (
    'mkdir -p /usr/local/etc/devd; echo \'notify 30 { match "system" "CARP"; match "type" "(MASTER|BACKUP)"; '
    'action "/usr/local/bin/hook $subsystem $type"; };\' > /usr/local/etc/devd/carp.conf; '
    "printf '#!/bin/sh\\necho \"$(date +%%T) args=[$*] n=$#\" >> /var/log/carplog\\n' > /usr/local/bin/hook; "
    "chmod 755 /usr/local/bin/hook; service devd restart; kldload carp"
)
SERVER = """\
cert = /usr/local/etc/stunnel/server-cert.pem
key = /usr/local/etc/stunnel/server-key.pem
CAfile = /usr/local/etc/stunnel/ca-cert.pem
verify = 2
setuid = stunnel
setgid = stunnel
[nfs-tls]
accept = 192.168.1.138:2323
connect = 127.0.0.1:2049
"""
CLIENT = """\
cert = /etc/stunnel/r0-key.pem
CAfile = /etc/stunnel/ca-cert.pem
client = yes
verify = 2

[nfs-ha]
accept = 127.0.0.1:2323
connect = 192.168.1.138:2323
"""
DEBIAN = (
    "dnf install -y stunnel nfs-utils; printf '#!/bin/sh\\nexec stunnel \"$@\"\\n' > /usr/bin/stunnel4; "
    # its name had no domain, so that its idmapd meant another one than the servers' nfsuserd
    "chmod 755 /usr/bin/stunnel4; printf '[General]\\nDomain = localdomain\\n' > /etc/idmapd.conf"
)


def certificates(store: Store) -> None:
    """A CA, a certificate for the address and one for r0, and stunnel's files on all three."""
    now = datetime.now(UTC)
    plan = PkiPlan(("f3s-storage-ha",), ("192.168.1.138",), ("r0",), make_carp_password=False)
    ca = make_ca(plan.ca_days, now)
    server, client = (issue(ca, each, n, now).pem().decode() for n, each in enumerate(profiles(plan).values(), 1))
    authority = ca.pem().decode().partition("-----BEGIN CERTIFICATE")
    trusted = "".join(authority[1:])
    for name in ("f0", "f1"):
        root, folder = store.root(store.read().host(name).name), "usr/local/etc/stunnel"
        for file, text in (("server-cert.pem", server), ("server-key.pem", server), ("ca-cert.pem", trusted)):
            rootfs.write(root, f"{folder}/{file}", text, 0o600)
        rootfs.write(root, f"{folder}/stunnel.conf", SERVER)
    root = store.root(store.read().host("r0").name)
    key = client.partition("-----BEGIN CERTIFICATE")[0]
    for file, text in (("r0-key.pem", key), ("r0-stunnel.pem", client), ("ca-cert.pem", trusted)):
        rootfs.write(root, f"etc/stunnel/{file}", text, 0o600)
    rootfs.write(root, "etc/stunnel/stunnel.conf", CLIENT)


ADDRESS = "inet vhid 1 advskew 100 pass testpass alias 192.168.1.138/32"
STANDBY = (
    "printf 'V4: /data/nfs -sec=sys\\n/data/nfs -alldirs -maproot=root -network 127.0.0.1 -mask 255.255.255.255\\n' "
    "> /etc/exports; "
    "sysrc nfs_server_enable=YES nfsv4_server_enable=YES nfsuserd_enable=YES mountd_enable=YES rpcbind_enable=YES "
    f"stunnel_enable=YES zfs_enable=YES zfskeys_enable=YES ifconfig_vtnet0_alias0='{ADDRESS}'; "
    "echo 'carp_load=\"YES\"' >> /boot/loader.conf; echo '/dev/ufs/F3S_KEYS /keys ufs rw 0 2' >> /etc/fstab; "
    "for s in rpcbind nfsuserd mountd nfsd; do service $s start; done"
)
NUMBERS = (
    "printf 'vfs.nfsd.enable_stringtouid=1\\nvfs.nfs.enable_uidtostring=1\\n' >> /etc/sysctl.conf; "
    "sysctl vfs.nfsd.enable_stringtouid=1 vfs.nfs.enable_uidtostring=1; service nfsuserd onestop; "
    "sysrc nfsuserd_enable=NO; mkdir -p /var/run/stunnel; chown stunnel /var/run/stunnel"
)
AGAIN = "umount -f /data/nfs/k3svolumes; mount -t nfs4 -o port=2323 127.0.0.1:/k3svolumes /data/nfs/k3svolumes"
PROBE = r"""
cat > /etc/rc.d/probe <<'END'
#!/bin/sh
# PROVIDE: probe
# REQUIRE: LOGIN cron nfsd
# KEYWORD: shutdown
. /etc/rc.subr
name=probe
start_cmd=probe_start
stop_cmd=probe_stop
probe_start()
{
    carp=$(ifconfig vtnet0 | grep -c carp:) keys=$(mount | grep -c /keys)
    echo "start $(date +%T) path=$PATH carp=$carp nfsd=$(pgrep nfsd | wc -l) keys=$keys" >> /var/log/probe
}
probe_stop()
{
    carp=$(ifconfig vtnet0 | grep carp:) zfs=$(mount | grep -c /data/nfs)
    echo "stop $(date +%T) carp=$carp nfsd=$(pgrep nfsd | wc -l) zfs=$zfs" >> /var/log/probe
}
load_rc_config $name
run_rc_command "$1"
END
chmod 755 /etc/rc.d/probe
cat > /usr/local/bin/hook <<'END'
#!/bin/sh
echo "$(date +%T) $* path=$PATH home=$HOME pwd=$PWD" >> /var/log/devdenv
sleep 6
echo "$(date +%T) done" >> /var/log/devdenv
END
"""


def without_children(options: str) -> str:
    """What ``zfs send -R`` did, by streams of one dataset each."""
    names = ("rocky", "rocky/disk0")
    return "; ".join(f"zfs send zroot/bhyve_old/{n}@hamburger | zfs recv {options} zroot/bhyve/{n}" for n in names)


BEFORE: Mapping[tuple[str, int], Sequence[Step]] = {
    ("carp", 0): [("f0", HOOK), ("f1", HOOK)],
    ("carp", 3): [seconds(0.1)],
    ("carp", 4): [seconds(5)],
    ("carp", 6): [seconds(1)],
    ("carp", 12): [seconds(1)],
    ("nfs", 0): [("f0", "pkg install -y stunnel"), ("f1", "pkg install -y stunnel"), certificates],
    ("client", 0): [("r0", DEBIAN)],
    ("failover", 3): [("f1", STANDBY)],
    ("failover", 5): [seconds(4)],
    ("idmap", 8): [("f0", "chown 1000:1000 /data/nfs/k3svolumes/owned")],
    ("boot", 0): [("f1", "pkg install -y vm-bhyve")],
    ("boot", 2): [lambda store: boot.reboot(store, "f1"), seconds(1)],
    ("boot", 3): [
        ("f1", "sed -i '' 's/ufs rw 0 2/ufs ro,failok 0 0/' /etc/fstab"),
        lambda store: actions.unplug(store, "f1"),
        lambda store: boot.reboot(store, "f1"),
    ],
    ("boot", 4): [lambda store: actions.plug(store, "f1"), lambda store: boot.reboot(store, "f1")],
    ("migrate", 11): [("f0", without_children("-o encryption=off"))],
    ("migrate", 21): [("f0", without_children("-x encryption"))],
    ("return2", 3): [("f0", "zfs create zdata/enc/test1")],
    ("crash", 0): [
        ("f1", f"zfs set readonly=on {REPLICA}; {NUMBERS}"),
        lambda store: boot.crash(store, "f0"),
        seconds(4),
        ("r0", AGAIN),
    ],
    ("boot2", 0): [("f1", PROBE), lambda store: boot.reboot(store, "f1"), seconds(20)],
}
"""(section, position) -> what happened before that command."""
