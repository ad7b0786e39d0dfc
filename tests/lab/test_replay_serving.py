"""CARP, NFS, stunnel and boots as recorded on real FreeBSD, replayed in the lab as in test_replay.py.

What the machines had before a section began is made again by `BEFORE`; what nobody recorded of it (the hook of devd,
stunnel's files) follows from what the commands show.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import actions, clock
from lab.core import Store
from lab.rc import boot
from tests.lab.replay import Normaliser, Outcome, machines, recorded, replay
from tests.lab.test_replay import difference

pytestmark = pytest.mark.lab
TRANSCRIPT = Path(__file__).with_name("transcripts") / "freebsd-13.2-serving.jsonl"
MEASURED = ("carp", "nfs", "stunnel")
OTHERS = ("failover", "boot", "guard", "svc", "crash", "boot2")
"""Few commands each, and most of them look at logs of daemons that the lab only plays."""

HOOK = (
    'mkdir -p /usr/local/etc/devd; echo \'notify 30 { match "system" "CARP"; match "type" "(MASTER|BACKUP)"; '
    'action "/usr/local/bin/hook $subsystem $type"; };\' > /usr/local/etc/devd/carp.conf; '
    "printf '#!/bin/sh\\necho \"$(date +%%T) args=[$*] n=$#\" >> /var/log/carplog\\n' > /usr/local/bin/hook; "
    "chmod 755 /usr/local/bin/hook; service devd restart; kldload carp"
)
KEYS = (
    "newfs -L F3S_KEYS /dev/da0; mkdir -p /keys; mount /dev/ufs/F3S_KEYS /keys; "
    "printf 'an example of a key, of 32 bytes' > /keys/f0:zdata.key; "
    "echo '/dev/ufs/F3S_KEYS /keys ufs rw 0 2' >> /etc/fstab; sysrc zfskeys_enable=YES zfs_enable=YES"
)
POOL = (
    "zpool create -m /data zdata ada1; "
    "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///keys/f0:zdata.key zdata/enc; "
    "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///keys/f0:zdata.key -o mountpoint=/data/nfs "
    "zdata/enc/nfsdata; echo hello > /data/nfs/hello.txt"
)
SINK = "zpool create -m /data zdata ada1; zfs create zdata/sink; zfs create -p zdata/sink/f0/zdata/enc"
TUNNEL = (
    "pkg install -y stunnel; cd /usr/local/etc/stunnel; echo 'BEGIN CERTIFICATE' > server-cert.pem; printf "
    "'cert = /usr/local/etc/stunnel/server-cert.pem\\nsetuid = stunnel\\nsetgid = stunnel\\n[nfs-tls]\\n"
    "accept = 192.168.1.138:2323\\nconnect = 127.0.0.1:2049\\n' > stunnel.conf"
)
ADDRESS = "inet vhid 1 advskew 100 pass testpass alias 192.168.1.138/32"
STANDBY = (
    "zfs set readonly=on zdata/sink/f0/zdata/enc/nfsdata; zfs set mountpoint=/data/nfs "
    "zdata/sink/f0/zdata/enc/nfsdata; zfs set keylocation=file:///keys/f0:zdata.key "
    "zdata/sink/f0/zdata/enc/nfsdata; zfs load-key zdata/sink/f0/zdata/enc/nfsdata; "
    "zfs mount zdata/sink/f0/zdata/enc/nfsdata; "
    "printf 'V4: /data/nfs -sec=sys\\n/data/nfs -alldirs -maproot=root -network 127.0.0.1\\n' > /etc/exports; "
    "sysrc nfs_server_enable=YES nfsv4_server_enable=YES nfsuserd_enable=YES mountd_enable=YES rpcbind_enable=YES "
    f"stunnel_enable=YES ifconfig_vtnet0_alias0='{ADDRESS}'; echo 'carp_load=\"YES\"' >> /boot/loader.conf"
)


def seconds(number: float) -> object:
    return lambda store: clock.tick(store, number)


def replica(store: Store) -> None:
    """The standby's replica, as the sections zfs and sink left it."""
    f0, f1 = (store.read().host(name).name for name in ("f0", "f1"))
    clock.run(store, f0, ["/bin/sh", "-c", "zfs snapshot zdata/enc/nfsdata@one"])
    stream = clock.run(store, f0, ["/bin/sh", "-c", "zfs send -w zdata/enc/nfsdata@one"], capture_output=True).stdout
    clock.run(store, f1, ["/bin/sh", "-c", "zfs recv zdata/sink/f0/zdata/enc/nfsdata"], input=stream)


