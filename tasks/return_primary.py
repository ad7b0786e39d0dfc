"""The repaired primary becomes the host that writes again, with all that clients wrote on the promoted standby.

    pyinfra inventory.py tasks/return_primary.py --data return_to=f0 [--dry]

Clients write on until the last difference is sent; then they only read for some seconds. Nothing is lost that they were
told was written. What the primary had written before its death and never replicated is kept beside, in a dataset with
_set_aside_ in its name. One without its data, on a new disk, gets all of them. Every step, and how a run that was
interrupted goes on, is told in f3s/returning.py.
"""

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from bridge.settings import site, this_host
from bridge.view import looked_at_pair, needs_primary
from f3s.returning import Step, refusals
from f3s.verify.promotion import unfit_for_return
from operations import reasons, returning

wanted = host.data.get("return_to")
if wanted not in (site().primary.name, site().primary.short_name):
    raise DeployError(f"say where the role goes back to: --data return_to={site().primary.short_name}")
needs_primary()

if this_host().is_primary:
    problems = unfit_for_return(looked_at_pair())
    steps: tuple[Step, ...] = ()
    if not problems:
        way = returning.way(site())
        problems, steps = refusals(way), tuple(way.steps())
    if problems:
        raise DeployError("no return now:\n" + "\n".join(f"- {reason}" for reason in problems))
    for step in host.loop(steps):
        returning.step(name=f"return: {step.title}", planned=step, site=site())
    returning.finished(name=f"return: {site().primary.short_name} writes", site=site())

reasons.none_left()
