"""files/rocky/check-nfs-mount.sh under the real bash: each state, what is done about it and what is said."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.files.nfs_client import SCRIPT, SOURCE, Client


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def test_a_healthy_mount_is_left_alone_and_the_probe_is_gone(client: Client) -> None:
    first = client.run()
    assert (first.rc, first.err) == (0, "")
    assert first.out == f"{client.point}: unknown -> healthy\n"
    assert client.actions() == []
    second = client.run()
    assert (second.rc, second.out, second.err) == (0, "", ""), "one line for a change, none for a run"
    assert client.probes() == []
    values = client.metrics()
    assert (values["healthy"], values["readonly"], values["consecutive_failures"], values["heals_total"]) == (
        1,
        0,
        0,
        0,
    )
    assert values["last_check_timestamp_seconds"] >= values["last_change_timestamp_seconds"] > 0
    assert sorted(p.name for p in client.run_dir.iterdir() if p.name.startswith("run.")) == []


def test_lines_for_the_journal_carry_their_priority(client: Client) -> None:
    assert client.run(journal=True).out.startswith(f"<5>{client.point}: ")
    client.set(dd="full")
    assert client.run(journal=True).out.startswith(f"<4>{client.point}: ")


def test_what_a_run_by_hand_found_is_in_the_journal_too(client: Client) -> None:
    """The next run by the timer finds no change any more: the journal's last line would be wrong for ever."""
    first = client.run()
    assert client.journal() == [f"daemon.notice {client.point}: unknown -> healthy"]
    client.set(dd="full")
    shutil.rmtree(client.textfile.parent)
    second = client.run()
    told = client.journal()
    assert told[1].startswith(f"daemon.warning {client.point}: healthy -> unwritable; dd: error writing")
    assert told[2:] == [f"daemon.warning cannot write {client.textfile}"]
    assert "".join(f"{line.partition(' ')[2]}\n" for line in told) == first.out + second.out
    client.run()
    assert len(client.journal()) == 3, "one line for a change, none for a run"


def test_the_real_logger_takes_what_it_is_given(client: Client) -> None:
    real = shutil.which("logger")
    if real is None:
        pytest.skip("needs logger of util-linux")
    # a folder of its own: the address of a socket has 107 characters at most
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(f"{folder}/log")
        journald.settimeout(10)
        client.host.command("logger", f'exec {real} --socket {folder}/log "$@"')
        client.run()
        written = journald.recv(10_000).decode()
    assert written.startswith("<29>"), "daemon.notice (syslog(3))"
    assert written.endswith(f" check-nfs-mount: {client.point}: unknown -> healthy")


def test_what_the_unit_brings_to_the_journal_is_not_there_twice(client: Client) -> None:
    client.run(journal=True)
    assert client.journal() == []


@pytest.mark.parametrize("logger", ["failed", "missing"])
def test_without_logger_the_terminal_alone_has_it(client: Client, logger: str) -> None:
    if logger == "missing":
        (client.host.bin / "logger").unlink()
    else:
        client.host.command("logger", "echo 'logger: socket /dev/log: No such file or directory' >&2; exit 1")
    result = client.run()
    assert (result.rc, result.out, result.err) == (0, f"{client.point}: unknown -> healthy\n", "")


def test_a_stale_mount_is_forced_off_and_mounted_again_in_one_run(client: Client) -> None:
    client.run()
    client.set(stat="stale", dd="readonly")
    healed = client.run()
    assert healed.rc == 0
    assert client.actions() == ["umount -f", "mount"]
    assert "healthy -> readonly; was stale" in healed.out
    assert "did: umount -f, mount" in healed.out
    assert client.record()["heals"] == "1"
    assert client.metrics()["readonly"] == 1
    assert client.metrics()["healthy"] == 1
    assert client.run().out == ""


def test_lazily_when_processes_hold_it(client: Client) -> None:
    client.set(stat="stale", umount="-l")
    assert client.run().rc == 0
    assert client.actions() == ["umount -f", "umount -l", "mount"]


def test_a_repair_that_ends_in_the_state_of_before_is_said_too(client: Client) -> None:
    client.run()
    client.set(stat="stale")
    assert f"{client.point}: healthy again; was stale" in client.run().out


def test_read_only_server_and_back(client: Client) -> None:
    client.set(dd="readonly")
    assert (client.run().rc, client.metrics()["readonly"]) == (0, 1)
    client.set(dd="ok")
    assert "readonly -> healthy" in client.run().out
    assert client.actions() == []


