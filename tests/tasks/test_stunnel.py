"""tasks/stunnel.py on the simulated hosts: made once, renewed without a restart, killed anywhere, and never told."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from f3s.stunnel import SERVER_FOLDER
from tests.lab.cluster import F0, F1, REPOSITORY, Cluster, Run

pytestmark = pytest.mark.lab
TASK = "tasks/stunnel.py"
PEM = f"{SERVER_FOLDER}/server.pem"
READS = "stunnel: has read its files"
ENDS = "stunnel: no connection of a refused certificate"


def pki(cluster: Cluster, *arguments: str) -> None:
    """`python certificates.py` for the lab's own secrets folder."""
    subprocess.run(
        [sys.executable, "certificates.py", "--inventory", "lab/inventory.py", *arguments],
        cwd=REPOSITORY,
        env=cluster._env,
        check=True,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def deployed(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Cluster, Run, Run]:
    """New hosts after a dry run and a first run; stunnel then started on f0 as the controller does it."""
    cluster = installed.copy(tmp_path_factory.mktemp("stunnel") / "state")
    cluster.make_secrets()
    dry = cluster.pyinfra(TASK, "--dry", "--diff")
    first = cluster.done(TASK, "-y", "--diff", "-vvv")
    cluster.sh(F0, "kldload carp; ifconfig re0 vhid 1 pass password alias 192.168.1.138/32")
    cluster.sh(F0, "service stunnel onestart")
    return cluster, dry, first


@pytest.fixture
def cluster(deployed: tuple[Cluster, Run, Run], tmp_path: Path) -> Cluster:
    return deployed[0].copy(tmp_path / "state")


def test_without_certificates_it_says_how_to_make_them(cluster: Cluster) -> None:
    shutil.rmtree(cluster.state / "secrets")
    run = cluster.pyinfra(TASK, "--dry", "--limit", F0)
    assert run.rc != 0
    assert "python certificates.py init" in run.output
    cluster.make_secrets()
    cluster.done(TASK, "--dry", "--limit", F0)


def test_no_run_tells_the_key(deployed: tuple[Cluster, Run, Run]) -> None:
    cluster, dry, first = deployed
    keys = [line for path in (cluster.state / "secrets").glob("*.pem") for line in _key_lines(path.read_text())]
    assert len(keys) >= 5
    assert not [key for key in keys if key in dry.output + first.output]


def _key_lines(pem: str) -> list[str]:
    return "".join(re.findall(r"BEGIN PRIVATE KEY-----\n(.*?)-----END", pem, re.DOTALL)).split()


def test_a_renewal_is_read_by_the_running_daemon_which_is_not_restarted(cluster: Cluster) -> None:
    daemon = cluster.sh(F0, "pgrep -x stunnel")
    pki(cluster, "renew", "server")
    pki(cluster, "revoke", "earth")
    run = cluster.done(TASK, "-y")
    changed = ["stunnel: key and certificate of the virtual IP", "stunnel: revocation list"]
    assert sorted(run.changed) == sorted(
        [*(f"{host}: {each}" for host in (F0, F1) for each in changed), f"{F0}: {READS}", f"{F0}: {ENDS}"]
    )
    assert cluster.sh(F0, "pgrep -x stunnel") == daemon
    assert cluster.sh(F1, "pgrep -x stunnel || echo none").strip() == "none", "it starts nothing"
    assert cluster.done(TASK, "-y").changed == []


@pytest.mark.parametrize("command", ["put-secret", "pkill -HUP"])
def test_a_run_killed_after_a_renewal_is_made_up_for(cluster: Cluster, command: str) -> None:
    """It is killed before the key is put there, and after it but before the reload."""
    pki(cluster, "renew", "server")
    killed = cluster.pyinfra(TASK, "-y", "--limit", F0, LAB_KILL_AT=command)
    assert killed.rc == 137, killed.output
    again = cluster.done(TASK, "-y", "--limit", F0)
    assert f"{F0}: {READS}" in again.changed, "the daemon reads what the killed run has put there"
    assert cluster.sh(F0, f"cat {PEM}").encode() == (cluster.state / "secrets" / "server.pem").read_bytes()
    assert cluster.sh(F0, f"ls {SERVER_FOLDER}").split() == ["ca-cert.pem", "crl.pem", "server.pem", "stunnel.conf"]


BY_HAND = f"""
service stunnel onestop
cp {SERVER_FOLDER}/server.pem /root/old.pem
printf '[nfs]\\naccept = 192.168.1.138:2323\\nconnect = 127.0.0.1:2049\\ncert = /root/old.pem\\n' \\
    >{SERVER_FOLDER}/stunnel.conf
sysrc -x stunnel_pidfile
service stunnel onestart
pgrep -x stunnel
"""


def test_a_daemon_without_a_pid_file_is_named_before_anything_is_changed(cluster: Cluster) -> None:
    """As a well-known how-to leaves it: the controller could neither stop it nor start its own."""
    stray = cluster.sh(F0, BY_HAND).split()[-1]
    for task in ("tasks/carp.py", TASK):
        refused = cluster.pyinfra(task, "-y", "--limit", "storage")
        assert refused.rc != 0
        assert f"stunnel (process {stray}) listens on 192.168.1.138:2323" in refused.output
        assert f"Run `kill {stray}` there" in refused.output
        assert refused.changed == []
    assert cluster.sh(F0, "pgrep -x stunnel").split() == [stray]
    cluster.sh(F0, f"/bin/kill {stray}")
    cluster.done(TASK, "-y", "--limit", "storage")
