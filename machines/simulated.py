"""The machines' inventory in the simulated cluster: the same hosts, devices and group_data, for `machines.compare`."""

import runpy as _runpy

from lab.core import state_dir as _state_dir
from scenarios.stage import REPOSITORY as _REPOSITORY

for _group, _members in _runpy.run_path(str(_REPOSITORY / "machines/inventory.py")).items():
    if isinstance(_members, list) and not _group.startswith("_"):
        globals()[_group] = [
            (f"@lab/{_name}", {**_data, "pki_directory": str(_state_dir() / "secrets")}) for _name, _data in _members
        ]
