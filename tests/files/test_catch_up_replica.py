"""catch-up-replica.sh under a real sh: what it waits for, when it wakes the job, and what it says in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost

CURSOR = "zdata/enc/nfsdata#zrepl_CURSOR_G_1f_J_"
# each sleep is a step of the story: snapshots.N and bookmarks.N are what zfs shows in step N
ZFS = """
n=$(cat "$STATE/step")
case $* in
*snapshot*) what=snapshots ;;
*bookmark*) what=bookmarks ;;
*) exit 9 ;;
esac
while [ ! -e "$STATE/$what.$n" ]; do n=$((n - 1)); done
cat "$STATE/$what.$n\""""


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    host = StubHost(tmp_path)
    host.state("step", "0")
    host.command("zfs", ZFS)
    host.command("sleep", 'echo $(($(cat "$STATE/step") + 1)) >"$STATE/step"')
    host.command("zrepl", 'echo "connection refused" >&2; exit 1')
    return host


def steps(host: StubHost, snapshots: dict[int, str], bookmarks: dict[int, str]) -> None:
    for what, found in (("snapshots", snapshots), ("bookmarks", bookmarks)):
        for step, text in found.items():
            host.state(f"{what}.{step}", text)


def catch_up(host: StubHost, seconds: str = "20") -> Result:
    program = host.install(FILES / "once" / "catch-up-replica.sh", "/catch-up-replica.sh")
    return host.run(program, "job", "zdata/enc/nfsdata", seconds)


def test_it_waits_for_the_next_snapshot_and_its_confirmation(host: StubHost) -> None:
    steps(host, {0: "90\n100\n", 2: "90\n100\n120\n"}, {0: f"100\t{CURSOR}job\n", 4: f"120\t{CURSOR}job\n"})
    assert catch_up(host) == Result(0, "", "")
    assert host.calls("sleep") == [["2"]] * 4
    assert host.calls("zrepl") == [["signal", "wakeup", "job"]] * 2


def test_what_was_confirmed_before_is_not_enough(host: StubHost) -> None:
    steps(host, {0: "100\n"}, {0: f"100\t{CURSOR}job\n"})
    ran = catch_up(host)
    assert (ran.rc, ran.err) == (1, "job has made no snapshot of zdata/enc/nfsdata within 20 s\n")
    assert host.calls("sleep") == [["2"]] * 10
    assert host.calls("zrepl") == []


def test_the_cursor_of_another_job_is_not_ours(host: StubHost) -> None:
    steps(host, {0: "100\n", 1: "120\n"}, {0: "", 2: f"120\t{CURSOR}other_job\n120\tzdata/enc/nfsdata#mine_J_job\n"})
    ran = catch_up(host)
    assert ran.rc == 1
    assert "has not confirmed the newest snapshot" in ran.err
    assert "connection refused" in ran.err


def test_a_dataset_without_snapshots(host: StubHost) -> None:
    steps(host, {0: "", 1: "5\n"}, {0: "", 1: f"5\t{CURSOR}job\n"})
    assert catch_up(host).rc == 0


@pytest.mark.parametrize("what", ["snapshot", "bookmark"])
def test_zfs_fails(host: StubHost, what: str) -> None:
    """Without the snapshots every old bookmark would look like a confirmation."""
    said = f"5\\t{CURSOR}job\\n" if what == "snapshot" else "5\\n"
    host.command(
        "zfs", f"""case "$*" in *" {what} "*) echo "out of memory" >&2; exit 1 ;; *) printf '{said}' ;; esac"""
    )
    ran = catch_up(host)
    assert ran.rc == 1
    assert ran.err == "out of memory\n"