BEFORE = {
    ("carp", 0): [("f0", HOOK), ("f1", HOOK)],
    ("carp", 3): [seconds(0.1)],
    ("carp", 4): [seconds(5)],
    ("carp", 6): [seconds(1)],
    ("carp", 12): [seconds(1)],
    ("nfs", 0): [("f0", KEYS), ("f1", KEYS), ("f0", POOL), ("f1", SINK), ("f0", TUNNEL), ("f1", TUNNEL), replica],
    ("failover", 0): [("f1", STANDBY)],
    ("failover", 1): [("f0", "pkill -x stunnel")],  # kill is a part of sh, and the lab's daemons are no processes
    ("failover", 2): [seconds(2)],
    ("boot", 2): [lambda store: boot.reboot(store, "f1"), seconds(1)],
    ("boot", 3): [
        ("f1", "sed -i '' 's/ufs rw 0 2/ufs ro,failok 0 0/' /etc/fstab"),
        lambda store: actions.unplug(store, "f1"),
        lambda store: boot.reboot(store, "f1"),
    ],
    ("boot", 4): [lambda store: actions.plug(store, "f1"), lambda store: boot.reboot(store, "f1")],
    ("crash", 0): [
        ("f1", "service mountd onestop; zfs unmount zdata/sink/f0/zdata/enc/nfsdata; service mountd onestart"),
        ("f1", "zfs mount zdata/sink/f0/zdata/enc/nfsdata"),
    ],
}
"""What happened on the machines before a command, as later output shows or other sections have it."""

LOG = "what stunnel and mountd tell syslog is not played"
KILL = "kill is a part of sh, and the lab's daemons are no processes that it could find"
LEFT_OUT = {
    ("carp", 7): "nc(1) is not played",
    ("carp", 8): "the machines had a second interface, which nothing else uses",
    ("nfs", 15): LOG,
    ("nfs", 17): LOG,
    ("nfs", 25): "nfsstat is not played",
    ("failover", 1): KILL,
    ("failover", 2): "connections of clients: sockstat -4 without -l is not played",
    ("boot", 0): "rcorder(8) is not played; test_freebsd has the same order from the lab's own scripts",
    ("boot", 1): "the lab's scripts name only those others that it has",
    ("boot", 2): "the fstab's stick brought the key late, so nfsdata was mounted last; the lab mounts all in one pass",
    ("boot", 3): LOG,
    ("guard", 0): "mountd is run by its script alone, and there are no manual pages",
    ("guard", 1): KILL,
    ("svc", 0): "the daemons ended between kill(2) and the second look at them",
    ("svc", 1): LOG + "; mountd had not registered with rpcbind yet when showmount asked",
    ("crash", 0): LOG + "; " + KILL,
    ("crash", 1): "files of the sections rotate and return; nfsstat",
    ("crash", 2): LOG,
    ("boot2", 0): "what a probe in rc.d and in devd saw, which nobody recorded",
}
"""(section, position) of the commands that come out differently, with the reason."""


class Serving(Normaliser):
    """Also leaves out times of day and process ids."""

    def _line(self, line: str) -> str:
        line = re.sub(r"\b\d\d:\d\d:\d\d\b", "<time>", line)
        line = re.sub(r"(?<=running as pid )[\d ]+", "<pids>", line)
        line = re.sub(r"(?<=Waiting for PIDS: )[\d ]+", "<pids>", line)
        line = re.sub(r"^\d+ (?=stunnel$)", "<pid> ", line)
        line = re.sub(r"^(\w+ +\w+ +)\d+ +\d+ +((?:tcp|udp)4)", r"\1<pid> \2", line)
        return super()._line(line)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    store = Store(Path(tmp_path_factory.mktemp("replay-serving")) / "lab")
    machines(store)
    return replay(store, recorded(TRANSCRIPT), BEFORE, Serving)


@pytest.mark.parametrize("section", MEASURED + OTHERS)
def test_the_lab_serves_as_freebsd_did(outcomes: list[Outcome], section: str) -> None:
    mine = [o for o in outcomes if o.command.section == section]
    assert mine
    different = {(section, o.command.number): difference(o) for o in mine if not o.same}
    unexpected = [text for key, text in different.items() if key not in LEFT_OUT]
    assert not unexpected, "\n\n".join(unexpected)
    stale = [key for key in LEFT_OUT if key[0] == section and key not in different]
    assert not stale, f"these match now: take them out of LEFT_OUT: {stale}"


def test_nine_in_ten_commands_of_the_serving_side_match(
    outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {}
    for section in MEASURED + OTHERS:
        same = [o.same for o in outcomes if o.command.section == section]
        counts[section] = (sum(same), len(same))
    with capsys.disabled():
        print("\nreplay:", ", ".join(f"{name} {same}/{count}" for name, (same, count) in counts.items()))
    measured = [counts[section] for section in MEASURED]
    assert sum(same for same, _ in measured) >= 0.9 * sum(count for _, count in measured)
