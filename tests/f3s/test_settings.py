"""The settings of the shipped data, spelling mistakes, and what zrepl itself says about the values taken."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from pydantic import ValidationError

from f3s.settings import Problem, SettingsError
from f3s.settings.site import host_parts
from f3s.settings.values import Duration, Grid
from tests.f3s.settings_data import (
    CLIENTS,
    EVERY,
    F0,
    F1,
    F2,
    FREEBSD,
    R0,
    STORAGE,
    build,
    change,
    good,
    refusals,
)


def test_shipped_data_is_the_site_of_the_specification() -> None:
    site = build(good())
    assert [host.name for host in site.hosts] == list(EVERY)
    assert [host.name for host in site.freebsd_hosts] == list(FREEBSD)
    assert [host.name for host in site.storage_hosts] == [F0, F1]
    assert [host.name for host in site.clients] == list(CLIENTS)
    assert [host.lan.address for host in site.hosts] == [f"192.168.1.{n}" for n in (130, 131, 132, 120, 121, 122)]
    assert [host.wireguard.address for host in site.freebsd_hosts] == [f"192.168.2.{n}" for n in (130, 131, 132)]
    assert site.primary.vip.address == "192.168.1.138"
    assert site.primary.vip.names == ("f3s-storage-ha", "f3s-storage-ha.lan", "f3s-storage-ha.lan.buetow.org")
    assert [(host.carp.interface, host.carp.vhid) for host in site.storage_hosts] == [("re0", 1)] * 2
    assert site.primary.stunnel.port == 2323
    assert (site.primary.zrepl.port, site.primary.zrepl.metrics_port) == (8888, 9811)
    assert [host.has_pool for host in site.hosts] == [True, True, False, False, False, False]
    assert site.primary.carp.password is None


def test_keys_are_one_for_each_freebsd_host_and_purpose() -> None:
    site = build(good())
    assert site.key_names == tuple(f"{host}:{purpose}" for host in FREEBSD for purpose in ("bhyve", "zdata"))
    assert site.primary.key_file(site.primary.enc.key) == f"/keys/{F0}:zdata.key"
    assert site.standby.key_location(site.standby.bhyve.key) == f"file:///keys/{F1}:bhyve.key"


def test_key_of_another_host() -> None:
    site = build(change(good(), (F2,), enc_key=f"{F0}:zdata"))
    assert site.host(F2).key_location(site.host(F2).enc.key) == f"file:///keys/{F0}:zdata.key"


def test_replicas_lie_below_the_sink_and_open_with_the_key_of_their_source() -> None:
    site = build(good())
    nfsdata, fedora = site.jobs
    assert site.jobs_from(site.primary) == site.jobs_to(site.standby) == (nfsdata, fedora)
    assert site.jobs_to(site.primary) == ()
    assert site.replica(nfsdata) == "zdata/sink/f0/zdata/enc/nfsdata"
    assert site.replica_key_location(nfsdata) == f"file:///keys/{F0}:zdata.key"
    assert site.replica(fedora) == "zdata/sink/f0/zroot/bhyve/fedora"
    assert site.replica_key_location(fedora) == f"file:///keys/{F0}:bhyve.key"
    assert (nfsdata.interval_seconds, fedora.interval_seconds) == (60, 600)


def test_key_of_a_dataset_outside_the_encrypted_trees() -> None:
    with pytest.raises(LookupError, match=r"zroot/home is not below zdata/enc or zroot/bhyve of f0"):
        build(good()).primary.key_of("zroot/home")


def test_settings_that_a_host_has_not_are_an_error() -> None:
    with pytest.raises(LookupError, match=r"r0\.lan\.buetow\.org has no pool_ settings: .* hosts of group freebsd"):
        _ = build(good()).host(R0).pool
    with pytest.raises(LookupError, match=r"f2\.lan\.buetow\.org has no carp_ settings: .* hosts of group storage"):
        _ = build(good()).host(F2).carp
    with pytest.raises(LookupError, match=r"no host f9 in the inventory"):
        build(good()).host("f9")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build(good()).primary.carp.vhid = 2


def test_mount_options_of_the_preset() -> None:
    site = build(change(good(), (R0,), client_mount_preset="laptop"))
    assert "soft" in site.host(R0).client.mount_options
    assert "hard" in site.host(CLIENTS[1]).client.mount_options


def test_a_text_stands_for_a_list_of_one() -> None:
    """As pyinfra's --data gives it."""
    site = build(change(good(), EVERY, usb_format_allow="da0", bhyve_destroy_old=F1))
    assert site.primary.usb.format_allow == ("da0",)
    assert site.primary.bhyve.destroy_old == (F1,)


REQUIRED = sorted(
    (prefix, field)
    for prefix, part in host_parts().items()
    for field, info in part.model.model_fields.items()
    if info.is_required()
)


@pytest.mark.parametrize(("prefix", "field"), REQUIRED)
def test_missing_variable(prefix: str, field: str) -> None:
    group = host_parts()[prefix].group
    hosts = {"all": EVERY, "freebsd": FREEBSD, "storage": STORAGE, "clients": CLIENTS}[group]
    inventory = good()
    for host in hosts:
        del inventory[host][1][f"{prefix}_{field}"]
    lines = refusals(inventory)
    assert [line.split("; allowed: ")[0] for line in lines] == [
        f"{host}: {prefix}_{field} = (not set): is missing" for host in hosts
    ]
    assert all(line.split("; allowed: ")[1] for line in lines)


