"""Planned failback: the primary serves again, and automatic failback is no longer held off.

    pyinfra inventory.py tasks/failback.py

Refused, with every reason, unless the primary is ready and the replica is fresh and has not diverged: what was written
on the standby would be lost. If the primary does not serve in the end, the address goes back to the standby and is held
there. At least one client has to take part: it sees who serves.
"""

from pyinfra.api.exceptions import DeployError

from bridge.settings import site, this_host
from bridge.view import looked_at_pair, needs_primary
from f3s.verify.move import Left, plan_failback
from operations import move, reasons

needs_primary()

if this_host().is_primary:
    primary = site().primary
    plan = plan_failback(looked_at_pair())

    if plan.refusals:
        raise DeployError("no failback now:\n" + "\n".join(f"- {reason}" for reason in plan.refusals))
    if plan.left is Left.NOTHING:
        move.nothing(name="failback: nothing to do", why=plan.why)
    else:
        move.given(name=f"failback: {primary.short_name} takes the address", verb="master")
        move.proven_or_undone(
            name=f"failback: {primary.short_name} serves, or the address goes back",
            target=primary,
            site=site(),
            undo="backup",
        )

reasons.none_left()
