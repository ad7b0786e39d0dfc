"""Planned failover: the standby serves (read-only) until tasks/failback.py, even if the primary could serve.

    pyinfra inventory.py tasks/failover.py

Refused, with every reason, unless the standby is ready, its replica is fresh and has not diverged, and nothing else is
in progress. The steps run on the primary: from then on clients only read, the last write is replicated, and then the
address moves. If the standby does not serve in the end, the address goes back at once. At least one client has to take
part: it sees who serves. Until failback, automatic failback is off (docs/controller.md:
the hold). If the standby serves already, unplanned, only the hold is set. After a killed run, this one does what was
left.
"""

from pyinfra.api.exceptions import DeployError

from bridge.settings import site, this_host
from bridge.view import looked_at_pair, needs_primary
from f3s.verify.move import Left, plan_failover
from operations import move, reasons

needs_primary()

if this_host().is_primary:
    standby = site().standby
    plan = plan_failover(looked_at_pair())

    if plan.refusals:
        raise DeployError("no failover now:\n" + "\n".join(f"- {reason}" for reason in plan.refusals))
    if plan.left is Left.NOTHING:
        move.nothing(name="failover: nothing to do", why=plan.why)
    if plan.left is Left.HOLD:
        move.given(name=f"failover: {standby.short_name} serves already, and is held there", verb="backup")
    if plan.left is Left.ALL:
        move.given(name=f"failover: the address goes to {standby.short_name} and is held there", verb="backup")
    if plan.left in (Left.ALL, Left.PROOF):
        move.proven_or_undone(
            name=f"failover: {standby.short_name} serves, or the address comes back",
            target=standby,
            site=site(),
            undo="master",
        )

reasons.none_left()
