"""The USB sticks with the keys of all encrypted datasets, the same keys on every stick.

`--data escrow_from=FILE` takes keys that no stick has any more from a copy: that of tasks/escrow.py, or one from paper.

The stick is not in /etc/fstab: a missing one would then stop the boot before the network is up (observed).
"""

import re

from pyinfra.context import host
from pyinfra.operations import files

from bridge.escrow import copies
from bridge.settings import site, this_host
from facts.base import FILES
from operations import rcconf, reasons, usb

me = this_host()

if me.is_freebsd:
    usb.formatted(
        name="USB keys: a stick with the label (a blank one is formatted)",
        device=me.usb.device,
        label=me.usb.label,
        mountpoint=me.usb.mountpoint,
        allow=me.usb.format_allow,
    )

    files.directory(name="USB keys: mount point", path=me.usb.mountpoint)

    # in /etc/rc.d, because the boot needs it before it has mounted anything else
    files.put(
        name="USB keys: rc.d script f3skeys mounts the stick before zfskeys loads the keys",
        src=str(FILES / "freebsd" / "f3skeys"),
        dest="/etc/rc.d/f3skeys",
        user="root",
        group="wheel",
        mode="555",
    )

    rcconf.variables(
        name="USB keys: f3skeys in rc.conf",
        values={
            "f3skeys_enable": "YES",
            "f3skeys_label": me.usb.label,
            "f3skeys_mountpoint": me.usb.mountpoint,
        },
    )

    # After f3skeys is in place, so that a reboot in between finds the stick either way. The mount point is the second
    # field (fstab(5)); a line that has it elsewhere belongs to another file system.
    files.line(
        name="USB keys: no line for the stick in /etc/fstab",
        path="/etc/fstab",
        line=rf"^[[:space:]]*[^#[:space:]][^[:space:]]*[[:space:]]+{re.escape(me.usb.mountpoint)}/?[[:space:]].*$",
        present=False,
        extended_regex=True,
    )

    usb.mounted_read_only(name="USB keys: stick mounted read-only", label=me.usb.label, mountpoint=me.usb.mountpoint)

    # one host after the other: the first makes the keys that no stick has, the others copy them
    usb.keys(
        name="USB keys: every key on every stick",
        names=site().key_names,
        holders=[holder.name for holder in site().freebsd_hosts],
        label=me.usb.label,
        mountpoint=me.usb.mountpoint,
        copies=copies(kept) if (kept := host.data.get("escrow_from")) else None,
        _serial=True,
    )

reasons.none_left()
