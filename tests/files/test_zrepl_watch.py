"""zrepl-watch: a zrepl that died is started, a replication that stands still is reset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.facts.zrepl_output import SNAPSHOTS_TAKEN
from tests.files.storage import StorageHost

NOW = 1_795_363_200
ALLOWED = 180
JOB = "f0_to_f1_nfsdata"
CONTROL = "/var/run/zrepl/control"
RESTART = ["zrepl stop", "zrepl start"]
SAID = "/var/run/f3s-said-by-zrepl"


class Watched(StorageHost):
    """A primary with a zrepl that runs."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.quick()
        self.program = self.path("/usr/local/libexec/f3s/zrepl-watch")
        self.write(CONTROL, "")
        self.state("zrepl", "yes\n")
        self.state("broken", "")
        self.command(
            "service",
            'case "$*" in "zrepl onestatus") grep -q yes "$STATE/zrepl" ;;\n'
            '"zrepl start") cat "$STATE/broken"; [ ! -s "$STATE/broken" ] || exit 1\n'
            'echo yes >"$STATE/zrepl"; : >"$ROOT/var/run/zrepl/control" ;;\n'
            '"zrepl stop") echo no >"$STATE/zrepl"; rm "$ROOT/var/run/zrepl/control" ;;\n'
            "*) exit 64 ;; esac",
        )
        self.command("zrepl", '[ "$1" = signal ] || cat "$STATE/said"')
        self.command("pkill", "exit 1")
        self.command("date", f'[ "$1" = +%s ] && echo $(({NOW} + $(cat "$STATE/now")))')
        self.state("now", "0\n")
        self.says()

    def says(self, bytes_sent: int = 0, beat: int = 0, waits: str = "", job: str = JOB) -> None:
        """What `zrepl status --mode raw` prints: compact, as Go writes it."""
        push = {
            "Replication": {
                "WaitReconnectError": {"Err": waits} if waits else None,
                "Attempts": [{"State": "fan-out-filesystems", "Filesystems": [{"BytesReplicated": bytes_sent}]}],
            },
            **SNAPSHOTS_TAKEN,
            "beat": beat,
        }
        jobs = {"a": {"push": {"Replication": {"beat": beat}}, "type": "push"}, job: {"push": push, "type": "push"}}
        self.state("said", json.dumps({"Jobs": jobs}, separators=(",", ":")))

    def after(self, seconds: int) -> list[str]:
        """What one run at that second makes zrepl do."""
        self.state("now", f"{seconds}\n")
        self.forget()
        assert self.run(self.program).rc == 0
        asked = [" ".join(words) for words in (*self.calls("service"), *self.calls("zrepl"))]
        return [each for each in asked if each not in ("zrepl onestatus", "status --mode raw")]


@pytest.fixture
def host(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_zrepl_that_died_is_started_and_its_last_words_are_kept(host: Watched) -> None:
    host.state("zrepl", "no\n")
    host.write(SAID, "Starting zrepl.\npanic: end task: 1 active child tasks\n\ngoroutine 1 [running]:\n")
    assert host.after(0) == ["zrepl start"]
    assert host.log() == ["zrepl has died (panic: end task: 1 active child tasks) and is started"]
    assert "goroutine 1" in host.path(SAID).read_text()
    assert host.after(60) == []


def test_one_that_does_not_start_is_told_each_minute(host: Watched) -> None:
    host.state("zrepl", "no\n")
    host.state("broken", "no config\n")
    for _ in range(2):
        host.forget()
        assert host.run(host.program).rc == 1
        assert host.log()[-2:] == ["zrepl has died and is started", "zrepl does not start: no config"]


def test_one_that_was_stopped_stays_stopped(host: Watched) -> None:
    host.state("zrepl", "no\n")
    host.path(CONTROL).unlink()
    assert (host.after(0), host.log()) == ([], [])


def test_a_replication_that_stands_still_is_reset_once_then_zrepl_is_restarted_once(host: Watched) -> None:
    """Another job, and this one's snapshots, go on meanwhile."""
    steps, told = {}, []
    for minute in range(30):
        host.says(beat=minute)
        if did := host.after(60 * minute):
            steps[60 * minute] = did
            told += host.log()
    again = 2 * ALLOWED + 5 * ALLOWED + 60
    assert steps == {
        ALLOWED: [f"signal reset {JOB}"],
        2 * ALLOWED: RESTART,
        again: [f"signal reset {JOB}"],
        again + ALLOWED: RESTART,
    }
    still = f"{JOB}: no progress for {ALLOWED} s"
    assert told[:2] == [f"{still}, zrepl signal reset", f"{still}, zrepl is restarted"]


def test_a_run_that_begins_anew_and_hangs_again_after_the_reset(host: Watched) -> None:
    assert host.after(0) == []
    assert host.after(ALLOWED) == [f"signal reset {JOB}"]
    host.says(bytes_sent=1)
    assert host.after(ALLOWED + 60) == []
    assert host.after(2 * ALLOWED + 60) == RESTART


@pytest.mark.parametrize("says", [{"bytes_sent": 1}, {"waits": "dial tcp: connection refused"}])
def test_what_sends_and_what_waits_for_the_other_host_is_left_alone(host: Watched, says: dict[str, int]) -> None:
    for minute in range(20):
        host.says(**{key: value if key == "waits" else minute for key, value in says.items()})  # type: ignore[arg-type]
        assert host.after(60 * minute) == []


def test_one_that_does_not_start_after_a_restart_is_not_taken_for_stopped(host: Watched) -> None:
    assert (host.after(0), host.after(ALLOWED)) == ([], [f"signal reset {JOB}"])
    host.state("broken", "no config\n")
    assert host.after(2 * ALLOWED) == RESTART
    host.state("broken", "")
    assert host.after(2 * ALLOWED + 60) == ["zrepl start"]
    assert host.after(2 * ALLOWED + 120) == []


def test_one_that_somebody_else_started_after_a_restart_can_be_stopped(host: Watched) -> None:
    assert (host.after(0), host.after(ALLOWED)) == ([], [f"signal reset {JOB}"])
    host.state("broken", "no config\n")
    assert host.after(2 * ALLOWED) == RESTART
    host.state("zrepl", "yes\n")
    host.write(CONTROL, "")
    assert host.after(2 * ALLOWED + 60) == []
    host.state("zrepl", "no\n")
    host.path(CONTROL).unlink()
    assert host.after(2 * ALLOWED + 120) == []


def test_a_daemon_that_does_not_end_is_killed(host: Watched) -> None:
    host.command("pkill", 'echo no >"$STATE/zrepl"')
    host.command("sleep")
    assert (host.after(0), host.after(ALLOWED)) == ([], [f"signal reset {JOB}"])
    host.after(2 * ALLOWED)
    assert (host.calls("pkill"), host.calls("sleep")) == ([["-KILL", "-x", "zrepl"]], [["2"]])


def test_a_daemon_that_does_not_answer_stands_still(host: Watched) -> None:
    host.command("zrepl", "exit 1")
    assert host.after(0) == []
    assert host.after(ALLOWED) == [f"signal reset {JOB}"]
    assert host.after(2 * ALLOWED) == RESTART


def test_a_clock_that_is_set_back_is_no_progress_and_no_reset(host: Watched) -> None:
    assert host.after(1000) == []
    assert host.after(0) == []
    assert host.after(ALLOWED - 60) == []
    assert host.after(ALLOWED) == [f"signal reset {JOB}"]


def test_other_words_are_refused(host: Watched) -> None:
    assert host.run(host.program, "now").rc == 64
