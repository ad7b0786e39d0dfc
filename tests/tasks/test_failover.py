"""verify, failover and failback in the lab, on a cluster that the whole deploy made, one thing broken at a time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import actions
from tests.lab.cluster import F0, F1, REPOSITORY, Cluster, Run

pytestmark = pytest.mark.lab
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
R2 = "r2.lan.buetow.org"
TITLE = "failover: "


@pytest.fixture
def cluster(everything: Cluster, tmp_path: Path) -> Cluster:
    return everything.copy(tmp_path / "state")


def task(cluster: Cluster, name: str, *arguments: str, rc: int = 0) -> Run:
    run = cluster.pyinfra(f"tasks/{name}.py", *(arguments or ("-y",)))
    assert run.rc == rc, run.output
    return run


def not_right(run: Run) -> dict[tuple[str, ...], str]:
    """(check, host, state) -> reason and next step, of all rows that are not right."""
    found: dict[tuple[str, ...], str] = {}
    key: tuple[str, ...] = ()
    table = run.output[run.output.index("CHECK ") :]
    columns = [table.index(title) for title in ("CHECK", "HOST", "STATE", "REASON")]
    for line in table.splitlines()[1:]:
        if not line:
            break
        cells = [line[start:end].strip() for start, end in zip(columns, [*columns[1:], None], strict=True)]
        if cells[0]:
            key = () if cells[2] == "ok" else tuple(cells[:3])
        if key:
            found[key] = f"{found.get(key, '')} {cells[3]}".strip()
    return found


def test_all_is_right_after_the_deploy(cluster: Cluster, tmp_path: Path) -> None:
    page = tmp_path / "state.html"
    run = task(cluster, "verify", "-y", "--data", f"verify_html={page}")
    assert not_right(run) == {}
    assert " 0 wrong, 0 unknown" in run.output
    assert "zdata/enc/nfsdata: " in page.read_text()


def test_a_stick_is_pulled_out(cluster: Cluster) -> None:
    actions.unplug(cluster.store, "f1")
    found = not_right(task(cluster, "verify", rc=1))
    assert "no stick with the label F3S_KEYS" in found["stick", F1, "WRONG"]
    assert "-> plug the stick" in found["stick", F1, "WRONG"]
    # the keys are loaded, and nobody knows whether the next boot will find them
    for row in ("keys", "replica keys"):
        assert "the stick is not mounted" in found[row, F1, "UNKNOWN"]
    assert len(found) == 3


def test_a_replica_is_written_to(cluster: Cluster) -> None:
    cluster.sh(F1, f"zfs set readonly=off {REPLICA}; echo x >/data/nfs/stray; zfs set readonly=on {REPLICA}")
    found = not_right(task(cluster, "verify", rc=1))
    row = found["replica of f0_to_f1_nfsdata untouched", F1, "WRONG"]
    assert "has diverged" in row
    assert "zrepl_rollback_replicas" in row
    refused = task(cluster, "failover", rc=1)
    assert "has diverged" in refused.output
    assert "BACKUP" in cluster.sh(F1, "carp")


def test_both_hosts_are_backup(cluster: Cluster) -> None:
    # nobody takes over within a moment
    for host in (F0, F1):
        cluster.sh(host, "ifconfig re0 vhid 1 advskew 254 state backup")
    found = not_right(task(cluster, "verify", rc=1))
    assert "nobody is MASTER (f0 BACKUP, f1 BACKUP)" in found["one MASTER", "cluster", "WRONG"]
    assert "carp master" in found["one MASTER", "cluster", "WRONG"]


def test_a_service_is_killed(cluster: Cluster) -> None:
    cluster.sh(F0, "service stunnel onestop")
    found = not_right(task(cluster, "verify", rc=1))
    assert "not ready: stunnel does not run" in found["services", F0, "WRONG"]
    assert "reconcile" in found["services", F0, "WRONG"]
    assert {key[0] for key in found} >= {"services", "TLS"}
    assert "nothing answers on 192.168.1.138:2323" in found["TLS", "r0.lan.buetow.org", "WRONG"]


def test_a_host_is_without_power(cluster: Cluster) -> None:
    cluster.lab("crash", "f1")
    found = not_right(task(cluster, "verify", rc=1))
    assert "no connection" in found["reachable", F1, "WRONG"]
    assert found["one MASTER", "cluster", "UNKNOWN"].startswith("f0 MASTER, f1 not known")
    refused = task(cluster, "failover", rc=1)
    assert f"{F1} is not part of this run: no connection" in refused.output


def test_there_and_back(cluster: Cluster) -> None:
    cluster.sh(F0, "echo before >/data/nfs/k3svolumes/note")
    dry = task(cluster, "failover", "--dry")
    order = [dry.output.index(f"{TITLE}{what}") for what in ("the address goes to f1", "f1 serves")]
    assert order == sorted(order)
    assert "MASTER" in cluster.sh(F0, "carp")

    over = task(cluster, "failover")
    assert "f1.lan.buetow.org serves on 192.168.1.138" in over.output
    assert re.search(r"carp backup: \d+ s$", over.output, re.MULTILINE)  # how long it took
    assert cluster.sh(F1, "cat /data/nfs/k3svolumes/note") == "before\n"
    cluster.tick(70)
    assert "MASTER" in cluster.sh(F1, "carp")  # cron on f0 has not taken it back
    again = task(cluster, "failover")
    assert again.changed == []
    assert not_right(task(cluster, "verify")) == {}

    back = task(cluster, "failback")
    assert "f0.lan.buetow.org serves on 192.168.1.138" in back.output
    assert task(cluster, "failback").changed == []
    cluster.tick(70)
    assert not_right(task(cluster, "verify")) == {}


def test_what_was_renewed_or_revoked_has_to_reach_the_hosts(cluster: Cluster) -> None:
    pki = [sys.executable, "certificates.py", "--inventory", "lab/inventory.py"]
    for words in (["renew", R2], ["revoke", "earth"]):
        subprocess.run([*pki, *words], cwd=REPOSITORY, env=cluster.environment, check=True, stdout=subprocess.DEVNULL)
    cluster.sh(F1, "rm /usr/local/etc/stunnel/server.pem")
    found = not_right(task(cluster, "verify", rc=1))
    crl = "/usr/local/etc/stunnel/crl.pem is not crl.pem of the secrets folder"
    assert crl in found["tunnel files", F0, "WRONG"]
    assert found["tunnel files", F1, "WRONG"].startswith("/usr/local/etc/stunnel/server.pem is missing")
    assert f"client.pem is not client-{R2}.pem" in found["tunnel files", R2, "WRONG"]
    assert "server.pem is missing" in task(cluster, "failover", rc=1).output


def test_a_standby_that_could_not_take_over(cluster: Cluster) -> None:
    cluster.sh(F1, f"umount /export/nfs; zfs unmount {REPLICA}; zfs unload-key {REPLICA}")
    cluster.tick(70)
    found = not_right(task(cluster, "verify", rc=1))
    assert found["services", F1, "WRONG"].startswith("not ready: the key of")
    assert "not ready: the key of" in task(cluster, "failover", rc=1).output


def test_a_snapshot_that_the_source_lacks(cluster: Cluster) -> None:
    cluster.sh(F1, f"zfs snapshot {REPLICA}@manual")
    found = not_right(task(cluster, "verify", rc=1))
    row = found["replica of f0_to_f1_nfsdata untouched", F1, "WRONG"]
    assert "f0.lan.buetow.org has no snapshot manual" in row
    assert "; to drop them: pyinfra inventory.py tasks/zrepl.py --data 'zrepl_rollback_replicas=" in row
    task(cluster, "zrepl", "-y", "--data", 'zrepl_rollback_replicas=["f0_to_f1_nfsdata"]')
    assert "@manual" not in cluster.sh(F1, f"zfs list -H -o name -t snapshot {REPLICA}")
    cluster.tick(70)
    assert not_right(task(cluster, "verify")) == {}


def test_without_a_client_nothing_is_moved(cluster: Cluster) -> None:
    refused = task(cluster, "failover", "-y", "--limit", "storage", rc=1)
    assert "no client in this run can ask the virtual IP" in refused.output
    assert "MASTER" in cluster.sh(F0, "carp")


STUNNEL = "/usr/local/etc/stunnel/stunnel.conf"
OTHER_PORT = (
    f"sed 's/138:2323/138:2324/' {STUNNEL} >/root/moved; cat /root/moved >{STUNNEL}; service stunnel onerestart"
)
"""The host is ready, and no client finds it."""


def test_a_failback_is_refused_or_undone_where_the_primary_could_not_serve(cluster: Cluster) -> None:
    task(cluster, "failover")
    cluster.sh(F1, f"zfs set readonly=off {REPLICA}; echo x >/data/nfs/k3svolumes/on-the-standby; zpool sync zdata")
    refused = task(cluster, "failback", rc=1)
    assert "has diverged" in refused.output
    assert "MASTER" in cluster.sh(F1, "carp")
    newest = cluster.sh(F1, f"zfs list -H -o name -t snapshot -s createtxg {REPLICA} | tail -n 1").strip()
    cluster.sh(F1, f"zfs rollback {newest}; zfs set readonly=on {REPLICA}; service f3s_storage reconcile")
    cluster.tick(130)
    cluster.sh(F0, OTHER_PORT)
    undone = task(cluster, "failback", rc=1)
    assert "so it is undone" in undone.output
    assert "carp backup: " in undone.output
    assert cluster.sh(F1, "carp").startswith("MASTER")
    assert cluster.attempt(F0, "test -e /var/db/f3s/carp.hold").rc == 0  # the planned failover still lasts


def test_a_failover_that_was_killed_before_its_proof_is_undone_by_the_next_run(cluster: Cluster) -> None:
    cluster.sh(F0, "carp backup")
    cluster.sh(F1, OTHER_PORT)
    run = task(cluster, "failover", rc=1)
    assert "the address goes to f1" not in run.output
    assert "no client is let in at 192.168.1.138:2323" in run.output
    assert "so it is undone" in run.output
    assert cluster.sh(F0, "carp").startswith("MASTER")
    cluster.sh(F0, "service f3s_storage status; touch /data/nfs/k3svolumes/x; ! test -e /var/db/f3s/carp.hold")
