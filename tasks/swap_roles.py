"""The promoted standby becomes the primary for good, and the old primary the standby, as the inventory says already.

    pyinfra inventory.py tasks/swap_roles.py [--dry]
    pyinfra inventory.py deploy.py

Before it, swap the hosts of storage_primary and storage_standby in the inventory, and turn the job of the NFS data
round. Clients write all the time, and nothing is destroyed. What the old primary had written and never replicated is
kept beside, in a dataset with _set_aside_ in its name. Every step, and how a run that was interrupted goes on, is told
in f3s/swapping.py.
"""

from pyinfra.context import host

from bridge.settings import rendered, site, this_host
from bridge.view import needs_primary
from f3s.controller import wanted_values
from f3s.swapping import Means
from facts.base import FILES
from operations import reasons, swapping

needs_primary()

if this_host().is_primary:
    values = {
        each.name: rendered("storage.conf.j2", {"variables": wanted_values(each, site()).variables}).getvalue()
        for each in site().storage_hosts
    }
    means = Means((FILES / "once" / "take-role.sh").read_text(), values)
    for step in host.loop(tuple(swapping.checked(site(), means).steps())):
        swapping.step(name=f"swap: {step.title}", planned=step, site=site(), means=means)
    swapping.finished(name=f"swap: {site().primary.short_name} is the primary", site=site(), means=means)

reasons.none_left()
