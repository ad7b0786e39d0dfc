"""One typed, checked settings object for each host, built from inventory.py and group_data/."""

from f3s.settings.build import HostData, build_site, unknown_name
from f3s.settings.model import Job, Mount, Share
from f3s.settings.problems import Problem, SettingsError
from f3s.settings.site import HostSettings, Site

__all__ = [
    "HostData",
    "HostSettings",
    "Job",
    "Mount",
    "Problem",
    "SettingsError",
    "Share",
    "Site",
    "build_site",
    "unknown_name",
]
