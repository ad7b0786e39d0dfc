"""python3 of a client: scripts that measure, on the virtual clock and against mounts in trouble."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.core import Store
from lab.linux import python
from lab.stage import LabStage
from scenarios.stage import Report, cast
from tests.f3s.settings_data import build, good
from tests.lab.cluster import Cluster

pytestmark = pytest.mark.lab
SHARE = "/data/nfs/k3svolumes"


def script(cluster: Cluster, text: str) -> str:
    """A name, for the client, of a file with that program."""
    (cluster.store.root("r0.lan.buetow.org") / "root/script.py").write_text(text)
    return "python3 /root/script.py"


@pytest.fixture
def stage(site: Cluster) -> Iterator[LabStage]:
    """Nobody mends the client's mount."""
    site.sh("r0", "systemctl stop nfs-mount-monitor.timer")
    one = LabStage(Store(site.state), cast(build(good())))
    yield one
    one.close()


def felt(stage: LabStage) -> Report:
    """What the probe says, without a look at the server."""
    python.terminate(stage.store, "r0")
    stage._until_there("r0", "report.json")
    return Report.parse(stage._file("r0", "report.json").read_text())


def test_threads_sleep_side_by_side_in_virtual_time(site: Cluster) -> None:
    program = """
import threading, time
begin = time.monotonic()
done = []
def nap(seconds):
    time.sleep(seconds)
    done.append(round(time.monotonic() - begin, 3))
threads = [threading.Thread(target=nap, args=(seconds,)) for seconds in (90, 30, 60)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*done)
"""
    before = site.hosts.now
    assert site.sh("r0", script(site, program)) == "30.0 60.0 90.0\n"
    assert site.hosts.now >= before + 90


def test_a_sleeper_does_not_get_other_hosts_mounts(site: Cluster) -> None:
    # what is due on the storage hosts meanwhile happens in the process that sleeps
    mounts = "cut -d ' ' -f 5 /.lab/proc/self/mountinfo | grep ^/data"
    assert site.sh("r0", f"{mounts}; sleep 130; {mounts}") == f"{SHARE}\n" * 4, (
        "the immutable folder, and the mount on it"
    )


def test_exit_status_and_arguments(site: Cluster) -> None:
    assert site.sh("r0", f"{script(site, 'import sys; print(sys.argv[1:]); sys.exit(3)')} a b || echo $?") == (
        "['a', 'b']\n3\n"
    )


def test_timeout_ends_a_call_that_hangs(site: Cluster) -> None:
    line = script(site, f"import os; os.stat('{SHARE}')")
    assert site.attempt("r0", line).rc == 0
    site.sh("r0", "systemctl stop nfs-mount-monitor.timer; systemctl stop stunnel")
    assert site.attempt("r0", f"timeout 5 {line}").rc == 124


def test_calls_wait_for_a_server_and_go_on(stage: LabStage) -> None:
    stage.start_probe("r0")
    stage.wait(5)
    assert stage.run("r0", "systemctl stop stunnel").rc == 0
    stage.wait(20)
    assert stage.run("r0", "systemctl start stunnel").rc == 0
    stage.wait(5)
    report = stage.stop_probe("r0")
    assert report.errors == {}
    assert all(20 <= pause <= 24 for pause in report.pauses.values()), report.pauses
    assert report.lost == 0


def test_what_hangs_at_the_end_is_named(stage: LabStage) -> None:
    stage.start_probe("r0")
    stage.wait(5)
    stage.run("r0", "systemctl stop stunnel")
    stage.wait(20)
    report = felt(stage)
    assert set(report.hanging) == {"stat", "list", "open", "read", "write"}
    assert report.pause >= 20


def test_a_hanging_call_ends_when_the_mount_is_taken_away_by_force(stage: LabStage) -> None:
    stage.start_probe("r0")
    stage.wait(5)
    stage.run("r0", f"systemctl stop stunnel; sleep 10; umount -f {SHARE}")
    stage.wait(5)
    report = felt(stage)
    assert [report.errors[name].get("EIO") for name in ("stat", "list", "open", "write")] == [1] * 4, report
    # what a reader finds from then on is the bare mount point
    assert report.errors["stat"]["ENOENT"] > 0
    assert report.errors["list"]["INCOMPLETE"] > 0


def test_a_server_with_another_fsid_is_a_stale_handle_by_path_and_by_descriptor(stage: LabStage, site: Cluster) -> None:
    passed = "umount /export/nfs && mount -t nullfs /data/nfs /export/nfs && service f3s_storage reconcile"
    assert stage.run("f1", passed).rc == 0
    stage.start_probe("r0")
    stage.wait(70)
    assert stage.run("f0", "carp backup").rc == 0
    stage.wait(20)
    assert stage.run("r0", f"umount -f {SHARE} && mount {SHARE}").rc == 0
    stage.wait(5)
    report = felt(stage)
    for name in ("stat", "list", "open", "write"):
        assert report.errors[name]["ESTALE"] > 5
    # mounted anew: paths are good again, the replica takes nothing, the old descriptor is of another server
    assert report.errors["write"]["EROFS"] > 0
    assert report.errors["read"]["ESTALE"] > report.errors["stat"]["ESTALE"]
    assert report.pauses["stat"] < report.pauses["read"]
