"""The lab's `zrepl configcheck` and the real one agree, on good files and on broken ones."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from f3s import zrepl as deploy
from f3s.settings import Site
from lab.core import NotSimulatedError
from lab.zrepl import config
from lab.zrepl.yamltree import ConfigError
from tests.f3s.replication_sites import F0, F1, F2, SHIPPED, job, site

Change = Callable[[dict[str, Any]], object]


def host(name: str, of: Site = SHIPPED) -> str:
    found = deploy.host_config(of.host(name), of)
    assert found is not None
    return deploy.render(found)


def push(change: Change) -> str:
    return _changed(F0, change)


def sink(change: Change) -> str:
    return _changed(F1, change)


def _changed(name: str, change: Change) -> str:
    data = yaml.safe_load(host(name))
    change(data["jobs"][0])
    return yaml.safe_dump(data, sort_keys=False)


def top(change: Change) -> str:
    data = yaml.safe_load(host(F1))
    change(data)
    return yaml.safe_dump(data, sort_keys=False)


def rule(number: int, **changes: Any) -> str:
    return push(lambda j: j["pruning"]["keep_sender"][number].update(changes))


TWO_TARGETS = site(job("near", F0, F1), job("far", F0, F2), job("back", F1, F0, "zdata/enc/x"))
FILES = {
    "push": host(F0),
    "sink": host(F1),
    "both": host(F0, TWO_TARGETS),
    "empty": "",
    "comment only": "# nothing\n",
    "no jobs": "jobs: []\n",
    "empty mapping": "{}\n",
    "null jobs": "jobs:\n",
    "flow style": "jobs: [{type: sink, name: s, root_fs: a/b, serve: {type: tcp, listen: ':1', clients: {::1: c}}}]",
    "null global": top(lambda c: c.update({"global": None})),
    "no recv": sink(lambda j: j.pop("recv")),
    "null recv": sink(lambda j: j.update(recv=None)),
    "no placeholder": sink(lambda j: j["recv"].pop("placeholder")),
    "null placeholder": sink(lambda j: j["recv"].update(placeholder=None)),
    "placeholder without encryption": sink(lambda j: j["recv"].update(placeholder={})),
    "inherit": sink(lambda j: j["recv"]["properties"].update(inherit=["atime", "com.example:x"])),
    "unquoted override": host(F1).replace("'on'", "on"),
    "manual snapshots": push(lambda j: j.update(snapshotting={"type": "manual"})),
    "dial timeout": push(lambda j: j["connect"].update(dial_timeout="1m30s")),
    "replication": push(lambda j: j.update(replication={"protection": {"initial": "guarantee_nothing"}})),
    "conflict resolution": push(lambda j: j.update(conflict_resolution={"initial_replication": "all"})),
    "send nothing": push(lambda j: j.pop("send")),
    "send yes": host(F0).replace("encrypted: true", "encrypted: yes"),
    "send y": host(F0).replace("encrypted: true", "encrypted: y"),
    "number as name": push(lambda j: j.update(name=7)),
    "name with a blank": push(lambda j: j.update(name="a b")),
    "name with a slash": push(lambda j: j.update(name="a/b")),
    "name of dots": push(lambda j: j.update(name="..")),
    "no name": push(lambda j: j.pop("name")),
    "empty name": push(lambda j: j.update(name="")),
    "reserved name": push(lambda j: j.update(name="_push")),
    "two jobs of a name": push(lambda j: j.update(name="f0_to_f1_fedora")),
    "unknown key": push(lambda j: j.update(compress=True)),
    "unknown key at the top": top(lambda c: c.update(job=[])),
    "unknown key in send": push(lambda j: j["send"].update(raws=True)),
    "unknown key in recv": sink(lambda j: j["recv"].update(mountpoint="none")),
    "unknown type": push(lambda j: j.update(type="shove")),
    "no type": push(lambda j: j.pop("type")),
    "key twice": "jobs: []\njobs: []\n",
    "client twice": host(F1).replace("192.168.2.130: f0", "192.168.2.130: f0\n      192.168.2.130: f2"),
    "interval without unit": push(lambda j: j["snapshotting"].update(interval="60")),
    "interval a number": push(lambda j: j["snapshotting"].update(interval=60)),
    "interval of zero": push(lambda j: j["snapshotting"].update(interval="0s")),
    "interval zero": push(lambda j: j["snapshotting"].update(interval="0")),
    "interval with blanks": push(lambda j: j["snapshotting"].update(interval=" 2 h ")),
    "interval with plus": push(lambda j: j["snapshotting"].update(interval="+2h")),
    "interval of months": push(lambda j: j["snapshotting"].update(interval="1month")),
    "no interval": push(lambda j: j["snapshotting"].pop("interval")),
    "empty prefix": push(lambda j: j["snapshotting"].update(prefix="")),
    "no snapshotting": push(lambda j: j.pop("snapshotting")),
    "no address": push(lambda j: j["connect"].pop("address")),
    "address without port": push(lambda j: j["connect"].update(address="192.168.2.131")),
    "address without brackets": push(lambda j: j["connect"].update(address="fd00::1:8888")),
    "address in brackets": push(lambda j: j["connect"].update(address="[fd00::1]:8888")),
    "no filesystems": push(lambda j: j.update(filesystems={})),
    "filesystem excluded": push(lambda j: j["filesystems"].update({"zdata/enc/nfsdata/tmp": False})),
    "filesystem not true": push(lambda j: j.update(filesystems={"zdata": "all"})),
    "filesystem with a star": push(lambda j: j.update(filesystems={"zdata/*": True})),
    "filesystem with < inside": push(lambda j: j.update(filesystems={"zda<ta": True})),
    "filesystem with a slash at its end": push(lambda j: j.update(filesystems={"zdata/": True})),
    "no pruning": push(lambda j: j.pop("pruning")),
    "no rules": push(lambda j: j["pruning"].update(keep_sender=[])),
    "no receiver rules": push(lambda j: j["pruning"].pop("keep_receiver")),
    "cursor": rule(0, keep_snapshot_at_cursor=False),
    "count of zero": rule(1, count=0),
    "negative count": rule(1, count=-1),
    "count as text": rule(1, count="ten"),
    "bad regex": rule(1, regex="("),
    "regex with lookahead": rule(1, regex="^(?!zrepl_)"),
    "empty regex of last_n": rule(1, regex=""),
    "empty regex of grid": rule(2, regex=""),
    "bad grid": rule(2, grid="1xforever"),
    "grid of nothing": rule(2, grid="0x1h"),
    "grid that shrinks": rule(2, grid="1x1d | 24x1h"),
    "grid that shrinks after all": rule(2, grid="1x1d(keep=all) | 24x1h"),
    "grid with blanks": rule(2, grid=" 2 x 1h (keep=3) |3x2h"),
    "grid with another parameter": rule(2, grid="1x1h(drop=all)"),
    "unknown rule": rule(0, type="keep_all"),
    "negate as text": rule(3, negate="maybe"),
    "no root_fs": sink(lambda j: j.pop("root_fs")),
    "root_fs with a slash at its end": sink(lambda j: j.update(root_fs="zdata/sink/")),
    "root_fs a snapshot": sink(lambda j: j.update(root_fs="zdata/sink@x")),
    "no clients": sink(lambda j: j["serve"].update(clients={})),
    "clients a list": sink(lambda j: j["serve"].update(clients=["192.168.2.130"])),
    "client that is no address": sink(lambda j: j["serve"].update(clients={"f0": "f0"})),
    "identity of two components": sink(lambda j: j["serve"].update(clients={"192.168.2.130": "f0/x"})),
    "identity with a star": sink(lambda j: j["serve"].update(clients={"192.168.2.130": "f-*"})),
    "listen everywhere": sink(lambda j: j["serve"].update(listen=":8888")),
    "listen without port": sink(lambda j: j["serve"].update(listen="8888")),
    "freebind as text": sink(lambda j: j["serve"].update(listen_freebind="maybe")),
    "unknown placeholder mode": sink(lambda j: j["recv"]["placeholder"].update(encryption="none")),
    "bad property": sink(lambda j: j["recv"]["properties"].update(override={"-o": "x"})),
    "bad property to inherit": sink(lambda j: j["recv"]["properties"].update(inherit=["a b"])),
    "unknown outlet": top(lambda c: c["global"].update(logging=[{"type": "file"}])),
    "unknown level": top(lambda c: c["global"]["logging"][0].update(level="loud")),
    "unknown format": top(lambda c: c["global"]["logging"][0].update(format="xml")),
    "no level": top(lambda c: c["global"]["logging"][0].pop("level")),
    "unknown facility": top(lambda c: c["global"]["logging"][1].update(facility="local8")),
    "two syslog outlets": top(lambda c: c["global"]["logging"].append(c["global"]["logging"][1])),
    "no outlets": top(lambda c: c["global"].update(logging=[])),
    "unknown monitoring": top(lambda c: c["global"]["monitoring"][0].update(type="nagios")),
    "monitoring without port": top(lambda c: c["global"]["monitoring"][0].update(listen="localhost")),
    "jobs a mapping": "jobs: {a: b}\n",
    "job a string": "jobs: [push]\n",
    "a list at the top": "- jobs\n",
    "no yaml": "jobs: [",
    "tabs": "jobs:\n\t- a\n",
}


@pytest.mark.parametrize("name", FILES)
def test_the_lab_agrees_with_zrepl(name: str, tmp_path: Path) -> None:
    program = shutil.which("zrepl")
    if program is None:
        pytest.skip("no zrepl on this machine: go install github.com/zrepl/zrepl@v0.7.0")
    file = tmp_path / "zrepl.yml"
    file.write_text(FILES[name])
    real = subprocess.run([program, "configcheck", "--config", str(file)], text=True, capture_output=True, check=False)
    try:
        config.read(FILES[name])
        played = ""
    except ConfigError as error:
        played = str(error)
    assert (played == "") == (real.returncode == 0), f"zrepl: {real.stderr or 'good'}\nlab: {played or 'good'}"


@pytest.mark.parametrize(
    "text",
    [
        push(lambda j: j.update(type="pull")),
        push(lambda j: j["connect"].update(type="tls")),
        push(lambda j: j["snapshotting"].update(type="cron", cron="* * * * *")),
        push(lambda j: j["snapshotting"].update(hooks=[])),
        sink(lambda j: j["serve"].update(clients={"192.168.2.0/24": "f-*"})),
        top(lambda c: c.update(include=["a.yml"])),
    ],
)
def test_what_is_not_played_is_said_to_be(text: str) -> None:
    with pytest.raises(NotSimulatedError):
        config.read(text)


def test_the_shipped_jobs_as_the_daemon_sees_them() -> None:
    first, second = config.read(host(F0)).pushes
    assert (first.name, first.address, first.interval) == ("f0_to_f1_nfsdata", "192.168.2.131:8888", 60)
    assert (second.filesystems, second.interval) == ({"zroot/bhyve/fedora<": True}, 600)
    (only,) = config.read(host(F1)).sinks
    assert (only.root_fs, only.clients) == ("zdata/sink", {"192.168.2.130": "f0"})
    assert (only.override, only.placeholder) == ({"readonly": "on"}, "off")
    assert config.read(host(F1)).metrics == ("127.0.0.1:9811",)
