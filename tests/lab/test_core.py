"""The lab's own floor: hosts, guards, refusals, the connector."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import clock
from lab.core import LabError, Store
from tests.lab.cluster import Lab, results


def test_a_host_is_freebsd_with_a_real_sh(lab: Lab) -> None:
    assert lab.sh("f0", "uname -sr; hostname; id -un; echo $((6 * 7))").out.splitlines() == [
        "FreeBSD 13.2-RELEASE",
        "f0.lan.buetow.org",
        "root",
        "42",
    ]
    assert lab.sh("r0", "uname -s").out == "Linux\n"


@pytest.mark.parametrize(
    "line",
    [
        "grep -P x /etc/rc.conf",  # GNU's option
        "find / -printf x",  # GNU's primary
        "stat --format=%a /etc",
        "zdb -C",
        "sysctl hw.physmem",
        "ls --color",
        "dd if=/dev/zero of=/tmp/x conv=fsync bs=1M count=1 iflag=direct",
        "sed --in-place s/a/b/ /etc/rc.conf",
        "jail -c",
    ],
)
def test_what_nobody_plays_fails_loudly(lab: Lab, line: str) -> None:
    ran = lab.sh("f0", line, check=False)
    assert ran.rc == 99
    assert "lab: not simulated: " in ran.err


def test_a_refusal_fails_the_operation_even_when_the_text_is_thrown_away(lab: Lab) -> None:
    ran = lab.pyinfra("exec", "--", "zdb -C 2>/dev/null; echo fine", "-y")
    assert ran.rc != 0
    assert "lab: not simulated: zdb -C" in ran.all


def test_linux_programs_are_not_on_freebsd(lab: Lab) -> None:
    ran = lab.sh("f0", "command -v apt systemctl lsblk", check=False)
    assert (ran.rc, ran.out) == (127, "")


def test_freebsd_stat_refuses_gnus_option_in_its_own_words(lab: Lab) -> None:
    ran = lab.sh("f0", "stat -c %a /etc", check=False)
    assert ran.rc == 1
    assert "stat: illegal option -- c" in ran.err


def test_without_doas_only_tmp_can_be_written(lab: Lab) -> None:
    words = ["--limit", "f0.lan.buetow.org", "-y"]
    ran = lab.pyinfra("server.shell", "commands=['touch /etc/x || touch /tmp/y']", "_doas=False", *words)
    assert ran.rc == 0, ran.all
    assert not (lab.store.root("f0.lan.buetow.org") / "etc/x").exists()
    assert (lab.store.root("f0.lan.buetow.org") / "tmp/y").exists()


def test_pyinfras_own_file_operations_converge(lab: Lab, tmp_path: Path) -> None:
    deploy = tmp_path / "files.py"
    deploy.write_text(
        "from pyinfra.operations import crontab, files\n"
        "files.put(name='put', src='Makefile', dest='/etc/x', mode='0640', user='root', group='wheel')\n"
        "files.directory(name='directory', path='/var/run/s', user='operator', group='operator', mode='0750')\n"
        "files.line(name='line', path='/etc/fstab', line='/dev/ufs/A /a ufs ro 0 0')\n"
        "files.block(name='block', path='/etc/hosts', content=['192.168.1.9 nine'])\n"
        "crontab.crontab(name='cron', command='/usr/bin/true', minute='*')\n"
    )
    first = lab.pyinfra(str(deploy), "--limit", "freebsd", "-y")
    assert first.rc == 0, first.all
    assert {name: (row.hosts, row.success) for name, row in results(first).items()} == dict.fromkeys(("put", "directory", "line", "block", "cron"), (3, 3))
    lab.unchanged(str(deploy), "--limit", "freebsd")
    assert lab.sh("f1", "stat -f '%Su:%Sg %Lp' /var/run/s").out == "operator:operator 750\n"


def test_hosts_do_not_see_each_other_or_this_machine(lab: Lab) -> None:
    lab.sh("f0", "echo mine > /root/x")
    assert lab.sh("f1", "cat /root/x", check=False).rc == 1
    assert lab.sh("f0", "kill -9 1 2>/dev/null; kill -0 $PPID && echo alive").out == "alive\n"


def test_a_host_that_is_down_cannot_be_reached(lab: Lab) -> None:
    lab.crash("f2")
    ran = lab.pyinfra("exec", "--limit", "f2.lan.buetow.org", "--", "true", "-y")
    assert ran.rc != 0
    assert "f2.lan.buetow.org is down" in ran.all


def test_a_folder_without_a_lab_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="run `python -m lab up` first"):
        Store(tmp_path).read()


def test_time_passes_only_in_sleep_and_tick(lab: Lab) -> None:
    start = lab.cluster.now
    lab.sh("f0", "sleep 1.5; sleep 2")
    lab.tick(10)
    assert lab.cluster.now == pytest.approx(start + 13.5)
    assert clock.text(start) == "2026-01-01 00:00:00 UTC"


def test_an_edit_that_fails_changes_nothing(lab: Lab) -> None:
    with pytest.raises(ZeroDivisionError), lab.store.edit() as cluster:
        cluster.now += 1000 / 0
    with pytest.raises(ZeroDivisionError), lab.store.edit() as cluster:
        cluster.now = 5.0
        raise ZeroDivisionError
    assert lab.cluster.now != 5.0
