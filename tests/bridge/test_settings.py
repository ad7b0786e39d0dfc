"""The settings as a task gets them from pyinfra's inventory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import InventoryError
from pyinfra.api.inventory import Inventory
from pyinfra.context import ctx_host, ctx_inventory

import bridge.settings
from bridge.settings import REPOSITORY, site, this_host
from f3s.settings import build_site
from tests.f3s.settings_data import EVERY, F0, F1, R0, STORAGE, good


def inventory(**override: Any) -> Inventory:
    """The shipped site, its groups holding no data of their own."""
    hosts = good()
    groups = sorted({group for names, _ in hosts.values() for group in names})
    return Inventory(
        ([(host, data) for host, (_, data) in hosts.items()], {}),
        override_data=override,
        **{group: ([host for host in hosts if group in hosts[host][0]], {}) for group in groups},
    )


@contextmanager
def run_on(host: str, hosts: Inventory) -> Iterator[None]:
    with ctx_inventory.use(hosts), ctx_host.use(hosts.get_host(host)):
        yield


def test_the_host_of_the_task_and_all_others() -> None:
    hosts = inventory()
    with run_on(F1, hosts):
        assert this_host().name == F1
        assert this_host().is_standby
        assert tuple(host.name for host in site().hosts) == EVERY
    with run_on(R0, hosts):
        assert this_host().is_client
        assert site().primary.name == F0


def test_the_data_is_checked_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(bridge.settings, "build_site", lambda *given: calls.append(1) or build_site(*given))
    hosts = inventory()
    for host in EVERY:
        with run_on(host, hosts):
            assert this_host().name == host
    assert len(calls) == 1
    with run_on(F0, inventory(usb_device="da1")):
        assert this_host().usb.device == "da1"
    assert len(calls) == 2


def test_overrides_are_checked_too() -> None:
    with run_on(F0, inventory(carp_vhid=255)):
        with pytest.raises(InventoryError) as caught:
            this_host()
        assert str(caught.value).splitlines()[1:] == [
            f"  {host}: carp_vhid = 255: is out of range; allowed: a whole number from 1 to 254" for host in STORAGE
        ]


def problems_of(folder: Path) -> list[str]:
    """In a process of its own: pyinfra's command line patches the interpreter."""
    loads = "from bridge.settings import load_site; load_site('inventory.py')"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(
        [sys.executable, "-c", loads], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    return ran.stderr[ran.stderr.index("in inventory.py or group_data:") :].splitlines()[1:]


def test_a_host_that_is_none_and_a_group_without_brackets_are_named(tmp_path: Path) -> None:
    text = (REPOSITORY / "inventory.py").read_text().replace("storage_primary = [_f0]", "storage_primary = _f0")
    text = text.replace('{"lan_address": "192.168.1.122"}', '"192.168.1.122"')
    (tmp_path / "inventory.py").write_text(text)
    named = "allowed: 'NAME', or ('NAME', {'VARIABLE': value})"
    assert problems_of(tmp_path) == [
        f"  {tmp_path}/inventory.py: clients = ('r2.lan.buetow.org',): is no host; {named}",
        f"  {tmp_path}/inventory.py: storage_primary = a tuple: is no list of hosts; allowed: [HOST, ...]",
    ]


def test_data_that_nothing_would_read_is_refused(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "inventory.py", tmp_path)
    shutil.copytree(REPOSITORY / "group_data", tmp_path / "group_data")
    (tmp_path / "group_data" / "storage_primery.py").write_text("pool_disk_serial = 'S1'\n")
    (tmp_path / "group_data" / "storage.py").open("a").write("_dos = True\n")
    meant = "did you mean storage_primary?; allowed: storage_primary"
    assert problems_of(tmp_path) == [
        f"  {tmp_path}/group_data: group = 'storage_primery': is unknown; {meant}",
        *(f"  {host}: _dos = True: is unknown; did you mean _doas?; allowed: _doas" for host in STORAGE),
    ]
