"""vm-bhyve's datasets stand below an encrypted parent, the virtual machines run from there.

The old tree is kept, read-only and unmounted, until `bhyve_destroy_old` names the host. What the steps are, how an
interrupted run goes on and why nothing gets lost is told in f3s/bhyve.py.

The virtual machines of a host are off from the first step to the last. Where the clients of the same inventory are
such machines, migrate one host at a time with `--limit`, before the first run of the whole deploy: pyinfra does not
connect again to a client that went down under it.
"""

from __future__ import annotations

from pyinfra.context import host

from operations import bhyve, rcconf
from tasks.common import this_host

settings = this_host()

if settings.is_freebsd:
    wanted = bhyve.wanted(
        dataset=settings.bhyve.dataset,
        old=settings.bhyve.old_dataset,
        snapshot=settings.bhyve.snapshot,
        key_file=settings.key_file(settings.bhyve.key),
        stop_timeout=settings.bhyve.stop_timeout,
        destroy_old=settings.name in settings.bhyve.destroy_old,
    )

    # the plan of the whole migration, one operation for each step; a host that is done has none
    for step in host.loop(bhyve.remaining(wanted)):
        bhyve.step(planned=step, wanted=wanted, name=f"bhyve_migrate: {step.title}")

    # at boot zfskeys loads the key before vm starts
    if bhyve.encrypts(wanted):
        title = f"bhyve_migrate: the key of {wanted.dataset} is loaded at boot"
        rcconf.variables(values={"zfskeys_enable": "YES"}, name=title)
        rcconf.list_entries(variable="zfskeys_datasets", entries=[wanted.dataset], name=f"{title}, by its name")

    # a refusal is reported here, before anything was changed
    bhyve.finished(wanted=wanted, name=f"bhyve_migrate: {wanted.dataset} is encrypted")
