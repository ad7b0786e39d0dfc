"""The clients' task end to end: mounts outlive a failover, a crash, an outage, a reboot and a revoked neighbour."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from lab import actions
from lab.rc import boot
from tests.lab.cluster import REPOSITORY, Cluster

pytestmark = pytest.mark.lab

SHARE = "/data/nfs/k3svolumes"
CLIENT = ("tasks/clients.py", "-y", "--limit", "r0.lan.buetow.org", "--data")


def mounted_from(lab: Cluster, client: str = "r0") -> str:
    [line] = [line for line in lab.lab("status").splitlines() if line.startswith(client)]
    return line.partition(" from ")[2].partition(";")[0]


def mount_id(lab: Cluster) -> str:
    """It is another one for a mount that was made anew."""
    return lab.sh("r0", f"grep ' {SHARE} ' /proc/self/mountinfo").split()[0]


def took(lab: Cluster, command: str) -> tuple[int, int]:
    """Exit status of a command on r0, and the virtual seconds that it took."""
    start, rc, end = lab.attempt("r0", f"date +%s; {command}; echo $?; date +%s").out.split()
    return int(rc), int(end) - int(start)


def journal(lab: Cluster) -> list[str]:
    return lab.sh("r0", "journalctl -t check-nfs-mount -o cat -q").splitlines()


def test_what_the_task_cannot_put_in_force_is_told(site: Cluster) -> None:
    laptop = (*CLIENT, "client_mount_preset=laptop")
    assert f"{SHARE} has hard instead of soft, timeo=600 instead of timeo=50" in site.done(*laptop).output
    site.sh("r0", f"umount {SHARE}")
    actions.cut_off(site.store, "r0", away=True)
    away = site.done(*laptop)
    assert f"{SHARE}: not-mounted, nothing is mounted there; " in away.output
    assert "it is configured, and the monitor goes on trying" in away.output
    actions.cut_off(site.store, "r0", away=False)
    site.tick(70)
    assert f" {SHARE} nfs4 rw,relatime,vers=4.2,rsize=131072,wsize=131072,namlen=255,soft," in site.sh(
        "r0", "cat /proc/self/mounts"
    )


def test_a_mount_follows_the_storage_to_the_other_host_and_back(site: Cluster) -> None:
    """Nothing is mounted anew: what a program has open stays good."""
    site.sh("r0", f"echo before > {SHARE}/file")
    before = mount_id(site)
    site.sh("f0", "carp backup")
    shutil.rmtree(site.state / "tls")  # as after an hour: certificates are looked at again
    assert site.sh("r0", f"cat {SHARE}/file") == "before\n"
    ran = site.attempt("r0", f"touch {SHARE}/new")
    assert (ran.rc, ran.err) == (1, f"touch: cannot touch '{SHARE}/new': Read-only file system\n")
    site.tick(15)
    assert mounted_from(site) == "f1: fine, read-only"
    assert journal(site)[-1].startswith(f"{SHARE}: healthy -> readonly; ")
    assert site.attempt("r0", "check-nfs-mount.sh --status").rc == 0
    site.sh("f0", "carp master")
    assert site.sh("r0", f"cat {SHARE}/file; echo after > {SHARE}/file; cat {SHARE}/file") == "before\nafter\n"
    site.tick(15)
    assert mounted_from(site) == "f0: fine"
    assert mount_id(site) == before


def test_after_a_crash_of_the_primary_data_is_read_from_the_standby(site: Cluster) -> None:
    site.sh("r0", f"echo before > {SHARE}/file")
    site.tick(130)  # replicated: each minute, and once more
    before = mount_id(site)
    boot.crash(site.store, "f0")
    assert took(site, f"cat {SHARE}/file >/dev/null")[1] < 10
    assert mounted_from(site) == "f1: fine, read-only"
    site.tick(15)
    assert mount_id(site) == before


def test_a_server_that_is_away_for_ten_minutes_comes_back(site: Cluster) -> None:
    site.sh("r0", f"echo before > {SHARE}/file")
    for name in ("f0", "f1", "f2"):  # nothing that they do meanwhile counts here
        site.sh(name, "service cron stop")
    told = len(journal(site))
    actions.cut_off(site.store, "r0", away=True)
    assert took(site, f"timeout 5 cat {SHARE}/file") == (124, 5)
    site.tick(600)
    assert site.attempt("r0", "check-nfs-mount.sh --status").out.count('"state": "hung"') == 1
    assert SHARE in site.sh("r0", "cat /proc/self/mounts")  # no server to replace it: left in place
    assert len(journal(site)) == told + 1  # one change of state, one line, not sixty
    actions.cut_off(site.store, "r0", away=False)
    site.tick(30)
    assert site.sh("r0", f"cat {SHARE}/file") == "before\n"
    assert site.attempt("r0", "check-nfs-mount.sh --status").rc == 0


def test_a_change_that_a_run_by_hand_finds_is_the_last_line_of_the_journal(site: Cluster) -> None:
    site.sh("r0", "systemctl stop nfs-mount-monitor.timer")
    actions.cut_off(site.store, "r0", away=True)
    assert site.attempt("r0", "sudo /usr/local/bin/check-nfs-mount.sh --once").rc == 1
    assert journal(site)[-1].startswith(f"{SHARE}: healthy -> hung; ")
    told = len(journal(site))
    actions.cut_off(site.store, "r0", away=False)
    site.sh("r0", "systemctl start nfs-mount-monitor.timer")
    site.tick(60)
    assert [line.partition(";")[0] for line in journal(site)[told:]] == [f"{SHARE}: hung -> healthy"]


def test_a_revoked_client_is_let_in_no_more_and_its_connection_ends_alone(site: Cluster) -> None:
    site.sh("r1", f"mount -- {SHARE}")
    revoke = [sys.executable, "certificates.py", "--inventory", "lab/inventory.py", "revoke", "r0.lan.buetow.org"]
    subprocess.run(revoke, cwd=REPOSITORY, env=site._env, check=True, capture_output=True)
    open_now = "sockstat -4cqw -P tcp | grep 192.168.1.138:2323"
    before = site.sh("f0", open_now).splitlines()
    assert len(before) >= 2
    # the stunnel of f0 has read the list, and nobody has looked at its connections yet
    killed = site.pyinfra("tasks/stunnel.py", "-y", LAB_KILL_AT="end-connections")
    assert killed.rc == 137, killed.output
    assert mounted_from(site) == "f0: fine"
    run = site.deploy("stunnel")
    ended = re.findall(r"ended the connection from (\S+) \((.*)\)", run.output)
    assert [why for _, why in ended] == ["r0.lan.buetow.org: its certificate is revoked"]
    assert site.sh("f0", open_now).splitlines() == [line for line in before if ended[0][0] not in line]
    assert site.attempt("r0", f"timeout 5 cat {SHARE}/file").rc == 124
    assert mounted_from(site, "r1") == "f0: fine"
    assert site.pyinfra("tasks/stunnel.py", "-y").changed == []


def test_a_rebooted_client_mounts_by_itself(site: Cluster) -> None:
    site.sh("r0", f"echo before > {SHARE}/file")
    boot.reboot(site.store, "r0")
    site.tick(1)
    assert site.sh("r0", f"cat {SHARE}/file") == "before\n"
    site.tick(15)
    assert site.attempt("r0", "check-nfs-mount.sh --status").rc == 0


def test_another_user_is_kept_from_the_tunnel_over_a_reboot_too(site: Cluster) -> None:
    attempt = "runuser -u nobody -- timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2323'"
    assert "refused" in site.attempt("r0", attempt).err
    boot.reboot(site.store, "r0")
    site.tick(1)
    assert "refused" in site.attempt("r0", attempt).err
    site.done(*CLIENT, "client_tunnel_root_only=False")
    assert site.attempt("r0", attempt).rc == 0


KUBECTL = """#!/bin/sh
echo "$2" >>/var/lib/kubectl-calls
case $2 in
get) cat /var/lib/node ;;
cordon) printf true >/var/lib/node ;;
uncordon) [ -e /var/lib/api ] && : >/var/lib/node ;;
esac
"""


def test_a_node_that_was_cordoned_is_free_again_after_a_reboot(site: Cluster) -> None:
    """The server is away for too long, and the client is restarted; the API is not there at once after that."""
    root = site.store.root(site.hosts.host("r0").name)
    for name, text in (
        ("kubectl", KUBECTL),
        ("cordon-node.sh", (REPOSITORY / "files/rocky/cordon-node.sh").read_text()),
    ):
        (root / "usr/local/bin" / name).write_text(text)
        (root / "usr/local/bin" / name).chmod(0o755)
    (root / "var/lib/node").touch()
    conf = root / "etc/f3s/nfs-mount.json"
    hook = {"escalate_after": 3, "escalate_command": "/usr/local/bin/cordon-node.sh"}
    conf.write_text(json.dumps(json.loads(conf.read_text()) | hook))
    actions.cut_off(site.store, "r0", away=True)
    site.tick(120)
    assert (root / "var/lib/node").read_text() == "true"
    assert '"escalated": "/usr/local/bin/cordon-node.sh"' in site.attempt("r0", "check-nfs-mount.sh --status").out
    boot.crash(site.store, "r0")
    actions.cut_off(site.store, "r0", away=False)
    boot.boot(site.store, "r0")
    site.tick(30)
    assert site.attempt("r0", "check-nfs-mount.sh --status").rc == 0
    assert (root / "var/lib/node").read_text() == "true"
    (root / "var/lib/api").touch()
    site.tick(75)
    assert (root / "var/lib/node").read_text() == ""
    assert (root / "var/lib/kubectl-calls").read_text().split() == ["get", "cordon", "uncordon", "uncordon"]
    assert '"escalated": ""' in site.attempt("r0", "check-nfs-mount.sh --status").out


def test_a_mount_without_the_tunnel_tries_until_it_is_ended(site: Cluster) -> None:
    site.sh("r0", f"systemctl stop nfs-mount-monitor.timer; systemctl stop stunnel; umount -f {SHARE}")
    rc, seconds = took(site, f"timeout 60 mount -t nfs4 -o port=2323 127.0.0.1:/k3svolumes {SHARE}")
    assert rc == 124
    assert 60 <= seconds < 65, "what cron starts meanwhile takes time, too"
