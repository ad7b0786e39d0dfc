"""What an operator edits in the inventory for tasks/swap_roles.py, for the inventories of the lab and of machines."""

from __future__ import annotations

import os
import runpy
from typing import Any

from scenarios.stage import REPOSITORY

PRIMARY = "F3S_PRIMARY"
"""An environment variable: the short name of the storage host that is the primary."""


def as_edited(groups: dict[str, Any]) -> dict[str, Any]:
    """The names of the site's inventory.py: as they are, unless `PRIMARY` names the standby.

    Then the two groups are swapped, and the job of what is served goes the other way.
    """
    primary, standby = groups["storage_primary"], groups["storage_standby"]
    (old,), (new,) = ([name for name, _ in members] for members in (primary, standby))
    if os.environ.get(PRIMARY) != _short(new):
        return groups
    values = runpy.run_path(str(REPOSITORY / "group_data" / "freebsd.py"))
    name = f"{_short(new)}_to_{_short(old)}_nfsdata"
    jobs = [
        {**job, "name": name, "source": new, "target": old} if job["dataset"] == values["nfs_dataset"] else job
        for job in values["zrepl_jobs"]
    ]

    def edited(member: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        host, data = member
        return host, {**data, "zrepl_jobs": jobs} if "wireguard_address" in data else data

    swapped = {**groups, "storage_primary": standby, "storage_standby": primary}
    return {
        name: [edited(member) for member in value] if isinstance(value, list) and not name.startswith("_") else value
        for name, value in swapped.items()
    }


def _short(name: str) -> str:
    return name.partition(".")[0]
