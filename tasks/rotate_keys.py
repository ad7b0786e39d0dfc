"""A new key for all datasets that one key opens, on every stick, while they are in use. --dry says what would be done.

    pyinfra inventory.py tasks/rotate_keys.py
    pyinfra inventory.py tasks/rotate_keys.py --data rotate_key=f0.lan.buetow.org:zdata [--dry]
    pyinfra inventory.py tasks/rotate_keys.py --data rotate_retire=f0.lan.buetow.org:zdata

The first says which key opens what. The second ends when the new key opens every dataset, the replicas as well; the
old one stays on the sticks, as NAME.old.key. The third takes that away, if nothing needs it. The data are not encrypted
anew: whoever has the old key and an old copy of the disks can read that copy. Every step is told in f3s/rotation.py. A
run that was interrupted is run again.
"""

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from bridge.settings import site
from operations import reasons, rotation
from tasks.shared import speaks_for_all

rotated, retired = host.data.get("rotate_key"), host.data.get("rotate_retire")
key, retires = rotated or retired, bool(retired)
if (rotated and retired) or key not in (None, *site().key_names):
    raise DeployError(f"say which key: --data rotate_key=NAME, or rotate_retire=NAME; {', '.join(site().key_names)}")

if speaks_for_all():
    if key is None:
        rotation.told(name="rotate: which key opens what", site=site())
    else:
        now = rotation.rotation(site(), key, retires)
        if problems := now.refusals():
            raise DeployError("no rotation now:\n" + "\n".join(f"- {reason}" for reason in problems))
        for step in host.loop(tuple(now.steps())):
            rotation.step(name=f"rotate: {step.title}", planned=step, site=site(), key=key, retires=retires)
        rotation.finished(name=f"rotate: {key}", site=site(), key=key, retires=retires)

reasons.none_left()
