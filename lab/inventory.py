"""The site's own inventory with every host reached through the lab's connector; group_data is the site's, too.

`pyinfra lab/inventory.py deploy.py -y` in place of `pyinfra inventory.py deploy.py`.
"""

import runpy as _runpy
from pathlib import Path as _Path

from lab.core import state_dir as _state_dir
from scenarios.roles import as_edited as _as_edited

_site = _as_edited(_runpy.run_path(str(_Path(__file__).resolve().parent.parent / "inventory.py")))
_Member = str | tuple[str, dict[str, object]]
_secrets = str(_state_dir() / "secrets")


def _in_lab(member: _Member) -> tuple[str, dict[str, object]]:
    """A host of the site, reached through the lab; its secrets stay in the lab's state folder."""
    name, data = member if isinstance(member, tuple) else (member, dict[str, object]())
    return f"@lab/{name}", {**data, "pki_directory": _secrets}


for _name, _members in _site.items():
    if isinstance(_members, list) and not _name.startswith("_"):
        globals()[_name] = [_in_lab(_member) for _member in _members]
