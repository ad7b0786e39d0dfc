"""check-nfs-mount.sh against what hangs: every run ends in time, alone, and leaves nothing locked."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.nfs_client import SCRIPT, Client

FAKETIME = shutil.which("faketime")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    client = Client(tmp_path)
    client.settings |= {"MOUNT_SECONDS": 1, "UMOUNT_SECONDS": 1, "CALL_SECONDS": 1, "SERVICE_SECONDS": 1}
    return client


def timed(client: Client) -> tuple[int, float]:
    begin = time.monotonic()
    rc = client.run().rc
    return rc, time.monotonic() - begin


def wait_for(client: Client, command: str) -> None:
    deadline = time.monotonic() + 10
    while not client.host.calls(command):
        assert time.monotonic() < deadline, f"{command} was not called"
        time.sleep(0.02)


def test_a_healthy_run_is_quick(client: Client) -> None:
    rc, seconds = timed(client)
    assert rc == 0
    assert seconds < 3


@pytest.mark.parametrize(
    ("answers", "state", "limit", "says"),
    [
        ({"stat": "hang", "call": "1", "restart": "failed"}, "hung", 4, "no answer in time; "),
        ({"dd": "hang"}, "unwritable", 4, "a write did not end within 1 s"),
        ({"stat": "stale", "mount": "hang"}, "not-mounted", 5, "mount failed: no answer within 1 s"),
        ({"stat": "stale", "umount": "hang"}, "stale", 9, "; cannot be unmounted: no answer within 1 s"),
    ],
)
def test_what_hangs_is_ended_and_told(
    client: Client, answers: dict[str, str], state: str, limit: float, says: str
) -> None:
    client.set(**answers)
    rc, seconds = timed(client)
    assert (rc, client.record()["state"]) == (1, state)
    assert says in client.record()["detail"]
    assert 1 <= seconds < limit + 3, "bounds of 1 s each, and some for a busy machine"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("nfs-null-call.sh", "the server did not answer through 127.0.0.1 port 2323"),
        ("systemctl", "restart of stunnel.service failed: no answer within 1 s"),
    ],
)
def test_a_hanging_tunnel_check_or_restart_is_ended_and_told(client: Client, command: str, says: str) -> None:
    client.table()
    client.set(call="2", restart="ok")
    client.host.command(command, "exec sleep 30")
    rc, seconds = timed(client)
    assert rc == 1
    assert seconds < 7
    assert client.actions() in ([], ["systemctl"])
    assert says in client.record()["detail"]


def test_a_mount_point_that_cannot_be_looked_at_in_time(client: Client) -> None:
    client.table()
    client.host.command("readlink", "exec sleep 30")
    assert timed(client)[0] == 1
    assert "the way to the mount point could not be looked at: no answer within 1 s" in client.record()["detail"]


def test_a_hanging_escalation_is_ended_and_told(client: Client) -> None:
    hook = client.host.bin / "hook"
    client.host.command("hook", "exec sleep 30")
    client.settings |= {"ESCALATE_AFTER": 1, "ESCALATE_COMMAND": str(hook), "ESCALATE_SECONDS": 1}
    client.set(dd="full")
    rc, seconds = timed(client)
    assert rc == 1
    assert seconds < 5
    assert f"daemon.err {client.point}: {hook} failed did not succeed: no answer within 1 s" in client.journal()


@pytest.mark.parametrize("killable", [True, False])
def test_a_journal_that_takes_nothing_stops_no_repair(client: Client, killable: bool) -> None:
    client.settings["LOG_SECONDS"] = 1
    client.set(stat="stale", logger="hang")
    with contextlib.nullcontext() if killable else unkillable(client, "logger"):
        rc, seconds = timed(client)
    assert (rc, client.record()["state"], client.actions()) == (0, "healthy", ["umount -f", "mount"])
    assert 1 <= seconds < 7


def test_a_process_that_cannot_be_killed_is_given_up_and_not_added_to(client: Client) -> None:
    """Uninterruptible sleep: timeout(1) sends its signals and waits. The next run does not hang one more process."""
    client.set(stat="hang", call="1")
    client.host.state("call-after-restart", "1")
    # only stat gets the timeout that cannot kill: the rest must work
    client.host.command(
        "timeout",
        'case "$4" in stat) shift 3; "$@" & echo $! >"$STATE/stuck"; wait ;; *) exec /usr/bin/timeout "$@" ;; esac',
        record=False,
    )
    begin = time.monotonic()
    try:
        first = client.run()
        assert (first.rc, client.record()["state"]) == (1, "hung")
        assert time.monotonic() - begin < 8
        stuck = int(client.host.state("stuck"))
        os.kill(stuck, 0)
        assert client.record()["stuck"].startswith(f"{stuck}:")
        client.host.forget()
        assert client.run().rc == 1, "the lock is free although the child lives"
        assert client.host.calls("stat") == []
        assert f"process {stuck} of an earlier check still hangs" in client.run("--status").out
    finally:
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(client.host.state("stuck")), signal.SIGKILL)
    client.set(stat="ok", call="0")
    assert client.run().rc == 0
    assert client.record()["stuck"] == ""


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
@pytest.mark.parametrize("step", [-7200, 7200])
@pytest.mark.parametrize("killable", [True, False])
def test_a_clock_that_is_set_during_a_check_changes_no_bound(client: Client, killable: bool, step: int) -> None:
    clock = client.host.root / "clock"
    clock.write_text("+0\n")
    client.set(stat="hang", call="1")
    client.host.state("call-after-restart", "1")
    set_clock = f'echo {step:+d} >"{clock}"\n'
    client.host.command("stat", set_clock + "exec sleep 30")
    client.configure()
    environment = {
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    begin = time.monotonic()
    with contextlib.nullcontext() if killable else unkillable(client, "stat"):
        process = subprocess.Popen(
            # the program faketime sets the variable FAKETIME, which would win over the file
            [str(FAKETIME), "-f", "+0", "env", "-u", "FAKETIME", "/bin/bash", str(SCRIPT), "--once"],
            env=client.environment(journal=False) | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # not until faketime ends: it waits for what cannot be killed, too
        while not client.textfile.exists():
            assert time.monotonic() - begin < 12
            time.sleep(0.05)
        assert time.monotonic() - begin >= 1
    assert (process.wait(timeout=5), client.record()["state"]) == (1, "hung")


def test_a_run_does_not_see_that_the_deploy_replaces_the_script(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    monkeypatch.setattr("tests.files.nfs_client.SCRIPT", script)
    client.set(dd="hang")
    process = client.start("--once")
    wait_for(client, "dd")
    # in place, as cp does it
    script.write_text("exit 7\n" * 10000)
    assert (process.wait(timeout=20), client.record()["state"]) == (1, "unwritable")
    assert process.communicate()[1] == ""


@contextlib.contextmanager
def unkillable(client: Client, pattern: str) -> Iterator[None]:
    """The next command of that pattern cannot be killed by timeout(1), and lives until the end of the test."""
    client.host.command(
        "timeout",
        f'case "$4" in {pattern}) [ -e "$STATE/stuck" ] || {{ shift 3; "$@" & echo $! >"$STATE/stuck"; wait; }}; esac\n'
        'exec /usr/bin/timeout "$@"',
        record=False,
    )
    try:
        yield
        os.kill(int(client.host.state("stuck")), 0)
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int(client.host.state("stuck")), signal.SIGKILL)


def test_a_probe_that_cannot_be_killed_costs_the_server_that_answers_one_mount(client: Client) -> None:
    client.set(stat="hang")
    with unkillable(client, "stat"):
        assert client.run().rc == 0
        assert client.actions() == ["umount -f", "mount"]
        for _ in range(3):
            assert client.run().rc == 0
            assert client.actions() == []
        assert client.record()["stuck"] == ""


def test_a_mount_that_somebody_renewed_is_looked_at_and_left_alone(client: Client) -> None:
    client.set(stat="hang", call="1")
    client.host.state("call-after-restart", "1")
    with unkillable(client, "stat"):
        assert client.run().rc == 1
        assert client.record()["stuck"].startswith(f"{client.host.state('stuck').strip()}:")
        client.host.forget()
        client.table(client.line().replace("100 ", "101 ", 1))
        client.set(stat="ok", call="0")
        assert client.run().rc == 0
        assert client.actions() == []


def test_a_mount_that_cannot_be_killed_is_told_with_its_limit(client: Client) -> None:
    client.set(stat="stale", mount="hang")
    with unkillable(client, "mount"):
        said = client.run().out
    assert "mount failed: no answer within 1 s" in said


def test_an_escalation_that_cannot_be_killed_says_nothing_about_the_mount(client: Client) -> None:
    client.host.command("hook", "exec sleep 30")
    client.settings |= {"ESCALATE_AFTER": 1, "ESCALATE_COMMAND": str(client.host.bin / "hook"), "ESCALATE_SECONDS": 1}
    client.set(dd="full")
    with unkillable(client, "*/hook"):
        assert client.run().rc == 1
        client.set(dd="ok")
        for _ in range(2):
            assert client.run().rc == 0
            assert client.actions() == []
            assert client.record()["state"] == "healthy"


def with_small_run(client: Client, program: str) -> str:
    """What a shell program prints, in a mount namespace where the folder in /run has 64 KiB; $MONITOR is the script."""
    client.configure()
    client.run_dir.mkdir()
    client.host.command("monitor", f'/bin/bash "{SCRIPT}" --once 2>&1; echo "status $?"', record=False)
    alone = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    small = f'{shutil.which("mount")} -t tmpfs -o size=64k tmpfs "$RUNTIME_DIRECTORY"; cd "$RUNTIME_DIRECTORY"'
    done = subprocess.run(
        [str(shutil.which("unshare")), *alone, "/bin/sh", "-ec", f"{small}; {program}"],
        env=client.environment(journal=False),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_with_a_full_run_no_mount_is_judged(client: Client) -> None:
    """A tmpfs without a free block still makes folders and empty files."""
    said = with_small_run(client, "monitor; cat /dev/zero >fill 2>&1 || :; monitor; monitor; rm fill; monitor")
    full = f"check-nfs-mount.sh: cannot write in {client.run_dir} (is it full?), so no mount was looked at"
    assert [line for line in said.splitlines() if "No space" not in line] == [
        *(f"{client.point}: unknown -> healthy", "status 0"),
        *(full, "status 2") * 2,
        "status 0",
    ]
    assert client.actions() == []


def test_why_no_mount_was_looked_at_is_in_the_journal(client: Client) -> None:
    """The unit keeps lines without a priority out (LogLevelMax=notice): they are info."""
    client.settings["STAT_SECONDS"] = "soon"
    told = client.run(journal=True)
    assert (told.rc, told.err) == (2, f"<3>check-nfs-mount.sh: {client.conf}: STAT_SECONDS='soon' is not a number\n")


def test_a_run_that_fills_up_in_the_middle_unmounts_nothing(client: Client) -> None:
    client.host.command("date", 'cat /dev/zero >"$RUNTIME_DIRECTORY/fill" 2>/dev/null; echo 2000000000', record=False)
    said = with_small_run(client, "monitor")
    assert "unknown -> unclear; a check failed with status 1: it said nothing" in said
    assert said.endswith("status 1\n")
    assert client.actions() == []


def test_two_at_once(client: Client) -> None:
    client.set(dd="hang")
    client.settings["WRITE_SECONDS"] = 3
    first = client.start("--once")
    wait_for(client, "dd")
    second = client.run()
    assert second.rc == 75
    assert "another instance is running" in second.err
    assert client.run("--status").rc == 3, "--status waits for nobody"
    assert client.run(journal=True).err == "", "the timer meets a run by hand: no line for that"
    assert first.wait(timeout=20) == 1
    assert len(client.host.calls("dd")) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_frees_the_lock(client: Client, number: signal.Signals) -> None:
    """A child that outlives the script must not keep the lock; what the run left is cleared away."""
    client.settings["STAT_SECONDS"] = 20
    client.set(stat="hang")
    first = client.start("--once")
    wait_for(client, "stat")
    begin = time.monotonic()
    first.send_signal(number)
    assert first.wait(timeout=5) in (-number, 128 + number)
    client.set(stat="ok")
    client.settings["STAT_SECONDS"] = 2
    assert client.run().rc == 0
    assert time.monotonic() - begin < 8
    assert [p.name for p in client.run_dir.iterdir() if p.name.startswith("run.")] == []


def test_killed_at_any_point_the_next_run_reaches_healthy(client: Client) -> None:
    client.set(stat="stale")
    for delay in (0.02, 0.1, 0.2, 0.3, 0.4):
        process = client.start("--once")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=delay)
        process.kill()
        process.wait()
        client.set(stat="stale")
    assert client.run().rc == 0
    assert client.record()["state"] == "healthy"
    assert client.host.state("mounts").count(str(client.point)) == 1