def test_a_replicated_probe_on_a_read_only_server(client: Client) -> None:
    """A snapshot between creation and removal of the probe brings it to the replica, where it cannot be removed."""
    client.host.command(
        "rm", 'case "$*" in *f3s-probe*) echo "rm: Read-only file system" >&2; exit 1;; esac; exec /bin/rm "$@"'
    )
    assert client.run().rc == 0
    assert client.record()["state"] == "readonly"


def test_cannot_write_is_unhealthy_but_not_worth_a_new_mount(client: Client) -> None:
    client.set(dd="full")
    result = client.run()
    assert result.rc == 1
    assert "unwritable; dd: error writing './.f3s-probe': No space left on device" in result.out
    assert client.actions() == []
    assert client.metrics()["healthy"] == 0


def test_a_slow_write_is_not_a_dead_mount(client: Client) -> None:
    client.set(dd="hang")
    assert client.run().rc == 1
    assert client.record()["state"] == "unwritable"
    assert client.actions() == []


def test_a_listing_that_fails_is_unreadable_and_remounted_once_a_minute(client: Client) -> None:
    """Seen: mountd had not exported the data set; names can be looked up, but `ls` gives an I/O error."""
    client.host.command("find", "echo 'find: reading directory: Input/output error' >&2; exit 1")
    assert client.run().rc == 1
    assert client.actions() == ["umount -f", "mount"]
    for _ in range(5):
        assert client.run().out == ""
    assert client.actions() == []
    client.run()
    assert client.actions() == ["umount -f", "mount"]
    assert (client.record()["state"], client.record()["failures"]) == ("unreadable", "7")


def test_mounts_what_is_not_mounted_and_never_probes_the_bare_directory(client: Client) -> None:
    client.table()
    (client.point / "left.txt").write_text("written while nothing was mounted")
    client.set(mount="mount.nfs4: mounting failed, reason given by server: No such file or directory")
    failed = client.run()
    assert failed.rc == 1
    assert "not-mounted" in failed.out
    assert "reason given by server" in failed.out
    assert client.host.calls("dd") == []
    assert client.run().out == ""
    client.set(mount="ok")
    mounted = client.run()
    assert mounted.rc == 0
    assert "not-mounted -> healthy" in mounted.out
    assert "local files lie under the mount point" in mounted.out
    assert "left.txt" in mounted.out


def test_the_mount_that_vanishes_before_the_probe_gets_no_local_file(client: Client) -> None:
    client.set(fstype="xfs")
    assert client.run().rc == 1
    assert client.host.calls("dd") == []
    assert "no NFS mount any more" in client.record()["detail"]


def test_server_away_for_a_while(client: Client) -> None:
    """Nothing is unmounted while no server could take its place; the tunnel is restarted once a minute at most."""
    client.run()
    client.set(stat="hang", call="1")
    client.host.state("call-after-restart", "1\n")
    actions = []
    said = ""
    for minute in range(3):
        for second in (0, 10, 20):
            client.time(minute * 60 + second)
            result = client.run()
            assert result.rc == 1
            said += result.out
            actions += client.actions()
    assert actions == ["systemctl"] * 3
    assert said.count("\n") == 1
    assert "healthy -> hung; no answer in time; 127.0.0.1 port 2323: the server is away" in said
    assert client.metrics()["consecutive_failures"] == 9
    client.set(stat="ok", call="0")
    assert "hung -> healthy" in client.run().out
    assert client.actions() == []


def test_a_mount_gets_the_time_that_the_kernel_may_take_to_connect_again(client: Client) -> None:
    """A hard mount that was away for as long as the server comes back by itself, with all its writes."""
    client.run()
    client.set(stat="hang", call="1")
    client.host.state("call-after-restart", "1\n")
    for second in (0, 20, 40):
        client.time(second)
        client.run()
    client.actions()
    client.set(call="0")
    for second in (50, 60, 90):
        client.time(second)
        assert client.run().rc == 1
    assert "the mount has 10 s more to do so" in client.run("--status").out
    assert client.actions() == []
    client.time(100)
    assert client.run().rc == 0, "50 s away, and 50 s with a server are over"
    assert client.actions() == ["umount -f", "mount"]


def test_the_time_to_connect_again_has_an_end_and_starts_anew_with_each_outage(client: Client) -> None:
    client.settings["RECONNECT_SECONDS"] = 15
    client.run()
    client.set(stat="hang", call="1")
    client.host.state("call-after-restart", "1\n")
    for second, call, actions in (
        (0, "1", ["systemctl"]),
        (100, "0", []),
        (110, "1", ["systemctl"]),
        (120, "0", []),
        (130, "0", []),
        (136, "0", ["umount -f", "mount"]),
    ):
        client.time(second)
        client.set(call=call)
        client.run()
        assert client.actions() == actions, second


