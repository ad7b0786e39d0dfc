"""Files of a site that was set up by hand (scenarios/by_hand), with things of the operator's own in them."""

from __future__ import annotations

import pytest

from scenarios.by_hand import FOLDER
from tests.lab.cluster import F1, Cluster

pytestmark = pytest.mark.lab
BY_HAND = FOLDER
FILES = {
    "exports": "/etc/exports",
    "stunnel.conf": "/usr/local/etc/stunnel/stunnel.conf",
    "devd.conf": "/etc/devd.conf",
}
HOOK = "/usr/local/bin/carpcontrol.sh"
TASKS = ("tasks/nfs.py", "tasks/stunnel.py", "tasks/carp.py")


def run(cluster: Cluster, tasks: str | tuple[str, ...], *data: str) -> tuple[int, str, list[str]]:
    more = [word for each in data for word in ("--data", each)]
    done = cluster.pyinfra(*([tasks] if isinstance(tasks, str) else tasks), "-y", "--diff", "--limit", F1, *more)
    return done.rc, " ".join(done.output.split()), done.changed


def test_what_is_the_operators_stays_and_the_second_run_changes_nothing(lab: Cluster) -> None:
    lab.make_secrets()
    lab.sh(F1, "pkg install -y stunnel; mkdir -p /tank/media /tank/scans; sysrc stunnel_enable=YES mountd_flags=-r")
    for name, path in FILES.items():
        lab.sh(F1, f"cat >{path} <<'END'\n{(BY_HAND / name).read_text()}END")
    lab.sh(F1, f"printf '#!/bin/sh\\necho by hand\\n' >{HOOK}; chmod 755 {HOOK}")
    before = {path: lab.sh(F1, f"cat {path}") for path in (*FILES.values(), HOOK)}
    rc, said, _ = run(lab, "tasks/nfs.py")
    assert (rc == 0, "Set nfs_for_others = True" in said) == (False, True), said
    rc, said, _ = run(lab, "tasks/carp.py", "nfs_for_others=true")
    assert (rc == 0, f"{HOOK} is not of this deploy" in said, "- echo by hand" in said) == (False, True, True), said
    assert {path: lab.sh(F1, f"cat {path}") for path in before} == before
    data = ("nfs_for_others=true", f'replace_files=["{HOOK}", "/etc/devd.conf"]')
    for task in TASKS:
        rc, said, changed = run(lab, task, *data)
        assert (rc, bool(changed)) == (0, True), said
    assert run(lab, TASKS, *data)[::2] == (0, [])
    for path, text in before.items():
        assert lab.sh(F1, f"cat {path}.20*") == text, "the old one stays beside the new one"
    assert lab.sh(F1, "grep -c /tank/ /etc/exports").strip() == "2"
    assert "[ups]" in lab.sh(F1, f"cat {FILES['stunnel.conf']}")
    assert HOOK not in lab.sh(F1, "cat /etc/devd.conf")
    assert lab.sh(F1, "sysrc -n stunnel_enable mountd_flags nfsv4_server_enable").split() == ["YES", "-r", "YES"]
