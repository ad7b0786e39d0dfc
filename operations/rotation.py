"""The steps of the rotation of a key, planned by f3s.rotation from the facts of the moment.

All of them run in the turn of one host, their commands on that which they are for. Keys pass through the controller's
memory and standard input only.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Generator

import click
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.escrow import line
from f3s.keycheck import KeyCheck
from f3s.keys import KEY_BYTES
from f3s.quoting import Shell
from f3s.rotation import OLD, Holder, Line, Rotation, Step, opens
from f3s.settings import Site
from facts.base import script
from facts.controller import StorageController
from facts.usb import KeyStick
from facts.zfs import Datasets, KeyChecks, Snapshots
from operations.base import On, executing, in_turn, known_of, nothing_left
from operations.reasons import operation
from operations.usb import read, roots_of, written

_made: dict[str, bytes] = {}
"""Keys made in this run, so that every stick gets the same one."""


def rotation(site: Site, key: str, retires: bool) -> Rotation:
    """Where it stands. All hosts are asked, whatever --limit selects.

    + key: its name, without `.key`
    + retires: the old key goes
    """
    standby = known_of(site.standby.name, StorageController)
    promoted = None if standby is None else standby.writer == site.standby.short_name
    holders = {each.name: _holder(site, each.name, key) for each in site.freebsd_hosts}
    return Rotation(site, key, holders, promoted, script, retires)


def _holder(site: Site, name: str, key: str) -> Holder:
    me = site.host(name)
    stick = known_of(name, KeyStick, label=me.usb.label, mountpoint=me.usb.mountpoint)
    datasets = known_of(name, Datasets)
    snapshots = known_of(name, Snapshots)
    keys = stick.keys if stick is not None else None
    if datasets is None or snapshots is None or keys is None:
        return Holder(keys, f"the datasets of {name} cannot be read", datasets or {})
    locations = [me.key_location(each) for each in (key, key + OLD)]
    roots = [
        each.name for each in datasets.values() if each.is_encryption_root and each.get("keylocation") in locations
    ]
    opened, by_old = (_opened(name, roots, location) for location in locations)
    arrived = frozenset(each.dataset for each in snapshots)
    return Holder(keys, roots_of(name), datasets, arrived, opened, by_old)


def _opened(name: str, roots: Collection[str], location: str) -> frozenset[str]:
    checks = known_of(name, KeyChecks, keys=tuple((root, location) for root in roots)) if roots else {}
    return frozenset(root for root, check in (checks or {}).items() if check is KeyCheck.FITS)


@operation(is_idempotent=False)
def step(planned: Step, site: Site, key: str, retires: bool) -> Generator[On]:
    """One step, planned again from facts when its turn comes.

    + planned: the step as the plan of the whole way foresaw it
    + site, key, retires: as in `rotation`

    Raises OperationError where the hosts are not in the state that this step needs.
    """
    if not executing():
        yield from (On(*each) for each in planned.commands)
        if planned.lines:
            yield On(planned.host, _onto(site, planned.host))
        return
    now = rotation(site, key, retires)
    if problems := now.refusals():
        raise OperationError(f"{host.name}: {'; '.join(problems)}")
    current = in_turn(planned, list(now.steps()))
    if current is None:
        return
    yield from (On(*each) for each in current.commands)
    if current.lines:
        lines = [_line(each, site.host(current.host).usb.mountpoint) for each in current.lines]
        yield On(current.host, _onto(site, current.host), _stdin=lines)


def _onto(site: Site, name: str) -> Shell:
    me = site.host(name)
    return written(me.usb.label, me.usb.mountpoint)


def _line(wanted: Line, mountpoint: str) -> str:
    if wanted.verb == "retire":
        return f"retire {wanted.name}.key"
    key = (
        read(wanted.copy, mountpoint) if wanted.copy else _made.setdefault(wanted.name, secrets.token_bytes(KEY_BYTES))
    )
    return line(wanted.name, key, wanted.verb)


@operation()
def finished(site: Site, key: str, retires: bool) -> Generator[On]:
    """Nothing is left to do.

    + site, key, retires: as in `rotation`

    Raises OperationError where steps are left.
    """
    if executing():
        nothing_left(list(rotation(site, key, retires).steps()))
        if not retires:
            click.echo(
                f"    {key}{OLD}.key on the sticks is the old key. Copies of the data elsewhere may need it. If none "
                f"does: --data rotate_retire={key}. Seal the keys anew: tasks/escrow.py"
            )
    host.noop(f"the old {key} is on no stick" if retires else f"the new {key} opens all that the old one did")
    yield from ()


@operation()
def told(site: Site) -> Generator[On]:
    """Says which key opens what, and changes nothing."""
    if executing():
        datasets = {each.short_name: known_of(each.name, Datasets) for each in site.freebsd_hosts}
        click.echo("\n".join(f"    {line}" for line in opens(site.key_names, datasets)))
    host.noop("read when the run is executed")
    yield from ()
