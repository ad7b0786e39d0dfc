"""The datasets of vm-bhyve stand below an encrypted parent, and the virtual machines run from there.

The old tree is kept, read-only and unmounted, until `bhyve_destroy_old` names the host. What the steps are, how an
interrupted run goes on and why nothing gets lost is told in f3s/bhyve/.

The virtual machines of a host are off from the first step to the last. Where the clients of the same inventory are
such machines, migrate one host at a time with `--limit`, before the first run of the whole deploy: pyinfra does not
connect again to a client that went down under it.
"""

from pyinfra.context import host

from bridge.settings import this_host
from f3s.bhyve.model import Wanted
from operations import bhyve, rcconf, reasons, zfs

me = this_host()

if me.is_freebsd:
    wanted = Wanted(
        dataset=me.bhyve.dataset,
        old=me.bhyve.old_dataset,
        snapshot=me.bhyve.snapshot,
        key_file=me.key_file(me.bhyve.key),
        encryption=me.enc.encryption,
        stick=f"ufs/{me.usb.label}",
        stop_timeout=me.bhyve.stop_timeout,
        destroy_old=me.name in me.bhyve.destroy_old,
        programs=bhyve.PROGRAMS,
    )

    # the plan of the whole migration, an operation for each step; a host that is done has none
    plan = bhyve.left_at_first(wanted)
    for step in host.loop(plan.steps):
        bhyve.step(name=f"VMs: {step.title}", planned=step, wanted=wanted)

    # at boot the key is loaded before vm starts the virtual machines
    if plan.key_at_boot:
        zfs.keys_loaded_at_boot(
            name="VMs: key that the boot loads", datasets=[me.bhyve.dataset], sink=me.zrepl.sink_root
        )
        rcconf.variables(
            name="VMs: pools are imported and keys loaded at boot",
            values={"zfs_enable": "YES", "zfskeys_enable": "YES"},
        )

    bhyve.finished(name=f"VMs: {me.bhyve.dataset} and all below it is encrypted", planned=plan, wanted=wanted)

reasons.none_left()
