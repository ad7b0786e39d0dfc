"""The site's own inventory on machines: other addresses for ssh, other devices, the site's own group_data."""

import json as _json
import runpy as _runpy

from machines.site import PLAYERS as _PLAYERS
from machines.site import folder as _folder_of
from scenarios.roles import as_edited as _as_edited
from scenarios.stage import REPOSITORY as _REPOSITORY

_folder = _folder_of()
_notes = _json.loads((_folder / "cluster.json").read_text()) if (_folder / "cluster.json").exists() else {}
_devices = {"usb_device": "da0", "pool_disk": "ada1", "carp_interface": "vtnet0"}


def _on_machine(name: str, data: dict[str, object]) -> tuple[str, dict[str, object]]:
    short = name.split(".")[0]
    reach = {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": _notes.get(short, {}).get("port", 0),
        "ssh_key": str(_folder / "key"),
        "ssh_known_hosts_file": "/dev/null",
        "ssh_strict_host_key_checking": "off",
        # a guest that has just booted may take longer than a connection waits
        "ssh_connect_retries": 3,
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "pki_directory": str(_folder / "secrets"),
    }
    own = {"ssh_user": "paul", **_devices} if "wireguard_address" in data else {"ssh_user": "root", "_sudo": False}
    return name, {**data, **reach, **own}


for _group, _members in _as_edited(_runpy.run_path(str(_REPOSITORY / "inventory.py"))).items():
    if isinstance(_members, list) and not _group.startswith("_"):
        globals()[_group] = [_on_machine(*member) for member in _members if member[0].split(".")[0] in _PLAYERS]
