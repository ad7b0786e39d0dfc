"""The simulated cluster against what real machines answered (tests/lab/transcripts)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lab.replay import Command, Comparison, recorded
from machines import compare
from machines.compare import BLANK, DEPLOYED, RECORDING
from machines.differences import Accepted
from tests.lab.cluster import REPOSITORY, Cluster


@pytest.mark.parametrize(
    ("line", "looks"),
    [
        ("doas -n sh -c 'export LC_ALL=C; { zfs get all; }'", True),
        ("/sbin/zfs get -Hp all", True),
        ("/sbin/zpool status", True),
        ("/sbin/ifconfig vtnet0", True),
        ("/sbin/sysctl -n net.inet.carp.preempt", True),
        ("/etc/rc.d/nfsd onestatus", True),
        ("/sbin/zfs set readonly=on zdata", False),
        ("/sbin/zfs list tank@zrepl_20260101", False),
        ("/sbin/zfs load-key zdata/enc", False),
        ("/sbin/ifconfig vtnet0 vhid 1 pass secret alias 192.168.1.138/32", False),
        ("/sbin/sysctl net.inet.carp.preempt=1", False),
        ("/etc/rc.d/nfsd onestop", False),
        ("/sbin/mount -a", False),
        ("/bin/rm -rf /data", False),
        ("doas -n sh -c 'rm -rf /data'", False),
    ],
)
def test_only_what_looks_is_sent(line: str, looks: bool) -> None:
    assert bool(compare.LOOKS.fullmatch(line)) is looks


def test_a_difference_is_told_and_judged() -> None:
    command = Command(BLANK, 0, "f0", "zpool list", 0, "no pools available\n", "")
    outcomes = [Comparison().outcome(command, (1, "", ""))]
    status = ("status -0", "status +1")
    line = "stdout -no pools available"
    assert compare.rows(outcomes[0]) == [*status, line]
    title = "blank 0 on f0: zpool list"
    assert compare.judged(outcomes, []) == (["\n    ".join([title, *status, line])], [])
    known = Accepted(r"status [-+]\d", "why"), Accepted("stdout -no pools.*", "why", "^zpool list$")
    assert compare.judged(outcomes, known) == ([], [])
    assert compare.judged(outcomes, known[:1]) == (["\n    ".join([title, line])], [])
    stale = Accepted("stdout -no pools.*", "why", "^zpool status$")
    assert compare.judged(outcomes, [*known, stale]) == ([], [stale])


@pytest.mark.lab
def test_commands_are_noted_where_somebody_wants_them(lab: Cluster) -> None:
    lab.sh("f0", "sysctl -n kern.hostname")
    log = lab.state / "commands"
    assert not log.exists()
    log.touch()
    lab.sh("f0", "sysctl -n kern.ostype")
    lab.pyinfra("-y", "exec", "--", "zpool list", inventory="@lab/f1.lan.buetow.org")
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"host": "f0.lan.buetow.org", "cmd": "/sbin/sysctl -n kern.ostype"} in noted
    assert {"host": "f1.lan.buetow.org", "cmd": "sh -c 'zpool list'"} in noted


@pytest.mark.lab
def test_the_lab_answers_as_the_machines_did() -> None:
    assert {each.section for each in recorded(RECORDING)} <= {BLANK, DEPLOYED}
    # a process of its own: pyinfra's command line changes the whole interpreter
    words = [sys.executable, "-m", "machines.compare", "--recording", str(RECORDING)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
