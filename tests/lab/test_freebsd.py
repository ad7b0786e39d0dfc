"""FreeBSD's disks, sticks, mounts, services, boot and CARP as the observations have them."""

from __future__ import annotations

import pytest

from lab import actions, clock
from lab.commands import mounting
from lab.core import LabError, Mount
from lab.rc import boot
from tests.lab.cluster import F0, F1, Cluster

STICK = "newfs -L F3S_KEYS /dev/da0 >/dev/null; mkdir -p /keys; mount /dev/ufs/F3S_KEYS /keys"


def test_a_stick_can_be_pulled_out_and_put_into_another_host(lab: Cluster) -> None:
    lab.sh("f0", f"{STICK}; echo key > /keys/a")
    actions.unplug(lab.store, "f0")
    assert "/dev/ufs/F3S_KEYS on /keys" in lab.sh("f0", "mount")
    assert lab.sh("f0", "ls /keys; ls /dev/ufs") == ""
    actions.plug(lab.store, "f0")
    assert lab.attempt("f0", "cat /keys/a").rc == 1
    assert "the kernel may panic" in lab.attempt("f0", "mount -u -o rw /keys").err
    assert lab.sh("f0", "umount -f /keys; mount /dev/ufs/F3S_KEYS /keys; cat /keys/a") == "key\n"


def test_a_disk_in_use_cannot_be_swapped(lab: Cluster) -> None:
    lab.sh("f0", STICK)
    with pytest.raises(LabError, match="in use"):
        actions.swap(lab.store, "f0", "da0")


def test_an_fstab_line_for_a_missing_stick_stops_the_boot(lab: Cluster) -> None:
    lab.sh("f0", f"{STICK}; echo '/dev/ufs/F3S_KEYS /keys ufs rw 0 2' >> /etc/fstab")
    boot.reboot(lab.store, "f0")
    assert lab.hosts.host("f0").up
    assert "/keys" in lab.sh("f0", "mount")
    actions.unplug(lab.store, "f0")
    boot.reboot(lab.store, "f0")
    assert not lab.hosts.host("f0").up
    assert "Can't stat /dev/ufs/F3S_KEYS" in lab.log("f0", "console.log")


def test_cron_runs_every_virtual_minute(lab: Cluster) -> None:
    lab.sh("f0", "echo '* * * * * date +%s >> /root/times' | crontab -")
    lab.tick(241)
    times = [int(word) for word in lab.sh("f0", "cat /root/times").split()]
    assert times == [1767225660 + 60 * n for n in range(4)]
    lab.sh("f0", "echo '*/2 * * * * true' | crontab -")
    with pytest.raises(LabError, match=r"cron: \*/2"):
        lab.tick(60)


def test_who_waits_for_a_lock_gets_it_although_its_holder_sleeps(lab: Cluster) -> None:
    # all of them are started by cron: what the test itself runs takes no virtual time where it works, under load a lot
    lock = "lockf -k -s -t 200 /var/run/lock sh -c 'echo $0 began; sleep %d; echo $0 ended' %s >> /root/jobs"
    (lab.store.root(F0) / "etc/cron.d/jobs").write_text(
        f"1 * * * * root {lock % (90, 'first')}\n"
        f"2 * * * * root {lock % (70, 'second')}\n"
        f"3 * * * * root {lock % (25, 'third')}\n"
    )
    lab.tick(400)
    done = [f"{name} {what}" for name in ("first", "second", "third") for what in ("began", "ended")]
    assert lab.sh("f0", "cat /root/jobs").splitlines() == done


def test_a_power_cut_ends_what_runs(lab: Cluster) -> None:
    job = "[ ! -e began ] || exit; touch began; until [ -e go ]; do sleep 1; done; touch after"
    lab.sh("f0", f"echo '* * * * * cd /root; {job}' | crontab -")
    clock.run(lab.store, F1, ["/bin/sleep", "65"])
    boot.crash(lab.store, "f0")
    (lab.store.root(F0) / "root/go").touch()  # what the job waits for, if it still runs
    boot.boot(lab.store, "f0")
    lab.tick(60)
    assert lab.sh("f0", "ls /root").split() == ["began", "go"]


def test_daemons_have_pid_files(lab: Cluster) -> None:
    lab.sh("f0", "echo 'V4: /' > /etc/exports; service mountd onestart")
    files = "cron devd mountd sshd syslog"
    assert lab.sh("f0", "cd /var/run; ls *.pid").split() == [f"{name}.pid" for name in files.split()]
    assert lab.sh("f0", "pgrep -x mountd") == lab.sh("f0", "cat /var/run/mountd.pid")
    lab.sh("f0", "service mountd onestop; ! ls /var/run/mountd.pid 2>/dev/null")


def test_mountd_applies_what_is_new_at_a_reload_and_nothing_that_it_knows(lab: Cluster) -> None:
    lab.sh("f0", "zpool create -m /data zdata ada1; zfs create zdata/a; zfs create zdata/b; zfs unmount zdata/a")
    lab.sh("f0", "echo '/data/a 127.0.0.1' > /etc/exports; service mountd onestart; zfs mount zdata/a")
    lab.sh("f0", "echo '/data/b 127.0.0.1' >> /etc/exports; service mountd onereload")
    assert "zdata/a on /data/a (zfs, local, nfsv4acls)" in lab.sh("f0", "mount")
    assert "zdata/b on /data/b (zfs, NFS exported, local, nfsv4acls)" in lab.sh("f0", "mount")


def test_ps_tells_when_a_process_began(lab: Cluster) -> None:
    lines = lab.sh("f0", "ps -o lstart= -p $$; ps -o lstart= -p $$; ps -o lstart= -p 4000000 || echo none").splitlines()
    assert lines[0] == lines[1] != ""
    assert lines[2] == "none"


def test_mountd_without_the_mount_protocol_exports_all_the_same(lab: Cluster) -> None:
    lab.sh("f0", "echo 'V4: /' > /etc/exports; sysrc mountd_flags='-r -S -R'; service mountd onestart")
    assert "Program not registered" in lab.attempt("f0", "service mountd onestatus && showmount -e").err
    # the real one ends with -h 127.0.0.1 (docs/design.md); the lab plays it without
    ran = lab.attempt("f0", "sysrc mountd_flags='-r -S -h 127.0.0.1'; service mountd onerestart")
    assert "lab: not simulated: mountd with -r -S -h 127.0.0.1" in ran.err


def test_long_names_in_mount_p_are_followed_by_a_blank() -> None:
    dataset = "zdata/sink/f0/zdata/enc/nfsdata"
    line = mounting._fstab_line(Mount(dataset, "/data/nfs", "zfs", "trees/1", read_only=True, options=("nfsv4acls",)))
    assert line.startswith(f"{dataset} /data/nfs\t\tzfs\tro")  # recorded on 15.1
    assert mounting._fstab_line(Mount("zdata", "/data", "zfs", "trees/1")).startswith("zdata\t\t\t/data\t\t\tzfs\trw")
