"""The configuration that the site's jobs give, checked by the real zrepl."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from f3s import zrepl

ADDRESSES = {f"f{n}.lan.buetow.org": f"192.168.2.13{n}" for n in range(3)}
F0, F1, F2 = ADDRESSES


@dataclass(frozen=True)
class Job:
    name: str
    source: str
    target: str
    dataset: str
    interval: str = "1m"


SHIPPED = [
    Job("f0_to_f1_nfsdata", F0, F1, "zdata/enc/nfsdata"),
    Job("f0_to_f1_fedora", F0, F1, "zroot/bhyve/fedora", "10m"),
]
SITES = {
    "shipped": SHIPPED,
    "reverse": [Job("f1_to_f0_nfsdata", F1, F0, "zdata/enc/nfsdata")],
    "three hosts in a ring": [
        Job("a", F0, F1, "zdata/enc/a"),
        Job("b", F1, F2, "zdata/enc/b", "2h"),
        Job("c", F2, F0, "zdata/enc/c", "1d"),
    ],
    "two targets for one dataset": [
        Job("near", F0, F1, "zdata/enc/nfsdata"),
        Job("far", F0, F2, "zdata/enc/nfsdata", "30s"),
    ],
    "both directions": [*SHIPPED, Job("back", F1, F0, "zdata/enc/vault", "1w")],
}


def config(host: str, jobs: list[Job]) -> dict[str, Any]:
    found = zrepl.host_config(host, jobs, ADDRESSES, "zdata/sink", 8888, 9811)
    assert found is not None
    return found


@pytest.fixture
def configcheck(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    program = shutil.which("zrepl")
    if program is None:
        pytest.skip("no zrepl on this machine: go install github.com/zrepl/zrepl@v0.7.0")

    def check(text: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "zrepl.yml"
        file.write_text(text)
        command = [program, "configcheck", "--config", str(file), "--format", "json"]
        return subprocess.run(command, text=True, capture_output=True, check=False)

    return check


@pytest.mark.parametrize("site", SITES)
def test_zrepl_accepts_every_host_of_a_site(
    site: str, configcheck: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    jobs = SITES[site]
    taking_part = [h for h in ADDRESSES if any(h in (j.source, j.target) for j in jobs)]
    for host in taking_part:
        result = configcheck(zrepl.render(config(host, jobs)))
        assert (result.returncode, result.stderr) == (0, "")
        parsed = json.loads(result.stdout)
        expected = [j.name for j in jobs if j.source == host]
        expected += ["sink"] if any(j.target == host for j in jobs) else []
        assert [job["Ret"]["Name"] for job in parsed["Jobs"]] == expected


def test_zrepl_reads_what_was_meant(configcheck: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    push = json.loads(configcheck(zrepl.render(config(F0, SHIPPED))).stdout)["Jobs"][0]["Ret"]
    assert push["Connect"]["Ret"]["Address"] == "192.168.2.131:8888"
    assert push["Filesystems"] == {"zdata/enc/nfsdata<": True}
    assert push["Send"]["Encrypted"] is True
    assert push["Snapshotting"]["Ret"]["Prefix"] == "zrepl_"
    sink = json.loads(configcheck(zrepl.render(config(F1, SHIPPED))).stdout)["Jobs"][0]["Ret"]
    assert sink["RootFS"] == "zdata/sink"
    assert sink["Serve"]["Ret"]["Listen"] == "192.168.2.131:8888"
    assert sink["Serve"]["Ret"]["ListenFreeBind"] is True
    assert sink["Serve"]["Ret"]["Clients"] == {"192.168.2.130": "f0"}
    assert sink["Recv"]["Placeholder"]["Encryption"] == "off"
    assert sink["Recv"]["Properties"] == {"Inherit": None, "Override": {"readonly": "on"}}


def broken(change: Callable[[dict[str, Any]], object], host: str = F0) -> str:
    data = yaml.safe_load(zrepl.render(config(host, SHIPPED)))
    change(data)
    return yaml.safe_dump(data)


BROKEN = {
    "unknown key": broken(lambda c: c["jobs"][0].update(compress=True)),
    "two jobs of a name": broken(lambda c: c["jobs"][1].update(name="f0_to_f1_nfsdata")),
    "reserved name": broken(lambda c: c["jobs"][0].update(name="_push")),
    "unknown type": broken(lambda c: c["jobs"][0].update(type="shove")),
    "interval without unit": broken(lambda c: c["jobs"][0]["snapshotting"].update(interval="60")),
    "interval of zero": broken(lambda c: c["jobs"][0]["snapshotting"].update(interval="0s")),
    "empty prefix": broken(lambda c: c["jobs"][0]["snapshotting"].update(prefix="")),
    "no address": broken(lambda c: c["jobs"][0]["connect"].pop("address")),
    "bad regex": broken(lambda c: c["jobs"][0]["pruning"]["keep_sender"][1].update(regex="(")),
    "bad grid": broken(lambda c: c["jobs"][0]["pruning"]["keep_sender"][2].update(grid="1xforever")),
    "client that is no address": broken(lambda c: c["jobs"][0]["serve"].update(clients={"f0": "f0"}), F1),
    "identity of two components": broken(lambda c: c["jobs"][0]["serve"].update(clients={"192.168.2.130": "f0/x"}), F1),
    "unknown placeholder mode": broken(lambda c: c["jobs"][0]["recv"]["placeholder"].update(encryption="none"), F1),
    "no root_fs": broken(lambda c: c["jobs"][0].pop("root_fs"), F1),
    "not yaml": "jobs: [",
}


@pytest.mark.parametrize("what", BROKEN)
def test_zrepl_refuses_a_broken_configuration(
    what: str, configcheck: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    result = configcheck(BROKEN[what])
    assert result.returncode != 0
    assert result.stderr


def test_a_host_without_jobs_has_no_configuration() -> None:
    assert zrepl.host_config(F2, SHIPPED, ADDRESSES, "zdata/sink", 8888, 9811) is None


def test_one_sink_serves_all_its_clients() -> None:
    jobs = [Job("a", F0, F2, "zdata/enc/a"), Job("b", F1, F2, "zdata/enc/b"), Job("c", F1, F2, "zdata/enc/c")]
    (sink,) = config(F2, jobs)["jobs"]
    assert sink["serve"]["clients"] == {"192.168.2.130": "f0", "192.168.2.131": "f1"}


def test_an_ipv6_address_is_bracketed(
    configcheck: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    addresses = {F0: "fd00::130", F1: "fd00::131"}
    data = zrepl.host_config(F1, SHIPPED, addresses, "zdata/sink", 8888, 9811)
    assert data is not None
    assert data["jobs"][0]["serve"]["listen"] == "[fd00::131]:8888"
    assert configcheck(zrepl.render(data)).returncode == 0


def test_jobs_that_share_a_dataset_take_snapshots_of_different_names_and_prune_their_own() -> None:
    near, far = config(F0, SITES["two targets for one dataset"])["jobs"]
    assert near["snapshotting"]["prefix"] == "zrepl_"
    assert far["snapshotting"]["prefix"] == "zrepl_far_"
    negated = {job["name"]: job["pruning"]["keep_sender"][-1]["regex"] for job in (near, far)}
    assert not re.search(negated["near"], "zrepl_far_20260101_000000_000")
    assert not re.search(negated["far"], "zrepl_20260101_000000_000")
    # the receiver of either gets both kinds and prunes both
    for name in ("zrepl_20260101_000000_000", "zrepl_far_20260101_000000_000"):
        assert re.search(zrepl.OWN_SNAPSHOT, name)


def test_a_job_above_another_ones_dataset_shares_it() -> None:
    jobs = [Job("vms", F0, F1, "zroot/bhyve"), Job("fedora", F0, F2, "zroot/bhyve/fedora")]
    assert [zrepl.snapshot_prefix(job, jobs) for job in jobs] == ["zrepl_", "zrepl_fedora_"]
    apart = [Job("a", F0, F1, "zdata/enc/nfs"), Job("b", F0, F1, "zdata/enc/nfsdata")]
    assert [zrepl.snapshot_prefix(job, apart) for job in apart] == ["zrepl_", "zrepl_"]


@pytest.mark.parametrize("name", ["zrepl_before_upgrade", "before", "zrepl_20260101", "xzrepl_20260101_000000_000"])
def test_snapshots_made_by_hand_are_kept_on_both_sides(name: str) -> None:
    push = config(F0, SHIPPED)["jobs"][0]
    for side in ("keep_sender", "keep_receiver"):
        rule = push["pruning"][side][-1]
        assert rule["type"] == "regex"
        assert rule["negate"] is True
        assert not re.search(rule["regex"], name)


def test_what_is_not_replicated_is_kept() -> None:
    rules = config(F0, SHIPPED)["jobs"][0]["pruning"]
    assert {"type": "not_replicated"} in rules["keep_sender"]
    assert [r["count"] for side in rules.values() for r in side if r["type"] == "last_n"] == [10, 10]


def test_replica_dataset_is_where_the_sink_puts_it() -> None:
    assert zrepl.replica_dataset(SHIPPED[0], "zdata/sink") == "zdata/sink/f0/zdata/enc/nfsdata"


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60), ("10m", 600), (" 2 h ", 7200), ("1w", 604800)])
def test_interval_seconds(text: str, seconds: int) -> None:
    assert zrepl.interval_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "0m", "-1m", "1.5h", "1month", "1m30s", "hourly"])
def test_interval_that_zrepl_cannot_parse_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a zrepl interval"):
        zrepl.interval_seconds(text)
