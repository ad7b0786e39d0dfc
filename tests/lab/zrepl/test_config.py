"""What the played zrepl takes from a configuration, and that it takes no more. The real one judges in tests/f3s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from f3s import zrepl as deploy
from f3s.settings import Site
from f3s.zrepl_file import merged
from lab.core import NotSimulatedError
from lab.zrepl import config
from lab.zrepl.config import ConfigError
from scenarios import by_hand
from tests.f3s.replication_sites import F0, F1, F2, SHIPPED, job, site
from tests.f3s.test_zrepl import BROKEN

TWO_TARGETS = site(job("near", F0, F1), job("far", F0, F2), job("back", F1, F0, "zdata/enc/x"))


def host(name: str, of: Site = SHIPPED) -> str:
    found = deploy.host_config(of.host(name), of)
    assert found is not None
    return merged("", found)


def test_the_shipped_jobs_as_the_daemon_sees_them() -> None:
    first, second = config.read(host(F0)).pushes
    assert (first.name, first.address, first.interval) == ("f0_to_f1_nfsdata", "192.168.2.131:8888", 60)
    assert (second.filesystems, second.interval) == (("zroot/bhyve/fedora<",), 600)
    (only,) = config.read(host(F1)).sinks
    assert (only.root_fs, only.clients) == ("zdata/sink", {"192.168.2.130": "f0"})
    assert only.override == {"readonly": "on"}
    assert config.read(host(F1)).metrics == "127.0.0.1:9811"


def test_jobs_of_the_operator_that_wait_for_him() -> None:
    found = config.read((by_hand.FOLDER / "f0.zrepl.yml").read_text())
    assert [push.filesystems for push in found.pushes] == [("zdata/enc/nfsdata",), ("zroot/bhyve/fedora",)]
    assert (found.idle, found.metrics) == ({"system": "snap", "backup": "push", "drawer": "sink"}, "")
    assert [sink.name for sink in config.read((by_hand.FOLDER / "f1.zrepl.yml").read_text()).sinks] == [
        "sink",
        "laptop",
    ]


def test_a_host_that_sends_and_receives() -> None:
    both = config.read(host(F0, TWO_TARGETS))
    assert [(push.name, push.prefix) for push in both.pushes] == [("near", "zrepl_"), ("far", "zrepl_far_")]
    assert [sink.name for sink in both.sinks] == ["sink"]


@pytest.mark.parametrize("what", BROKEN)
def test_what_zrepl_refuses_is_not_taken(what: str) -> None:
    with pytest.raises((ConfigError, NotSimulatedError)):
        config.read(BROKEN[what])


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> str:
    data = yaml.safe_load(host(name))
    change(data)
    return yaml.safe_dump(data, sort_keys=False)


def push(change: Callable[[dict[str, Any]], object]) -> str:
    return changed(F0, lambda data: change(data["jobs"][0]))


def sink(change: Callable[[dict[str, Any]], object]) -> str:
    return changed(F1, lambda data: change(data["jobs"][0]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jobs: [push]",
        "jobs: []\njobs: []",
        changed(F1, lambda data: data.update(include=["a.yml"])),
        changed(F1, lambda data: data.pop("global")),
        changed(F1, lambda data: data["global"]["logging"].pop()),
        changed(F1, lambda data: data["global"].update(monitoring=[])),
        push(lambda j: j.update(type="pull")),
        push(lambda j: j.update(name="a/b")),
        push(lambda j: j["connect"].update(type="tls")),
        push(lambda j: j["connect"].update(address="fd00::1:8888")),
        push(lambda j: j.update(filesystems={"zdata<": False})),
        push(lambda j: j.update(send={"encrypted": False})),
        push(lambda j: j.update(snapshotting={"type": "manual"})),
        push(lambda j: j["snapshotting"].update(hooks=[])),
        push(lambda j: j["pruning"].update(keep_sender=[])),
        push(lambda j: j["pruning"]["keep_sender"][0].update(keep_snapshot_at_cursor=False)),
        push(lambda j: j["pruning"]["keep_sender"][1].update(regex="^(?!zrepl_)$")),
        push(lambda j: j["pruning"]["keep_sender"][1].update(count=0)),
        push(lambda j: j["pruning"]["keep_sender"][3].update(negate=False)),
        sink(lambda j: j["serve"].update(clients={"192.168.2.0/24": "f-*"})),
        sink(lambda j: j["serve"].update(listen_freebind=False)),
        sink(lambda j: j["recv"].pop("placeholder")),
        sink(lambda j: j["recv"]["properties"].update(inherit=["atime"])),
        host(F1).replace("'on'", "on"),
    ],
)
def test_what_the_lab_does_not_know_is_refused(text: str) -> None:
    with pytest.raises((ConfigError, NotSimulatedError)):
        config.read(text)
