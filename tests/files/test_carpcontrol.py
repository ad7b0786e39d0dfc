"""carpcontrol.sh: devd's hook wakes the controller for its own vhid, and does not wait."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from f3s.controller import FAILBACK_LOG
from tests.files.storage import StorageHost
from tests.files.stubs import FILES, render


@pytest.fixture
def host(tmp_path: Path) -> StorageHost:
    return StorageHost(tmp_path)


@pytest.mark.parametrize("state", ["MASTER", "BACKUP", "INIT"])
def test_an_event_of_our_vhid_wakes_the_controller(host: StorageHost, state: str) -> None:
    assert host.run(host.hook, "1@re0", state).rc == 0
    assert host.calls("daemon") == [["-cf", f"{host.bin}/service", "f3s_storage", "quietreconcile"]]
    assert host.log() == [f"event: 1@re0 {state}"]
    assert {call[0] for call in host.calls()} == {"logger", "daemon"}, "it asks nothing that could hang"


@pytest.mark.parametrize("subsystem", ["2@re0", "1@re1", "11@re0", "1@re00", "", "*"])
def test_other_events_are_ignored(host: StorageHost, subsystem: str) -> None:
    assert host.run(host.hook, subsystem, "MASTER").rc == 0
    assert host.calls("daemon") == []
    assert host.log() == []


@pytest.mark.parametrize("arguments", [(), ("1@re0",), ("1@re0", "MASTER", "x")])
def test_usage(host: StorageHost, arguments: tuple[str, ...]) -> None:
    result = host.run(host.hook, *arguments)
    assert (result.rc, result.err) == (64, "usage: carpcontrol.sh VHID@INTERFACE STATE\n")


@pytest.mark.parametrize(
    ("interface", "matches", "differs"),
    [("re0", "1@re0", "11@re0"), ("re0", "1@re0", "1@re01"), ("igb0.10", "1@igb0.10", "1@igb0x10")],
)
def test_devd_calls_it_for_one_vhid(interface: str, matches: str, differs: str) -> None:
    """devd anchors the expression of match (match::match in devd.cc)."""
    rule = render("devd-carp.conf.j2", vhid=1, interface=interface)
    pattern = re.search(r'match "subsystem"\s+"(.*)";', rule)
    assert pattern is not None
    assert re.fullmatch(pattern[1], matches)
    assert not re.fullmatch(pattern[1], differs)
    assert 'action "/usr/local/bin/carpcontrol.sh $subsystem $type";' in rule


@pytest.mark.parametrize("verb", ["start", "stop", "status", "reconcile"])
def test_the_rc_script_runs_the_controller(host: StorageHost, verb: str) -> None:
    script = host.rc_script("f3s_storage")
    assert host.run(script, verb).out == "set f3s_storage_enable\n"
    script.write_text(script.read_text().replace(":=NO", ":=YES"))
    host.write("/usr/local/libexec/f3s/storage-control", '#!/bin/sh\necho "control $*"\n', 0o755)
    assert host.run(script, verb).out == f"control {verb}\n"


def test_the_rc_script_comes_after_the_services_and_stops_at_shutdown() -> None:
    """Seen: with these words it starts after all serving services, and its stop runs while the host is MASTER."""
    lines = (FILES / "freebsd" / "f3s_storage").read_text().splitlines()
    assert "# PROVIDE: f3s_storage" in lines
    assert "# REQUIRE: LOGIN cron nfsd" in lines
    assert "# KEYWORD: shutdown" in lines


def test_newsyslog_rotates_the_failback_log() -> None:
    """Fields of newsyslog.conf(5): name, owner, mode, count, size, when, flags."""
    entries = [
        line.split()
        for line in (FILES / "freebsd" / "newsyslog-f3s.conf").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert entries == [[FAILBACK_LOG, "root:wheel", "644", "14", "*", "@T00", "JC"]]
    assert f"LOG={FAILBACK_LOG}\n" in (FILES / "freebsd" / "carp-auto-failback.sh").read_text()
