"""The monitor's units and settings, rendered as the task renders them, before the real systemd and the program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from f3s.monitor import AGAIN, CALL, ESCALATE, SERVICE, WRITE, longest_check, monitor_settings
from f3s.stunnel import PORT_UNIT, port_rules
from tests.f3s.settings_data import CLIENTS, build, change, good
from tests.files.monitor import Client, monitor
from tests.files.stubs import FILES, render

STUNNEL = "[Unit]\nDescription=TLS tunnel\n[Service]\nType=forking\nExecStart=/bin/true\n"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    service = render("nfs-mount-monitor.service.j2", start_timeout=90, mounts=["data-nfs-k3svolumes.mount"])
    (tmp_path / "nfs-mount-monitor.service").write_text(
        service.replace("/usr/local/bin/check-nfs-mount.sh", str(FILES / "rocky" / "check_nfs_mount.py"))
    )
    (tmp_path / "nfs-mount-monitor.timer").write_text(render("nfs-mount-monitor.timer.j2", interval=10))
    port = render("f3s-tunnel-port.service.j2", rules=port_rules(build(good()).clients[0]))
    (tmp_path / PORT_UNIT).write_text(port.replace("/usr/sbin/nft", "/bin/true"))
    (tmp_path / "stunnel.service").write_text(STUNNEL)
    return tmp_path


def verify(units: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    names = [str(units / name) for name in ("nfs-mount-monitor.service", "nfs-mount-monitor.timer", PORT_UNIT)]
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_systemd_accepts_the_units(units: Path) -> None:
    done = verify(units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # the only way to come back after `systemctl stop nftables` and a start
    assert "nftables.service" in (units / PORT_UNIT).read_text().partition("WantedBy=")[2]


def test_systemd_would_say_so_if_they_were_wrong(units: Path) -> None:
    service = units / "nfs-mount-monitor.service"
    service.write_text(service.read_text().replace("Type=oneshot", "Type=oneshot\nTimeoutStart=x"))
    assert "'TimeoutStart'" in verify(units).stderr


def test_no_setting_gives_the_monitor_a_mount_namespace(units: Path) -> None:
    text = (units / "nfs-mount-monitor.service").read_text()
    for setting in ("Protect", "Private", "ReadOnlyPaths", "DynamicUser", "RootDirectory", "TemporaryFileSystem"):
        assert not [line for line in text.splitlines() if line.startswith(setting)]


def test_the_start_timeout_covers_every_bound_of_the_program() -> None:
    named = {"WRITE": WRITE, "AGAIN": AGAIN, "CALL": CALL, "SERVICE": SERVICE, "ESCALATE": ESCALATE}
    assert {name: getattr(monitor, f"{name}_SECONDS") for name in named} == named
    client = build(good()).clients[0].client
    assert (len(client.mounts), client.stat_timeout, client.unmount_timeout, client.mount_timeout) == (1, 2, 10, 15)
    one = longest_check(client)
    assert one == 3 * 5 + 2 * 9 + 3 * 8 + 18 + 18 + 63 + 4 * 13 + 12
    assert longest_check(client.model_copy(update={"mounts": client.mounts * 2})) == 2 * one


def test_the_settings_are_those_that_the_program_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").write_text(monitor_settings(build(good()).clients[0], datetime(2030, 1, 1, tzinfo=UTC)))
    monkeypatch.setattr(monitor, "CONF", str(tmp_path / "conf"))
    read, played = monitor.Monitor().settings, Client(tmp_path, monkeypatch).settings
    assert set(read) == set(played)
    assert read["certificate"] == played["certificate"]


IN_A_NETWORK_OF_ITS_OWN = """
ip link set lo up
{port} -c 'import socket; s = socket.create_server(("127.0.0.1", 2323)); s.accept(); s.accept()' &
sleep 1
try() {{ setpriv --reuid "$1" --clear-groups bash -c 'exec 3<>/dev/tcp/127.0.0.1/2323' 2>&1 | tail -n 1; }}
nft '{closed}' && nft '{closed}' || exit 77
try 0
try 65534
nft '{open}'
try 65534
"""


def test_the_kernel_keeps_others_than_root_from_the_port() -> None:
    """Rules as nft takes them, twice; then none."""
    if not all(map(shutil.which, ("nft", "unshare", "setpriv", "ip"))):
        pytest.skip("needs nft, unshare, setpriv and ip")
    everybody = change(good(), CLIENTS, client_tunnel_root_only=False)
    closed, opened = (port_rules(build(each).clients[0]) for each in (good(), everybody))
    script = IN_A_NETWORK_OF_ITS_OWN.format(port=sys.executable, closed=closed, open=opened)
    done = subprocess.run(
        ["unshare", "--net", "--", "bash", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no nftables in this kernel, or not root: {done.stderr}")
    [refused] = done.stdout.splitlines()
    assert refused.endswith("Connection refused")
