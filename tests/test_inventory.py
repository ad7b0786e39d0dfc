"""The shipped inventory.py under the real pyinfra command: wrong data stops it before it contacts a host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYINFRA = Path(sys.executable).with_name("pyinfra")
CONNECTING = "Connecting to hosts"


def pyinfra(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # no proxy and no agent: should a bug make it connect, it fails at once
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    return subprocess.run(
        [str(PYINFRA), *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


HOSTS = [f"f{number}.lan.buetow.org" for number in range(3)]


def assert_refused(run: subprocess.CompletedProcess[str], hosts: list[str], *lines: str) -> None:
    """Each of these hosts is told each of these lines, and nobody anything else."""
    assert run.returncode == 1, run.stdout
    for line in (f"{host}: {each}" for host in hosts for each in lines):
        assert f"\n  {line}\n" in run.stdout
    assert f": {len(hosts) * len(lines)} problem" in run.stdout
    assert "Traceback" not in run.stdout
    assert CONNECTING not in run.stdout


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A copy of the shipped data, to be spoilt."""
    shutil.copy(ROOT / "inventory.py", tmp_path)
    shutil.copytree(ROOT / "group_data", tmp_path / "group_data")
    return tmp_path


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_shipped_data_is_accepted() -> None:
    run = pyinfra("inventory.py", "debug-inventory")
    assert run.returncode == 0, run.stdout
    assert "[f0.lan.buetow.org]" in run.stdout
    assert "--> Groups: freebsd, storage_primary, storage, inventory" in run.stdout
    assert "--> Groups: clients, inventory" in run.stdout
    assert '"_doas": true' in run.stdout
    assert '"_sudo": true' in run.stdout
    assert CONNECTING not in run.stdout


def test_all_problems_of_inventory_and_group_data_stop_a_deploy(site: Path) -> None:
    spoil(site / "inventory.py", '"lan_address": "192.168.1.131"', '"lan_address": "192.168.1.300"')
    spoil(site / "inventory.py", '"lan_address": "192.168.1.130"', '"lan_address": "192.168.1.300"')
    spoil(site / "group_data" / "storage.py", "carp_vhid = 1 ", "carp_vhdi = 1 ")
    spoil(site / "group_data" / "storage.py", "carp_password = None", 'carp_password = "changeme"')
    known = "advbase failback_losses failback_quiet interface other_vhids password unicast vhid"
    assert_refused(
        pyinfra("inventory.py", "exec", "--", "true", cwd=site),
        HOSTS[:2],
        "carp_password = (hidden): is a placeholder; "
        "allowed: 8 to 19 letters, digits and ._+, or None for one that certificates.py makes",
        f"carp_vhdi = 1: is unknown; did you mean carp_vhid?; allowed: {', '.join(f'carp_{x}' for x in known.split())}",
        "carp_vhid = (not set): is missing; allowed: a whole number from 1 to 254",
        "lan_address = '192.168.1.300': is not an IPv4 address; allowed: an IPv4 address such as 192.168.1.130",
    )


def test_values_of_the_command_line_are_checked_too() -> None:
    run = pyinfra("inventory.py", "exec", "--data", "zrepl_rollback_replicas=nfsdata", "--", "true")
    says = "is not the name of a job; allowed: f0_to_f1_nfsdata or f0_to_f1_fedora"
    assert_refused(run, ["site"], f"zrepl_rollback_replicas = 'nfsdata': {says}")


def test_group_data_of_the_command_line_mends_and_spoils(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    spoil(site / "group_data" / "storage.py", 'carp_interface = "re0"', "carp_interface = None")
    more = tmp_path_factory.mktemp("more")
    (more / "storage.py").write_text('carp_interface = "em0"\n')
    without = pyinfra("inventory.py", "debug-inventory", cwd=site)
    with_it = pyinfra("inventory.py", "debug-inventory", "--group-data", str(more), cwd=site)
    allowed = "allowed: an interface name such as re0, 15 characters at most"
    assert_refused(without, HOSTS[:2], f"carp_interface = None: is not text (a quoted string); {allowed}")
    assert with_it.returncode == 0, with_it.stdout
    assert '"carp_interface": "em0"' in with_it.stdout


def test_from_another_folder(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    accepted = pyinfra(str(site / "inventory.py"), "debug-inventory", cwd=elsewhere)
    spoil(site / "group_data" / "freebsd.py", 'usb_device = "da0"', 'usb_device = "/dev/da0"')
    refused = pyinfra(str(site / "inventory.py"), "debug-inventory", cwd=elsewhere)
    assert accepted.returncode == 0, accepted.stdout
    allowed = "allowed: a whole device by its name below /dev, such as da0"
    assert_refused(refused, HOSTS, f"usb_device = '/dev/da0': has not the right form; {allowed}")
