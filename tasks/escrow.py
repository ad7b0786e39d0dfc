"""A sealed copy of all keys in the secrets folder of the controller: what is left if all sticks are lost.

    pyinfra inventory.py tasks/escrow.py -y
    pyinfra inventory.py tasks/escrow.py -y --data escrow_certificate=me.pem
    pyinfra inventory.py tasks/escrow.py -y --data escrow_paper=f0.lan.buetow.org:zdata

It asks for a passphrase, or seals for whoever has the private key of the certificate; the third writes one key in a
form that a person can type. `tasks/usb_keys.py --data escrow_from=FILE` brings any of them back to the sticks.
"""

from pyinfra.context import host

from bridge.escrow import sealing, write_on_paper
from bridge.settings import site, this_host
from operations import reasons, usb
from tasks.shared import speaks_for_all

me = this_host()
into = sealing(host.data.get("escrow_certificate") or "")
on_paper = host.data.get("escrow_paper")

# the sticks have the same keys, so one that is there is enough
if speaks_for_all():
    usb.exported(
        name=f"escrow: {on_paper} on paper" if on_paper else "escrow: all keys in the sealed file",
        names=[on_paper] if on_paper else site().key_names,
        label=me.usb.label,
        mountpoint=me.usb.mountpoint,
        only=bool(on_paper),
        has={} if on_paper else into.has,
        write=write_on_paper if on_paper else into.write,
    )

reasons.none_left()