def test_a_dead_tunnel_is_restarted_and_the_mount_recovers_without_an_unmount(client: Client) -> None:
    client.set(stat="slow", call="2")
    result = client.run()
    assert result.rc == 0
    assert client.actions() == ["systemctl"]
    assert "did: restarted stunnel.service" in result.out


def test_a_tunnel_that_cannot_be_restarted(client: Client) -> None:
    client.table()
    client.set(call="2", restart="failed")
    result = client.run()
    assert result.rc == 1
    assert "restart of stunnel.service failed: Job for stunnel.service failed" in result.out
    assert client.actions() == ["systemctl"]


def test_what_hangs_is_left_alone_for_as_long_as_a_move_takes(client: Client) -> None:
    """A restart of the tunnel within a move would make its pause longer."""
    client.settings["MOVE_SECONDS"] = 15
    client.set(stat="hang", call="1")
    for second, actions in ((1000, []), (1014, []), (1015, ["systemctl"])):
        client.time(second)
        client.run()
        assert client.actions() == actions, second
    client.set(stat="stale")
    client.run()
    assert client.actions() == ["umount -f", "mount"], "stale is an answer of the server: nothing to wait for"


def test_hung_while_the_server_answers_gets_patience_first(client: Client) -> None:
    client.set(stat="slow")
    assert "did: waited" in client.run().out
    assert client.actions() == []
    client.set(stat="hang")
    assert client.run().rc == 0
    assert client.actions() == ["umount -f", "mount"]


def test_a_foreign_mount_is_reported_and_left_alone(client: Client) -> None:
    client.table(client.line("10.0.0.9:/other"))
    client.set(stat="stale")
    result = client.run()
    assert result.rc == 1
    assert "10.0.0.9:/other is mounted there instead of 127.0.0.1:/k3svolumes; left alone" in result.out
    assert [call[0] for call in client.host.calls()] == ["logger"], "not even looked at"


def test_ours_on_top_of_a_foreign_mount_is_taken_away_once(client: Client) -> None:
    client.table(client.line("10.0.0.9:/other"), client.line())
    client.set(stat="stale")
    assert client.run().rc == 1
    assert client.actions() == ["umount -f"]
    assert client.record()["state"] == "foreign"


def test_stacked_mounts_are_all_taken_away(client: Client) -> None:
    client.table(client.line(), client.line())
    client.set(stat="stale")
    assert client.run().rc == 0
    assert client.actions() == ["umount -f", "umount -l", "mount"]


def test_what_cannot_be_unmounted_is_not_mounted_over(client: Client) -> None:
    client.set(stat="stale", umount="")
    result = client.run()
    assert result.rc == 1
    assert client.actions() == ["umount -f", "umount -l", "umount -f", "umount -l"]
    assert client.record()["state"] == "stale"


def test_a_mount_point_behind_a_symbolic_link_is_refused(client: Client, tmp_path: Path) -> None:
    """The kernel's table would show the real path: each run would stack one more mount."""
    (tmp_path / "link").symlink_to(client.point.parent)
    client.mounts = [(SOURCE, str(tmp_path / "link" / "k3svolumes"))]
    client.table()
    result = client.run()
    assert result.rc == 1
    assert f"leads through a symbolic link, to {client.point.parent}" in result.out
    assert client.actions() == []


def test_several_mounts_with_spaces_in_a_path(client: Client, tmp_path: Path) -> None:
    other = tmp_path / "data" / "with space"
    other.mkdir()
    client.mounts = [(SOURCE, str(client.point)), ("127.0.0.1:/backup", str(other))]
    client.table(client.line(), client.line("127.0.0.1:/backup", str(other)))
    assert client.run().rc == 0
    client.table(client.line())
    client.set(mount="mount.nfs4: access denied")
    assert client.run().rc == 1
    assert client.host.calls("mount") == [["--", str(other)]]
    assert f'healthy{{mountpoint="{other}"}} 0' in client.textfile.read_text()
    assert client.metrics()["healthy"] == 1


