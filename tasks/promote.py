"""The standby becomes the host that writes, as the primary is lost or away for long. --dry says what would be done.

    pyinfra inventory.py tasks/promote.py --data promote=f1
    pyinfra inventory.py tasks/promote.py --limit storage_standby --data promote=f1 --data promote_powered_off=f0 --dry

Refused, with every reason, unless the standby is ready and the old primary is provably out: in this run and without the
address, when it is stopped first, or without power by the operator's word. What the old primary wrote after its last
replication is named, in seconds, and given up only for a --data promote_from= that names that snapshot. The old primary
learns of it as soon as it reaches the standby, and stays out (docs/controller.md, Who writes).
The way back: tasks/return_primary.py. To stay so for good: tasks/swap_roles.py.
"""

from pyinfra import logger
from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from bridge.settings import site, this_host
from bridge.view import looked_at_pair
from f3s.verify.promotion import plan_promotion
from operations import move, order, reasons

wanted = host.data.get("promote")
if not wanted:
    raise DeployError("say which host is to write from now on: --data promote=f1")

if this_host().is_storage:
    standby, primary = site().standby, site().primary
    plan = plan_promotion(looked_at_pair(), wanted, host.data.get("promote_powered_off"), host.data.get("promote_from"))
    if plan.refusals:
        raise DeployError("no promotion now:\n" + "\n".join(f"- {reason}" for reason in plan.refusals))
    if this_host().name == standby.name and plan.missing:
        host.log(plan.missing, logger.warning)

    if plan.stop and this_host().name == primary.name:
        move.stopped(name=f"promote: {primary.short_name} stops serving")
order.barrier(name="promote: the old primary is out")
if this_host().name == site().standby.name:
    if plan.why:
        move.nothing(name="promote: nothing to do", why=plan.why)
    else:
        move.promoted(name=f"promote: {standby.short_name} writes from now on", old=primary, stopped_first=plan.stop)
order.barrier(name="promote: the standby writes")
if this_host().is_storage and plan.start and this_host().name == primary.name:
    move.started(name=f"promote: {primary.short_name} learns of it, and stays out")

reasons.none_left()
