"""The configuration that the site's jobs give, checked by the real zrepl."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from f3s import zrepl
from f3s.parsing import UnknownOutput
from f3s.settings import HostData, Job, Site, build_site
from f3s.zrepl_file import merged
from scenarios.by_hand import FOLDER
from tests.f3s.replication_sites import F0, F1, F2, SHIPPED, job, site
from tests.tasks.plan import site_inventory

SITES = {
    "shipped": SHIPPED,
    "reverse": site(job("f1_to_f0_nfsdata", F1, F0)),
    "three hosts in a ring": site(
        job("a", F0, F1, "zdata/enc/a"), job("b", F1, F2, "zdata/enc/b", "2h"), job("c", F2, F0, "zdata/enc/c", "1d")
    ),
    "two targets for one dataset": site(job("near", F0, F1), job("far", F0, F2, interval="30s")),
    "both directions": site(*SHIPPED.jobs, job("back", F1, F0, "zdata/enc/vault", "1w")),
}


def config(host: str, of: Site = SHIPPED) -> dict[str, Any]:
    found = zrepl.host_config(of.host(host), of)
    assert found is not None
    return found


Check = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def configcheck(tmp_path: Path) -> Check:
    program = shutil.which("zrepl")
    if program is None:
        pytest.skip("no zrepl on this machine: go install github.com/zrepl/zrepl@v0.7.0")

    def check(text: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "zrepl.yml"
        file.write_text(text)
        command = [program, "configcheck", "--config", str(file), "--format", "json"]
        return subprocess.run(command, text=True, capture_output=True, check=False)

    return check


@pytest.mark.parametrize("name", SITES)
def test_zrepl_accepts_every_host_of_a_site(name: str, configcheck: Check) -> None:
    cluster = SITES[name]
    jobs = cluster.jobs
    taking_part = [h for h in (F0, F1, F2) if any(h in (j.source, j.target) for j in jobs)]
    for host in taking_part:
        result = configcheck(merged("", config(host, cluster)))
        assert (result.returncode, result.stderr) == (0, "")
        parsed = json.loads(result.stdout)
        expected = [j.name for j in jobs if j.source == host]
        expected += ["sink"] if any(j.target == host for j in jobs) else []
        assert [job["Ret"]["Name"] for job in parsed["Jobs"]] == expected


@pytest.mark.parametrize(("host", "file"), [(F0, "f0.zrepl.yml"), (F1, "f1.zrepl.yml")])
def test_zrepl_accepts_our_jobs_among_those_of_the_operator(host: str, file: str, configcheck: Check) -> None:
    before = (FOLDER / file).read_text()
    for text in (before, merged(before, config(host))):
        result = configcheck(text)
        assert (result.returncode, result.stderr) == (0, "")


def test_the_shipped_inventory_gives_what_is_tested_here() -> None:
    hosts = site_inventory({})
    shipped = build_site({host.name: HostData(frozenset(host.groups), host.data.dict()) for host in hosts})
    assert shipped.jobs == SHIPPED.jobs
    for host in (F0, F1, F2):
        assert zrepl.host_config(shipped.host(host), shipped) == zrepl.host_config(SHIPPED.host(host), SHIPPED)


def test_zrepl_reads_what_was_meant(configcheck: Check) -> None:
    push = json.loads(configcheck(merged("", config(F0))).stdout)["Jobs"][0]["Ret"]
    assert push["Connect"]["Ret"]["Address"] == "192.168.2.131:8888"
    assert push["Filesystems"] == {"zdata/enc/nfsdata<": True}
    assert push["Send"]["Encrypted"] is True
    assert push["Snapshotting"]["Ret"]["Prefix"] == "zrepl_"
    sink = json.loads(configcheck(merged("", config(F1))).stdout)["Jobs"][0]["Ret"]
    assert sink["RootFS"] == "zdata/sink"
    assert sink["Serve"]["Ret"]["Listen"] == "192.168.2.131:8888"
    assert sink["Serve"]["Ret"]["ListenFreeBind"] is True
    assert sink["Serve"]["Ret"]["Clients"] == {"192.168.2.130": "f0"}
    assert sink["Recv"]["Placeholder"]["Encryption"] == "off"
    assert sink["Recv"]["Properties"] == {"Inherit": None, "Override": {"readonly": "on"}}


def broken(change: Callable[[dict[str, Any]], object], host: str = F0) -> str:
    data = yaml.safe_load(merged("", config(host)))
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
def test_zrepl_refuses_a_broken_configuration(what: str, configcheck: Check) -> None:
    result = configcheck(BROKEN[what])
    assert result.returncode != 0
    assert result.stderr


def test_a_host_without_jobs_has_no_configuration() -> None:
    assert zrepl.host_config(SHIPPED.host(F2), SHIPPED) is None


def test_one_sink_serves_all_its_clients() -> None:
    cluster = site(job("a", F0, F2), job("b", F1, F2, "zdata/enc/b"), job("c", F1, F2, "zdata/enc/c"))
    (sink,) = config(F2, cluster)["jobs"]
    assert sink["serve"]["clients"] == {"192.168.2.130": "f0", "192.168.2.131": "f1"}


def test_jobs_that_share_a_dataset_take_snapshots_of_different_names_and_prune_their_own() -> None:
    near, far = config(F0, SITES["two targets for one dataset"])["jobs"]
    assert near["snapshotting"]["prefix"] == "zrepl_"
    assert far["snapshotting"]["prefix"] == "zrepl_far_"
    negated = {job["name"]: job["pruning"]["keep_sender"][-1]["regex"] for job in (near, far)}
    assert not re.search(negated["near"], "zrepl_far_20260101_000000_000")
    assert not re.search(negated["far"], "zrepl_20260101_000000_000")
    # the target of either gets both kinds, and prunes both
    for name in ("zrepl_20260101_000000_000", "zrepl_far_20260101_000000_000"):
        for push in (near, far):
            assert re.search(push["pruning"]["keep_receiver"][0]["regex"], name)


def prefixes(*jobs: Job) -> list[str]:
    cluster = site(*jobs)
    return [zrepl.snapshot_prefix(job, cluster) for job in jobs]


def test_a_job_above_another_ones_dataset_shares_it() -> None:
    above, below = job("vms", F0, F1, "zroot/bhyve"), job("fedora", F0, F2, "zroot/bhyve/fedora")
    assert prefixes(above, below) == ["zrepl_", "zrepl_fedora_"]
    assert prefixes(job("a", F0, F1, "zdata/enc/nfs"), job("b", F0, F1, "zdata/enc/nfsdata")) == ["zrepl_"] * 2
    assert prefixes(job("a", F0, F1, "zdata/enc/x"), job("b", F1, F0, "zdata/enc/x")) == ["zrepl_"] * 2


@pytest.mark.parametrize("name", ["zrepl_before_upgrade", "before", "zrepl_20260101", "xzrepl_20260101_000000_000"])
def test_snapshots_made_by_hand_are_kept_on_both_sides(name: str) -> None:
    push = config(F0)["jobs"][0]
    for side in ("keep_sender", "keep_receiver"):
        rule = push["pruning"][side][-1]
        assert rule["type"] == "regex"
        assert rule["negate"] is True
        assert not re.search(rule["regex"], name)


def test_what_is_not_replicated_is_kept() -> None:
    rules = config(F0)["jobs"][0]["pruning"]
    assert rules["keep_sender"][0] == {"type": "not_replicated"}
    assert [r["count"] for side in rules.values() for r in side if r["type"] == "last_n"] == [10, 10]


def test_the_names_of_all_jobs_in_a_file() -> None:
    for host in SHIPPED.freebsd_hosts[:2]:
        config = zrepl.host_config(host, SHIPPED)
        assert config is not None
        assert zrepl.job_names(merged("", config)) == tuple(job["name"] for job in config["jobs"])
    assert zrepl.job_names("") == zrepl.job_names("# nothing\n") == zrepl.job_names("jobs:\n") == ()
    for text in ("jobs: [{type: snap}]", "- a", "jobs: [", "jobs: []\ninclude_jobs: jobs.d"):
        with pytest.raises(UnknownOutput):
            zrepl.job_names(text)
