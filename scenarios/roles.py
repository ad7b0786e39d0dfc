"""What an operator edits in the inventory for other roles, for the inventories of the lab and of machines."""

from __future__ import annotations

import os
import runpy
from typing import Any

from scenarios.stage import REPOSITORY

PRIMARY = "F3S_PRIMARY"
"""An environment variable: the short name of the storage host that is the primary."""
STANDBY = "F3S_STANDBY"
"""An environment variable: the short name of the FreeBSD host that is the standby."""


def as_edited(groups: dict[str, Any]) -> dict[str, Any]:
    """The names of the site's inventory.py: as they are, unless `PRIMARY` or `STANDBY` names another host.

    Then the groups have these two, and what is replicated goes to them.
    """
    members = {name.partition(".")[0]: (name, data) for name, data in groups["freebsd"]}
    before = [name.partition(".")[0] for role in ("primary", "standby") for name, _ in groups[f"storage_{role}"]]
    primary = os.environ.get(PRIMARY, before[0])
    after = [primary, os.environ.get(STANDBY, next(name for name in before if name != primary))]
    if after == before:
        return groups
    values = runpy.run_path(str(REPOSITORY / "group_data" / "freebsd.py"))
    jobs = []
    for job in values["zrepl_jobs"]:
        source, _, target, what = job["name"].split("_")
        if job["dataset"] == values["nfs_dataset"]:
            source, target = after
        elif target not in after:
            target = after[1]
        hosts = {"source": members[source][0], "target": members[target][0]}
        jobs.append({**job, "name": f"{source}_to_{target}_{what}", **hosts})

    def edited(member: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        host, data = member
        return host, {**data, "zrepl_jobs": jobs} if "wireguard_address" in data else data

    first, second = ([members[name]] for name in after)
    now = {**groups, "storage_primary": first, "storage_standby": second, "storage": [*first, *second]}
    return {
        name: [edited(member) for member in value] if isinstance(value, list) and not name.startswith("_") else value
        for name, value in now.items()
    }
