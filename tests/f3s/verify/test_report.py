"""The table as text and JSON, and the picture."""

from __future__ import annotations

import json
from dataclasses import replace

from f3s.carp import CarpState
from f3s.verify.model import Row, State
from f3s.verify.picture import picture, worst
from f3s.verify.report import all_right, as_json, rows, summary, table
from tests.f3s.verify.world import F0, F1, F2, NOW, R0, carp, changed, right_cluster

ROWS = (
    Row("pools", "f0", State.RIGHT, "zdata ONLINE"),
    Row("stick", "f1", State.WRONG, "word " * 30, "doas service f3skeys onestart"),
    Row("TLS", "r0", State.UNKNOWN, "not asked", "ask again"),
)


def test_the_table() -> None:
    lines = table(ROWS).splitlines()
    assert lines[0].split() == ["CHECK", "HOST", "STATE", "REASON"]
    assert lines[1] == "pools  f0    ok       zdata ONLINE"
    assert lines[2].startswith("stick  f1    WRONG    word word")
    assert lines[3].startswith(" " * 22 + "word")
    assert " " * 22 + "-> doas service f3skeys onestart" in lines
    assert lines[-1] == "1 right, 1 wrong, 1 unknown" == summary(ROWS)


def test_only_right_is_right() -> None:
    assert [all_right([row]) for row in ROWS] == [True, False, False]
    states = [worst(given) for given in (ROWS, [ROWS[0], ROWS[2]], [ROWS[0]], [])]
    assert states == [State.WRONG, State.UNKNOWN, State.RIGHT, State.UNKNOWN]


def test_json() -> None:
    found = json.loads(as_json(ROWS, NOW))
    assert (found["at"], found["right"]) == ("2026-03-01T12:00:00+00:00", False)
    row = {"check": "pools", "host": "f0", "state": "right", "reason": "zdata ONLINE", "next_step": ""}
    assert found["rows"][0] == row


def test_the_picture_shows_who_is_master_and_the_lag() -> None:
    cluster = right_cluster()
    drawn = picture(cluster, rows(cluster))
    assert [box.badge for box in drawn.hosts] == ["MASTER", "BACKUP", ""]
    assert {box.state for box in drawn.boxes} == {State.RIGHT}
    behind = [f"{name}: 20 s behind" for name in ("zdata/enc/nfsdata", "zroot/bhyve/fedora")]
    assert [link.label for link in drawn.links if link.arrow] == behind
    assert len([link for link in drawn.links if link.strong]) == 1
    assert [line.text for line in drawn.clients[0].lines] == ["/data/nfs/k3svolumes writable", "certificate 500 days"]
    assert drawn.vip.lines[0].text == "TLS on port 2323, certificate 500 days"
    assert "stick with 6 of 6 keys" in [line.text for line in drawn.hosts[0].lines]
    for box in drawn.boxes:
        assert 0 <= box.x <= drawn.width - box.width
        assert 0 <= box.y <= drawn.height - box.height


def test_a_picture_of_what_is_wrong() -> None:
    cluster = changed(right_cluster(), F1, carp=carp(CarpState.MASTER), stick=None)
    cluster = changed(cluster, R0, linux_mounts=(), tls=None)
    views = {name: view for name, view in cluster.hosts.items() if name != F2}
    cluster = replace(cluster, hosts=views, absent={F2: "no connection"})
    drawn = picture(cluster, rows(cluster))
    assert len([link for link in drawn.links if link.strong]) == 2
    assert [box.state for box in drawn.hosts] == [State.RIGHT, State.WRONG, State.WRONG]
    assert drawn.hosts[2].lines[0].text == "no connection"
    assert drawn.clients[0].state is State.WRONG
    assert drawn.vip.state is State.WRONG


def test_a_picture_of_nothing() -> None:
    cluster = replace(right_cluster(), hosts={}, absent={F0: "no connection"}, findings=None)
    drawn = picture(cluster, rows(cluster))
    assert {box.state for box in drawn.boxes} == {State.UNKNOWN, State.WRONG}
    assert next(link.label for link in drawn.links if link.arrow).endswith("no common snapshot known")