CARP = "advbase failback_losses failback_quiet interface other_vhids password unicast vhid"
OF_CARP = f"allowed: {', '.join(f'carp_{name}' for name in CARP.split())}"


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("carp_vhdi", 1, f"1: is unknown; did you mean carp_vhid?; {OF_CARP}"),
        ("pool_colour", "red",
         "'red': is unknown; allowed: pool_autotrim, pool_disk, pool_disk_model, pool_disk_serial, "
         "pool_failmode, pool_mountpoint, pool_name, pool_scrub, pool_scrub_threshold_days"),
        ("disk_serial", "S1", "'S1': is unknown; did you mean pool_disk_serial?; allowed: pool_disk_serial"),
        ("site", 1,
         "1: is unknown; allowed: variables that begin with alert_, bhyve_, carp_, client_, enc_, lan_, "
         "nfs_, pki_, pool_, replace_, stunnel_, usb_, vip_, wireguard_, zrepl_"),
        ("capr_vhid", 1, "1: is unknown; did you mean carp_vhid?; allowed: carp_vhid"),
        ("carp_pasword", "a1b2c3d4e5", f"(hidden): is unknown; did you mean carp_password?; {OF_CARP}"),
    ],
)  # fmt: skip
def test_spelling_mistake(variable: str, value: object, line: str) -> None:
    assert refusals(change(good(), (F0,), **{variable: value})) == [f"{F0}: {variable} = {line}"]


def test_data_of_others_is_none_of_our_business() -> None:
    foreign = {"ssh_user": "root", "ssh_port": 22, "_doas": True, "verify_json": "a.json"}
    assert build(change(good(), EVERY, **foreign)).primary.name == F0


def test_all_problems_are_reported_at_once_sorted_and_once_each() -> None:
    inventory = change(good(), (F1,), carp_vhid=300, lan_address="192.168.1.130", usb_device="/dev/da0", carp_vhdi=1)
    change(inventory, (R0,), client_stat_timeout=0)
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"][0]["interval"] = "often"
        inventory[host][1]["zrepl_jobs"][1]["target"] = "f9.lan.buetow.org"
    lines = refusals(inventory)
    assert [line.split(" = ")[0] for line in lines] == [
        f"{F0}: zrepl_jobs[0].interval",
        f"{F1}: carp_vhdi",
        f"{F1}: carp_vhid",
        f"{F1}: lan_address",
        f"{F1}: usb_device",
        f"{F1}: zrepl_jobs[0].interval",
        f"{F2}: zrepl_jobs[0].interval",
        f"{R0}: client_stat_timeout",
        "site: zrepl_jobs[f0_to_f1_fedora].target",
    ]


def test_the_error_is_one_text_with_a_line_for_each_problem() -> None:
    one = Problem("site", "vip_address", "'x'", "is wrong", "right")
    two = Problem("f0", "carp_vhid", "0", "is wrong", "right")
    assert str(SettingsError([one, two, one])) == (
        "2 problems in inventory.py or group_data:\n"
        "  f0: carp_vhid = 0: is wrong; allowed: right\n"
        "  site: vip_address = 'x': is wrong; allowed: right"
    )


def configcheck(tmp_path: Path, interval: str, grid: str) -> bool:
    """Whether the real zrepl takes the two values."""
    if shutil.which("zrepl") is None:
        pytest.skip("zrepl is not installed: go install github.com/zrepl/zrepl@v0.7.0")
    config = tmp_path / "zrepl.yml"
    config.write_text(
        "jobs:\n- name: a\n  type: snap\n  filesystems: {'a': true}\n"
        f"  snapshotting: {{type: periodic, prefix: zrepl_, interval: '{interval}'}}\n"
        f"  pruning: {{keep: [{{type: grid, grid: '{grid}', regex: '^zrepl_'}}]}}\n"
    )
    return subprocess.run(["zrepl", "--config", str(config), "configcheck"], capture_output=True).returncode == 0


INTERVALS = {
    True: ["1s", "90s", "1m", "24h", "1d", "2w"],
    False: ["0s", "-1m", "60", "1M", "1y", "1h30m", "1.5h", "1ms", "often", "1 minute"],
}
GRIDS = {
    True: ["1x1h(keep=all) | 24x1h | 14x1d", "24x1h|14x1d", "1x60s", "2x1h(keep=3) | 1x1h"],
    False: ["2x1h | 3x10m", "0x1h", "1x60", "3X1h", "1h", "1x1h(keep=some)", "1x1h |"],
}


@pytest.mark.parametrize(("good", "interval"), [(good, each) for good in INTERVALS for each in INTERVALS[good]])
def test_zrepl_takes_the_intervals_that_we_take_and_no_other(tmp_path: Path, good: bool, interval: str) -> None:
    with nullcontext() if good else pytest.raises(ValueError, match="is not a duration that zrepl can parse"):
        assert Duration.__metadata__[0](interval) == interval
    assert configcheck(tmp_path, interval, "1x1h") is good


@pytest.mark.parametrize(("good", "grid"), [(good, each) for good in GRIDS for each in GRIDS[good]])
def test_zrepl_takes_the_grids_that_we_take_and_no_other(tmp_path: Path, good: bool, grid: str) -> None:
    with nullcontext() if good else pytest.raises(ValueError, match=r"has a part|has intervals|is not a duration"):
        assert Grid.__metadata__[0](grid) == grid
    assert configcheck(tmp_path, "1m", grid) is good
