"""deploy.py is a list of tasks, each with the reason for its place."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from tests.lab.cluster import F0, F1, F2, Cluster

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "deploy.py").read_text().splitlines()
INCLUDE = re.compile(r'then\("(\w+)"\)')
LISTED = [match[1] for line in LINES if (match := INCLUDE.fullmatch(line))]

ORDER = ["usb_keys", "zfs_encrypt", "bhyve_migrate", "zrepl", "carp", "nfs", "stunnel", "clients"]
"""The sections of the specification."""


def test_every_task_that_there_is_has_its_place() -> None:
    assert [name for name in ORDER if (ROOT / "tasks" / f"{name}.py").exists()] == LISTED


def test_every_task_has_the_reason_for_its_place_above_it() -> None:
    reasons = [LINES[number - 1] for number, line in enumerate(LINES) if INCLUDE.fullmatch(line)]
    assert reasons
    assert [reason for reason in reasons if not reason.startswith("# ")] == []


def files(lab: Cluster) -> dict[str, tuple[int, int, int]]:
    """Every file of every host and disk, with its size, mode and time; what the lab itself keeps there is left out."""
    found = {}
    for top in (*lab.state.glob("hosts/*/root"), lab.state / "trees", lab.state / "disks"):
        for file in top.rglob("*"):
            name = str(file.relative_to(lab.state))
            if "/root/.lab" not in name and file.is_file() and not file.is_symlink():
                status = file.lstat()
                found[name] = (status.st_size, status.st_mode, status.st_mtime_ns)
    return found


def test_the_operations_of_a_task_run_on_all_hosts_before_the_next_task(lab: Cluster) -> None:
    lab.make_secrets()
    before = files(lab)
    plan = lab.pyinfra("deploy.py", "--dry")
    assert plan.rc == 0, plan.output
    assert files(lab) == before, "a dry run changes nothing"
    _, _, table = plan.output.partition("--> Detected changes:")
    tasks = re.findall(r"^    (?:-- (\w+)|tasks/(\w+)\.py \|)", table, re.MULTILINE)
    sequence = [left or right for left, right in tasks]
    assert [name for name, _ in itertools.groupby(sequence)] == LISTED


def test_every_file_that_makes_a_plan_ends_it_where_something_refuses() -> None:
    """Without that line the run would go on until an operation refuses while others have changed hosts."""
    plans = [ROOT / "deploy.py", *(ROOT / "tasks").glob("*.py")]
    plans = [file for file in plans if file.name != "shared.py" and "from operations import" in file.read_text()]
    assert len(plans) > len(ORDER)
    assert [file.name for file in plans if not file.read_text().endswith("\nreasons.none_left()\n")] == []


BYTES = "printf x | dd of=/dev/da0 bs=1 seek=4000000 conv=notrunc"
NETIF = "mkdir -p /etc/rc.conf.d; echo x=1 >/etc/rc.conf.d/netif"
FAULTS = [
    (F0, "usb_keys", BYTES, "da0 was not formatted"),
    (F0, "zfs_encrypt", "newfs /dev/ada1", "the pool zdata was not made, disk ada1 is not blank"),
    (F0, "bhyve_migrate", "zfs create zroot/bhyve_old", "zroot/bhyve_old is of unknown origin"),
    (F0, "carp", NETIF, "/etc/rc.conf.d/netif is not from this deploy"),
    (F0, "carp", "ifconfig re0 inet 192.168.1.138/32 alias", "re0 has 192.168.1.138 without a vhid"),
    (F1, "usb_keys", BYTES, "da0 was not formatted"),
    (F1, "zfs_encrypt", "zpool create -m /tank zdata /dev/ada1", "zdata is there with mount point /tank"),
    (F1, "carp", "kldload carp; ifconfig re0 vhid 7 pass an0therOne alias 192.168.1.7/32", "has vhid 7 on re0"),
    (F1, "carp", NETIF, "/etc/rc.conf.d/netif is not from this deploy"),
    (F2, "usb_keys", "newfs /dev/da0", "it may be the key stick without its label"),
]
"""Host, task, what makes it stop, how it says so."""


def test_all_reasons_to_stop_come_in_one_list_before_anything_is_changed(lab: Cluster) -> None:
    lab.make_secrets()
    for host, _, command, _ in FAULTS:
        lab.sh(host, command)
    before = files(lab)
    run = lab.pyinfra("deploy.py", "-y")
    assert run.rc != 0
    assert (run.changed, files(lab)) == ([], before)
    listed = re.findall(r"^- \[(\w+)\] (\S+?):? (.*)$", run.output, re.MULTILINE)
    assert "10 reasons to stop. No host was changed" in run.output
    assert [(host, task) for task, host, _ in listed] == [(host, task) for host, task, _, _ in FAULTS], run.output
    for host, task, _, said in FAULTS:
        assert [reason for on, where, reason in listed if (where, on) == (host, task) and said in reason], said
    # each task knows its own, and a run that is limited to a host without any goes on
    alone = lab.pyinfra("tasks/usb_keys.py", "--dry")
    assert "3 reasons to stop" in alone.output
    limited = lab.pyinfra("tasks/clients.py", "--dry", "--limit", "clients")
    assert limited.rc == 0, limited.output
