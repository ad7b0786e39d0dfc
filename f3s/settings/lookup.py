"""Reading settings that may be incomplete: a refused value is left out, and a check that needs it is skipped."""

from __future__ import annotations

from typing import Any

from f3s.settings.model import Job
from f3s.settings.site import HostSettings, Site

REFUSED = "refused_fields"
"""Where an incomplete part keeps the names of its refused fields, including those with a refused item."""


def get(host: HostSettings, name: str) -> Any:
    """The value of ``prefix.field``; None when it is None, was refused, or is not for this host."""
    prefix, field = name.split(".")
    return getattr(host.parts.get(prefix), field, None)


def is_none(host: HostSettings, name: str) -> bool:
    """Whether the value of ``prefix.field`` is there and is None."""
    prefix, field = name.split(".")
    return getattr(host.parts.get(prefix), field, "refused") is None


def accepted(host: HostSettings, name: str) -> bool:
    """Whether no rule refused the value of ``prefix.field`` or an item of it (a refused item would be left out)."""
    prefix, field = name.split(".")
    return field not in getattr(host.parts.get(prefix), REFUSED, ())


def variable(name: str) -> str:
    """The name of ``prefix.field`` in inventory.py and group_data/."""
    return name.replace(".", "_", 1)


def jobs_of(site: Site) -> tuple[Job, ...]:
    """The jobs of the first host that has any. If another host has others, that is reported as a disagreement."""
    return next((jobs for host in site.hosts if (jobs := get(host, "zrepl.jobs")) is not None), ())
