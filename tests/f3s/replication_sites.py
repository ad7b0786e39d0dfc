"""Sites with other replication jobs than the shipped one's, checked by nobody."""

from __future__ import annotations

from f3s.settings import HostSettings, Job, Site
from tests.f3s.settings_data import F0, F1, F2, build, good

__all__ = ["F0", "F1", "F2", "SHIPPED", "job", "site"]
SHIPPED: Site = build(good())


def job(name: str, source: str, target: str, dataset: str = "zdata/enc/nfsdata", interval: str = "1m") -> Job:
    return Job(name=name, source=source, target=target, dataset=dataset, interval=interval)


def site(*jobs: Job) -> Site:
    """The FreeBSD hosts of the shipped site with these jobs."""

    def with_jobs(host: HostSettings) -> HostSettings:
        return HostSettings(
            host.name, host.groups, {**host.parts, "zrepl": host.zrepl.model_copy(update={"jobs": jobs})}
        )

    return Site(tuple(with_jobs(host) for host in SHIPPED.freebsd_hosts))
