"""tasks/survey.py on the site that was made by hand (scenarios/by_hand), and on one where everything is missing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios import by_hand
from scenarios.deploy import FINGERPRINT
from scenarios.stage import ran
from tests import golden
from tests.f3s.settings_data import CLIENTS, STORAGE, build, good
from tests.lab.cluster import F0, F1, F2, Cluster

pytestmark = pytest.mark.lab
SITE = build(good())
HOSTS = (F0, F1, F2)


def survey(cluster: Cluster, place: Path) -> str:
    """What it says; the files are in `place`/site. It has changed nothing."""
    before = [cluster.attempt(host, FINGERPRINT).out for host in HOSTS]
    (place / "hosts.py").write_text(by_hand.minimal_inventory("lab/inventory.py"))
    words = ("tasks/survey.py", "-y", "--data", f"survey_to={place}/site")
    run = cluster.done(*words, inventory=str(place / "hosts.py"))
    assert before == [cluster.attempt(host, FINGERPRINT).out for host in HOSTS]
    again = cluster.pyinfra(*words, inventory=str(place / "hosts.py"))
    assert (again.rc != 0, "is there already: name a new folder in survey_to" in again.output) == (True, True)
    return run.output


def certificates(cluster: Cluster, place: Path) -> None:
    words = [sys.executable, "certificates.py", "--inventory", f"{place}/site/inventory.py", "init"]
    assert ran(words, None, cluster.environment).rc == 0


def test_a_site_by_hand_is_said_as_data_and_its_first_run_is_as_planned(lab: Cluster, tmp_path: Path) -> None:
    def wait(what: str, so: Callable[[], bool]) -> None:
        for _ in range(30):
            if so():
                return
            lab.tick(10)
        raise AssertionError(what)

    by_hand.build(SITE, lab.sh, wait)
    for host in CLIENTS:
        by_hand.client(SITE, host, lab.sh)
    said = survey(lab, tmp_path)
    for row in (
        "f0 yours the job backup (push) stays as it is",
        "f0 yours the export `/tank/scans -mapall=nobody printer.lan` stays as it is",
        "f1 yours [ups] accepts on 4443, connects to 127.0.0.1:80: it stays as it is",
        "f0 stick da0 on /keys, no label: backup, f0.lan.buetow.org:bhyve",
        "f1 yours the job photos (pull) stays as it is",
        "f1 system FreeBSD 13.2-RELEASE, zrepl 0.6.1_9, stunnel 5.75,1",
        "f0 address re0: 192.168.1.130/24, vhid 1 192.168.1.138",
    ):
        assert row in re.sub(" +", " ", said)
    assert not [line for line in said.splitlines() if " unknown " in line]
    # the shipped data are those of the how-to: little is left to say
    found = {each.name: each.read_text() for each in (tmp_path / "site/group_data").iterdir()}
    assert found.keys() == {"all.py", "clients.py", "freebsd.py"}
    lines = re.findall(r"^\w+ = .*", found["freebsd.py"], re.MULTILINE)
    assert lines == ["nfs_owners = 'names'", "nfs_for_others = True"]
    assert "'site': 'soft,timeo=150,rw'" in found["clients.py"]
    certificates(lab, tmp_path)
    inventory = f"{tmp_path}/site/inventory.py"
    dry = lab.pyinfra("deploy.py", "--dry", inventory=inventory)
    reasons = re.findall(
        r"^- \[(\w+)\] (\S+): (\S+) (?:\(process|is not of this deploy|has a rule for CARP)", dry.output, re.MULTILINE
    )
    programs = [f"/usr/local/bin/{name}" for name in ("carp", "carpcontrol.sh", "carp-auto-failback.sh")]
    units = [f"/etc/systemd/system/nfs-mount-monitor.{kind}" for kind in ("service", "timer")]
    wanted = [("carp", host, what) for host in STORAGE for what in ("stunnel", *programs)]
    wanted += [("carp", host, "/etc/devd.conf") for host in STORAGE]
    wanted += [("clients", host, what) for host in CLIENTS for what in (*units, "/etc/stunnel/ca-cert.pem")]
    assert sorted(reasons) == sorted(wanted)
    assert f"{len(wanted)} reasons to stop" in dry.output
    for host in STORAGE:
        lab.sh(host, "/bin/kill $(pgrep -x stunnel)")
    words = tmp_path / "site/group_data/all.py"
    words.write_text(by_hand.uncommented(words.read_text()))
    lab.done("deploy.py", "-y", inventory=inventory, LAB_PLANS=str(tmp_path / "plans"))
    golden.compare(tmp_path / "plans", "adopted")


def test_hosts_on_which_everything_is_missing(lab: Cluster, tmp_path: Path) -> None:
    lab.lab("crash", "r2")
    lab.sh(F1, "mkdir /etc/exports")
    said = re.sub(" +", " ", survey(lab, tmp_path))
    for row in (
        "f0 unknown the stick: nothing with keys is mounted on /keys",
        "f1 unknown /etc/exports: it is no readable text file",
        "r0 unknown what it mounts: nothing from 127.0.0.1 is in /etc/fstab",
        "r2 unknown release, packages and addresses",
        "site unknown which host is the primary: put it into storage_primary in inventory.py",
        "site unknown what is served: no dataset is exported to 127.0.0.1 in /etc/exports",
    ):
        assert row in said
    inventory = (tmp_path / "site/inventory.py").read_text()
    assert "storage_primary = []  # unknown: put the host here" in inventory
    assert f"('@lab/{F0}', {{" in inventory
    run = lab.pyinfra("deploy.py", "--dry", inventory=f"{tmp_path}/site/inventory.py")
    assert (run.rc != 0, "storage_primary = []: has 0 hosts; allowed: exactly one host" in run.output) == (True, True)
