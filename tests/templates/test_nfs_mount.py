"""The monitor's units and settings, rendered as the task renders them, before the real systemd and the real bash."""

from __future__ import annotations

import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from pyinfra.api.util import get_template

from f3s.monitor import CALL, ESCALATE, PATIENCE, SERVICE, WRITE, longest_check, monitor_settings
from tests.files.stubs import FILES, REPOSITORY

TEMPLATES = REPOSITORY / "templates"
STUNNEL = "[Unit]\nDescription=TLS tunnel\n[Service]\nType=forking\nExecStart=/bin/true\n"


def render(name: str, **values: object) -> str:
    text: str = get_template(StringIO((TEMPLATES / name).read_text())).render(values)
    return text


@pytest.fixture
def units(tmp_path: Path) -> Path:
    service = render("nfs-mount-monitor.service.j2", start_timeout=90)
    (tmp_path / "nfs-mount-monitor.service").write_text(
        service.replace("/usr/local/bin/check-nfs-mount.sh", str(FILES / "rocky" / "check-nfs-mount.sh"))
    )
    (tmp_path / "nfs-mount-monitor.timer").write_text(render("nfs-mount-monitor.timer.j2", interval=10))
    (tmp_path / "stunnel.service").write_text(STUNNEL)
    return tmp_path


def verify(units: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    names = [str(units / f"nfs-mount-monitor.{kind}") for kind in ("service", "timer")]
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


def test_systemd_would_say_so_if_they_were_wrong(units: Path) -> None:
    service = units / "nfs-mount-monitor.service"
    service.write_text(service.read_text().replace("Type=oneshot", "Type=oneshot\nTimeoutStart=x"))
    assert "'TimeoutStart'" in verify(units).stderr


def test_no_setting_gives_the_monitor_a_mount_namespace(units: Path) -> None:
    text = (units / "nfs-mount-monitor.service").read_text()
    for setting in ("Protect", "Private", "ReadOnlyPaths", "DynamicUser", "RootDirectory", "TemporaryFileSystem"):
        assert not [line for line in text.splitlines() if line.startswith(setting)]


def test_the_start_timeout_covers_every_bound_of_the_script() -> None:
    script = (FILES / "rocky" / "check-nfs-mount.sh").read_text()
    bounds = {name: int(value) for name, value in re.findall(r"\b([A-Z]+)_SECONDS=(\d+)", script)}
    named = {"WRITE": WRITE, "PATIENCE": PATIENCE, "CALL": CALL, "SERVICE": SERVICE, "ESCALATE": ESCALATE}
    assert {name: bounds[name] for name in named} == named
    one = longest_check(mounts=1, stat_timeout=2, unmount_timeout=10, mount_timeout=15)
    assert one == 6 * 5 + 3 * 8 + 7 + 18 + 63 + 4 * 13 + 7 + 18 + 7
    assert longest_check(mounts=2, stat_timeout=2, unmount_timeout=10, mount_timeout=15) == 2 * one - 32


def test_the_settings_survive_bash() -> None:
    values = monitor_settings(
        mounts=[("127.0.0.1:/k3svolumes", "/data/nfs/k3svolumes"), ("127.0.0.1:/it's $(id)", "/srv/a b")],
        port=2323,
        service="stunnel.service",
        move_seconds=15,
        stat_timeout=2,
        unmount_timeout=10,
        mount_timeout=15,
        metrics_file=None,
        escalate_after=0,
        escalate_command=None,
    )
    program = render("nfs-mount.conf.j2", **values) + (
        'printf "%s|" "${MOUNT_SOURCES[@]}" "${MOUNT_POINTS[@]}" "$TUNNEL_PORT" "$TUNNEL_SERVICE" "$MOVE_SECONDS" '
        '"$STAT_SECONDS" "$UMOUNT_SECONDS" "$MOUNT_SECONDS" "$TEXTFILE" "$ESCALATE_AFTER" "$ESCALATE_COMMAND"'
    )
    done = subprocess.run(["bash", "-u", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == (
        "127.0.0.1:/k3svolumes|127.0.0.1:/it's $(id)|/data/nfs/k3svolumes|/srv/a b|2323|stunnel.service|15|2|10|15||0||"
    )
