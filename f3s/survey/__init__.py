"""A site that is there already, as data: what its hosts said becomes lines of inventory.py and group_data/.

Names, places and numbers of the site are proposed where they differ from group_data/. What cannot be said as data is a
note. What a run would change is not said here: a run says so itself, before it changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from f3s.survey.files import files, report
from f3s.survey.hosts import keys, networks, pools, roles, tell, virtual_address
from f3s.survey.model import Draft, Proposal, Seen, served
from f3s.survey.replication import jobs
from f3s.survey.sharing import mounts, nfs, tunnels


def proposal(
    hosts: Mapping[str, Seen],
    defaults: Mapping[str, Mapping[str, object]],
    modes: Mapping[str, str] | None = None,
) -> Proposal:
    """The files for a site, and the report.

    + hosts: by name, in the order of the inventory
    + defaults: group -> the variables of its file in group_data/
    + modes: octal modes of the shared directories, where they are known
    """
    draft = Draft(hosts, defaults, {name: {} for name in hosts})
    for name, seen in hosts.items():
        tell(draft, name, seen)
    what = served(hosts)
    keys(draft, what)
    primary, standby = roles(draft, what)
    pools(draft)
    virtual_address(draft, primary, standby)
    networks(draft)
    jobs(draft, what, primary, standby)
    nfs(draft, what, primary, standby)
    tunnels(draft)
    mounts(draft, what, modes or {})
    return Proposal(files(draft, primary, standby), report(draft))
