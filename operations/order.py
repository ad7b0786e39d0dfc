"""Order between hosts. pyinfra itself keeps the order only on each host."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host, state

from operations.base import executing
from operations.reasons import operation


@operation()
def barrier() -> Generator[PyinfraCommand]:
    """Nothing that comes later in the deploy runs on any host before everything above has run on all hosts.

    pyinfra sorts operations by their order on each single host (``State.get_op_order``, 3.10.0). Operations of f0 alone
    and of f1 alone are interleaved, whatever the deploy's text says. An operation that all hosts share comes after
    everything above and before everything below on each host, and so separates the two.

    Where a host has failed above, the run ends here: pyinfra alone would go on with the others, and leave the cluster
    in a state between two tasks.

    :raises OperationError: a host has failed

    **Example:** `order.barrier(name="zrepl: sources and sinks are configured")`
    """
    failed = [each.name for each in state.failed_hosts if state.results[each].error_ops] if executing() else []
    if failed:
        raise OperationError(
            f"{', '.join(sorted(failed))} failed above, so no host goes on. Mend that, then run this again"
        )
    host.noop("every host has come this far")
    yield from ()