def test_a_text_file_that_cannot_be_written_is_said_once_and_changes_nothing_else(client: Client) -> None:
    client.textfile.parent.rmdir()
    first = client.run()
    assert first.rc == 0
    assert "cannot write" in first.out
    assert client.run().out == ""


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\x00\xff\xfe",
        b"state=healthy; rm -rf /\nsince=$(id)\nfailures=-1\nheals=1e9\nstuck=../1\n",
        b"state=\nsince=99999999999999999999\nfailures=08\nheals=a[$(id >&2)]\nescalated=maybe\n",
        b"no line of ours\n" * 100,
    ],
)
def test_damaged_records_start_anew(client: Client, damage: bytes) -> None:
    client.run()
    record = next(client.run_dir.glob("*.state"))
    record.write_bytes(damage)
    (client.run_dir / "tunnel-restarted").write_bytes(damage)
    client.set(stat="stale")
    result = client.run()
    assert (result.rc, result.err) == (0, "")
    assert client.record()["state"] == "healthy"
    assert client.record()["failures"] == "0"
    assert client.record()["since"].isdigit()


def test_status_for_people(client: Client) -> None:
    assert client.run("--status").rc == 3
    client.run()
    client.host.forget()
    healthy = client.run("--status")
    assert (healthy.rc, healthy.err) == (0, "")
    assert healthy.out.startswith(f"{client.point}: healthy since 20")
    client.set(dd="full")
    client.run()
    client.host.forget()
    broken = client.run("--status")
    assert broken.rc == 1
    assert "unwritable since" in broken.out
    assert "No space left on device" in broken.out
    assert client.host.calls() == [], "--status touches no mount"
    client.host.command("date", "echo 4000000000")
    assert client.run("--status").rc == 3


def test_usage_and_settings(client: Client) -> None:
    assert (client.run("--help").rc, "--status" in client.run("--help").out) == (0, True)
    assert client.run("--twice").rc == 2
    assert client.run("--once", "--once").rc == 2
    for point in ("relative", "/data/", "/data//nfs", "/data/../nfs", "/"):
        client.mounts = [(SOURCE, point)]
        refused = client.run()
        assert refused.rc == 2
        assert "is not an absolute path" in refused.err
    client.mounts = []
    assert "names no mount" in client.run().err
    client.mounts = [(SOURCE, str(client.point))]
    client.settings["TUNNEL_PORT"] = "23x"
    assert "TUNNEL_PORT='23x' is not a number" in client.run().err
    assert client.host.calls() == []


def test_a_call_that_cannot_be_run_says_nothing_about_the_tunnel(client: Client) -> None:
    client.table()
    client.host.command("nfs-null-call.sh", "echo 'od: command not found' >&2; exit 127")
    result = client.run()
    assert result.rc == 1
    assert "od: command not found" in result.out
    assert client.actions() == []


@pytest.mark.parametrize(
    ("command", "answer"),
    [("stat", "exit 1"), ("find", "exit 1"), ("stat", "echo 'Resource temporarily unavailable' >&2; exit 125")],
)
def test_a_check_that_could_not_be_made_says_nothing_about_the_mount(client: Client, command: str, answer: str) -> None:
    """No room for its output in /run, no memory, no further process: nothing is repaired for that."""
    client.host.command(command, answer)
    for _ in range(7):
        assert client.run().rc == 1
    assert client.actions() == []
    assert client.record()["state"] == "unclear"
    assert client.metrics()["healthy"] == 0
    assert f"{client.point}: unclear since" in client.run("--status").out


def test_patience_that_ends_unclear_unmounts_nothing(client: Client) -> None:
    client.host.command("stat", '[ ! -e "$STATE/again" ] || exit 1; : >"$STATE/again"; exec sleep 30')
    assert client.run().rc == 1
    assert client.actions() == []
    assert client.record()["state"] == "unclear"


def test_a_table_of_mounts_that_cannot_be_read_is_not_one_without_mounts(client: Client) -> None:
    client.host.state("mounts", "")
    refused = client.run()
    assert (refused.rc, client.actions()) == (2, [])
    assert "cannot read" in refused.err


def test_shellcheck() -> None:
    scripts = [SCRIPT, SCRIPT.with_name("nfs-null-call.sh")]
    done = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert all(os.access(script, os.X_OK) for script in scripts)


@pytest.mark.parametrize(("seconds", "rc"), [(-61, 3), (-60, 0), (0, 0), (120, 0), (121, 3)])
def test_a_check_that_is_too_old_or_of_a_time_to_come_says_nothing(client: Client, seconds: int, rc: int) -> None:
    client.time(0)
    assert client.run().rc == 0
    client.time(seconds)
    status = client.run("--status")
    assert (status.rc, "too old to rely on" in status.out) == (rc, rc == 3)
