"""Order between hosts. pyinfra itself keeps the order only on each host."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand


@operation()
def barrier() -> Generator[PyinfraCommand]:
    """
    Nothing that comes later in the deploy runs on any host before everything above has run on all hosts.

    pyinfra sorts operations by their order on each single host (``State.get_op_order``, 3.10.0). Operations of f0 alone
    and of f1 alone are interleaved, whatever the deploy's text says. An operation that all hosts share comes after
    everything above and before everything below on each host, and so separates the two.

    **Example:**

    .. code:: python

        order.barrier(name="zrepl: sources and sinks are configured")
    """
    host.noop("every host has come this far")
    yield from ()
