"""check-nfs-mount.sh and the command of the site: told of a failure, and always of its end, whatever comes between."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.files.nfs_client import Client

HOOK = r"""
answer=$(cat "$STATE/hook")
[ "$answer" = hang ] && exec sleep 30
[ "$answer" = 0 ] || echo "no cluster"
exit "$answer"
"""


@pytest.fixture
def client(tmp_path: Path) -> Client:
    client = Client(tmp_path)
    client.host.command("hook", HOOK)
    client.set(hook="0")
    client.settings |= {"ESCALATE_AFTER": 2, "ESCALATE_COMMAND": str(client.host.bin / "hook")}
    client.time(0)
    return client


def events(client: Client) -> list[str]:
    """What the hook was told, oldest first."""
    return [call[0] for call in client.host.calls("hook")]


def fail(client: Client, runs: int = 2) -> str:
    client.set(dd="full")
    return "".join(client.run().out for _ in range(runs))


def recover(client: Client, runs: int = 1) -> str:
    client.set(dd="ok")
    return "".join(client.run().out for _ in range(runs))


def reboot(client: Client) -> None:
    """/run is empty then, /var is not; something mounts what is in /etc/fstab."""
    shutil.rmtree(client.run_dir)


def test_told_once_and_of_the_recovery(client: Client) -> None:
    fail(client, 1)
    assert client.host.calls("hook") == []
    said = fail(client, 3)
    assert client.host.calls("hook") == [["failed", str(client.point), "unwritable", "2"]]
    assert said.count("failed, ran") == 1
    assert f"daemon.warning {client.point}: failed, ran {client.host.bin}/hook" in client.journal()
    status = client.run("--status").out
    assert f"    escalated: {client.host.bin}/hook is told when this is over" in status
    recover(client, 2)
    assert client.host.calls("hook")[1:] == [["recovered", str(client.point), "healthy", "0"]]
    assert list(client.escalated.iterdir()) == []
    assert "escalated" not in client.run("--status").out


def test_what_fails_is_tried_again_every_minute_and_said_once(client: Client) -> None:
    client.set(hook="1")
    outputs = [fail(client)]
    for second in (10, 59, 60, 119, 120):
        client.time(second)
        outputs.append(fail(client, 1))
    assert [output.count("no cluster") for output in outputs] == [1, 0, 0, 0, 0, 0]
    assert events(client) == ["failed"] * 3
    client.set(hook="0")
    client.time(180)
    assert "failed, ran" in fail(client, 1)


def test_a_recovery_that_cannot_be_told_is_told_later(client: Client) -> None:
    """The cluster may be as broken as the mount was, and a node that stays cordoned is lost."""
    fail(client)
    client.set(hook="1")
    assert recover(client, 3).count("hook recovered did not succeed: no cluster") == 1
    hook = client.host.bin / "hook"
    assert client.journal()[-1] == f"daemon.err {client.point}: {hook} recovered did not succeed: no cluster"
    assert events(client) == ["failed", "recovered"]
    client.time(60)
    client.set(hook="0")
    recover(client, 3)
    assert events(client) == ["failed", "recovered", "recovered"]


@pytest.mark.parametrize("after", ["healthy", "failing for a while", "for long"])
def test_told_of_a_recovery_that_comes_after_a_reboot(client: Client, after: str) -> None:
    fail(client)
    reboot(client)
    if after != "healthy":
        fail(client, 1 if after == "failing for a while" else 5)
    recover(client, 3)
    again = ["failed"] if after == "for long" else []
    assert events(client) == ["failed", *again, "recovered"]


def test_a_reboot_while_the_command_runs(client: Client) -> None:
    client.set(hook="hang")
    fail(client, 1)
    run = client.start("--once")
    deadline = time.monotonic() + 10
    while not client.host.calls("hook"):
        assert time.monotonic() < deadline, "the hook was not called"
        time.sleep(0.02)
    run.kill()
    run.communicate()
    reboot(client)
    client.set(hook="0")
    recover(client, 3)
    assert events(client) == ["failed", "recovered"]


@pytest.mark.parametrize("command", [True, False])
def test_a_site_that_wants_no_escalation_any_more_has_the_last_one_ended(client: Client, command: bool) -> None:
    fail(client)
    client.settings["ESCALATE_AFTER"] = 0
    if not command:
        client.settings["ESCALATE_COMMAND"] = ""
    fail(client)
    assert events(client) == ["failed"]
    recover(client, 2)
    assert events(client) == ["failed", "recovered"]


def test_the_recovery_is_told_to_the_one_that_was_told_of_the_failure(client: Client) -> None:
    fail(client)
    client.host.command("hook2", HOOK)
    client.settings["ESCALATE_COMMAND"] = str(client.host.bin / "hook2")
    fail(client)
    assert f"    escalated: {client.host.bin}/hook is told when this is over" in client.run("--status").out
    recover(client, 2)
    assert events(client) == ["failed", "recovered"]
    assert client.host.calls("hook2") == []
    fail(client)
    recover(client)
    assert events(client) == ["failed", "recovered"]
    assert [call[0] for call in client.host.calls("hook2")] == ["failed", "recovered"]


def test_without_a_mark_nothing_is_told(client: Client) -> None:
    """A full or read-only /var: what "failed" does could not be undone."""
    client.escalated.parent.write_text("")
    assert "hook failed did not succeed: " in fail(client, 3)
    recover(client)
    assert client.host.calls("hook") == []
    assert client.record()["escalated"] == "no"


@pytest.mark.parametrize("left", ["", "\n", "/usr/loc"])
def test_a_damaged_mark_is_still_a_mark(client: Client, left: str) -> None:
    fail(client)
    [mark] = client.escalated.iterdir()
    mark.write_text(left)  # as a power cut leaves it
    reboot(client)
    recover(client)
    assert events(client) == ["failed", "recovered"]


def test_a_missing_command_stops_no_repair(client: Client) -> None:
    client.settings |= {"ESCALATE_AFTER": 1, "ESCALATE_COMMAND": "/nowhere/hook"}
    assert "/nowhere/hook failed did not succeed" in fail(client, 1)
    client.set(stat="stale")
    client.run()
    assert client.actions() == ["umount -f", "mount"]
