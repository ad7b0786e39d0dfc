"""catch-up-replica under a real sh: the snapshot that it makes, what it waits for, and what it says in the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost

DATASET = "zdata/enc/nfsdata"
CURSOR = f"{DATASET}#zrepl_CURSOR_G_1f_J_"
# each sleep is a step of the story: bookmarks.N is what zfs shows in step N
ZFS = """
n=$(cat "$STATE/step")
case $* in
"snapshot "*) ;;
"get -Hp -o value createtxg "*@*) echo 120 ;;
"list -Hp -d 1 -t bookmark -o createtxg,name "*)
	while [ ! -e "$STATE/bookmarks.$n" ]; do n=$((n - 1)); done
	cat "$STATE/bookmarks.$n" ;;
*) exit 9 ;;
esac"""


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    host = StubHost(tmp_path)
    host.state("step", "0")
    host.command("zfs", ZFS)
    host.command("sleep", 'echo $(($(cat "$STATE/step") + 1)) >"$STATE/step"')
    host.command("zrepl", 'echo "connection refused" >&2; exit 1')
    return host


def catch_up(host: StubHost, *bookmarks: str) -> Result:
    """With the bookmarks of each step."""
    for step, text in enumerate(bookmarks):
        host.state(f"bookmarks.{step}", text)
    program = host.install(FILES / "freebsd" / "catch-up-replica.sh", "/usr/local/libexec/f3s/catch-up-replica")
    return host.run(program, "job", DATASET, "zrepl_", "20")


def test_it_makes_a_snapshot_as_zrepl_would_and_waits_for_its_confirmation(host: StubHost) -> None:
    before = f"100\t{CURSOR}job\n"
    assert catch_up(host, before, before, f"120\t{CURSOR}job\n") == Result(0, "", "")
    (snapshot,) = [call for call in host.calls("zfs") if call[0] == "snapshot"]
    assert re.fullmatch(rf"{DATASET}@zrepl_\d{{8}}_\d{{6}}_000", snapshot[1])
    assert ["get", "-Hp", "-o", "value", "createtxg", snapshot[1]] in host.calls("zfs")
    assert host.calls("zrepl") == [["signal", "wakeup", "job"]] * 3
    assert host.calls("sleep") == [["2"]] * 2


@pytest.mark.parametrize(
    "bookmarks",
    ["", f"119\t{CURSOR}job\n", f"120\t{CURSOR}other_job\n120\t{DATASET}#mine_J_job\n"],
    ids=["none", "before", "not ours"],
)
def test_what_proves_nothing(host: StubHost, bookmarks: str) -> None:
    ran = catch_up(host, bookmarks)
    assert ran.rc == 1
    assert re.fullmatch(
        rf"the receiver has not confirmed {DATASET}@zrepl_\w+ within 20 s: connection refused\n", ran.err
    )
    assert host.calls("sleep") == [["2"]] * 10


@pytest.mark.parametrize("what", ["snapshot", "get", "list"])
def test_zfs_fails(host: StubHost, what: str) -> None:
    failing = f'[ "$1" != {what} ] || {{ echo "out of memory" >&2; exit 1; }}\n'
    host.command("zfs", failing + ZFS)
    ran = catch_up(host, f"120\t{CURSOR}job\n")
    assert (ran.rc, ran.err) == (1, "out of memory\n")
