"""verify, failover and failback in the lab, on a cluster that the whole deploy made, one thing broken at a time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.cluster import F0, F1, Cluster, Run

pytestmark = pytest.mark.lab
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
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


def test_a_service_is_killed(cluster: Cluster) -> None:
    cluster.sh(F0, "service stunnel onestop")
    found = not_right(task(cluster, "verify", rc=1))
    assert "not ready: stunnel does not run" in found["services", F0, "WRONG"]
    assert "reconcile" in found["services", F0, "WRONG"]
    assert {key[0] for key in found} >= {"services", "TLS"}
    assert "nothing answers on 192.168.1.138:2323" in found["TLS", "r0.lan.buetow.org", "WRONG"]


STUNNEL = "/usr/local/etc/stunnel/stunnel.conf"


def on_port(number: int) -> str:
    """Makes a host that is ready one that clients find, or do not find."""
    edited = f"sed 's/138:[0-9]*/138:{number}/' {STUNNEL} >/root/moved; cat /root/moved >{STUNNEL}"
    return f"{edited}; service stunnel onerestart"


def test_there_and_back_unless_the_primary_could_not_serve(cluster: Cluster, tmp_path: Path) -> None:
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

    cluster.sh(F1, f"zfs set readonly=off {REPLICA}; echo x >/data/nfs/k3svolumes/on-the-standby; zpool sync zdata")
    refused = task(cluster, "failback", rc=1)
    assert "has diverged" in refused.output
    assert "MASTER" in cluster.sh(F1, "carp")
    newest = cluster.sh(F1, f"zfs list -H -o name -t snapshot -s createtxg {REPLICA} | tail -n 1").strip()
    cluster.sh(F1, f"zfs rollback {newest}; zfs set readonly=on {REPLICA}; service f3s_storage reconcile")
    cluster.tick(130)
    cluster.sh(F0, on_port(2324))
    undone = task(cluster, "failback", rc=1)
    assert "so it is undone" in undone.output
    assert "carp backup: " in undone.output
    assert cluster.sh(F1, "carp").startswith("MASTER")
    assert cluster.attempt(F0, "test -e /var/db/f3s/carp.hold").rc == 0  # the planned failover still lasts

    cluster.sh(F0, on_port(2323))
    back = task(cluster, "failback")
    assert "f0.lan.buetow.org serves on 192.168.1.138" in back.output
    assert task(cluster, "failback").changed == []
    cluster.tick(70)
    page = tmp_path / "state.html"
    run = task(cluster, "verify", "-y", "--data", f"verify_html={page}")
    assert not_right(run) == {}
    assert " 0 wrong, 0 unknown" in run.output
    assert "zdata/enc/nfsdata: " in page.read_text()
    assert "</code> event: 1@re0 MASTER" in page.read_text(), "its history"


def test_a_failover_that_was_killed_before_its_proof_is_undone_by_the_next_run(cluster: Cluster) -> None:
    cluster.sh(F0, "carp backup")
    cluster.sh(F1, on_port(2324))
    run = task(cluster, "failover", rc=1)
    assert "the address goes to f1" not in run.output
    assert "no client is let in at 192.168.1.138:2323" in run.output
    assert "so it is undone" in run.output
    assert cluster.sh(F0, "carp").startswith("MASTER")
    cluster.sh(F0, "service f3s_storage status; touch /data/nfs/k3svolumes/x; ! test -e /var/db/f3s/carp.hold")
