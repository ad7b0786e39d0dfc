"""What the hosts of an inventory say of themselves, for tasks/survey.py; the data need not be a whole site yet.

Read-only; what cannot be found out is None.
"""

from __future__ import annotations

import runpy
from dataclasses import replace
from typing import Any

from pyinfra.api.connectors import get_execution_connectors
from pyinfra.api.host import Host
from pyinfra.context import ctx_host, ctx_state

from bridge.settings import REPOSITORY
from bridge.view import of_all
from f3s.controller import PROGRAMS
from f3s.monitor import MONITOR_UNITS, UNITS
from f3s.parsing import NoAnswer
from f3s.stunnel import CLIENT_FILES, PORT_UNIT, SERVER_FILES
from f3s.survey import proposal
from f3s.survey.model import RC_VARIABLES, TEXTS, Proposal, Seen, key_label, key_place, served
from f3s.verify.model import HostView
from facts.fstab import LinuxMounts
from facts.mounts import Mounts
from facts.nfs import ShareEntries
from facts.rcconf import Variables
from facts.secrets import Certificates
from facts.system import FreebsdSystem, LinuxSystem
from facts.textfile import DevdRules, TextFileOf
from facts.usb import KeyStick
from facts.zfs import Datasets, ImportablePools, Pools
from operations.base import ask

GROUPS = ("all", "freebsd", "storage", "clients")
PLACES = {
    True: tuple(place for place, _ in PROGRAMS.values()),
    False: tuple(f"{UNITS}/{unit}" for unit in (*MONITOR_UNITS, PORT_UNIT)),
}
"""Where the deploy asks for a word before it replaces what is there."""


def surveyed() -> Proposal | None:
    """Look at the current host; what all of them make for the host that is looked at last, None for others."""
    run: Any = ctx_state.get()
    me = ctx_host.get()
    answers = of_all(me.name, _seen(me))
    if answers is None:
        return None
    # in the order of the inventory; of a host without a connection only the name is known
    hosts = {each.name: answers.get(each.name) or _unseen(each) for each in run.inventory}
    defaults = {group: _group_data(group) for group in GROUPS}
    return proposal(hosts, defaults, _modes(run.inventory, hosts))


def _group_data(group: str) -> dict[str, object]:
    """The defaults, whatever the inventory has beside itself."""
    found = runpy.run_path(str(REPOSITORY / "group_data" / f"{group}.py"))
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _unseen(member: Host) -> Seen:
    inventory: Any = member.inventory
    connector = next(name for name, found in get_execution_connectors().items() if found is member.connector_cls)
    word = member.name if connector == "ssh" or member.name.startswith("@") else f"@{connector}/{member.name}"
    return Seen(frozenset(member.groups), dict(inventory.get_host_data(member.name)), word)


def _seen(member: Host) -> Seen:
    start = _unseen(member)
    texts = {path: ask(member, TextFileOf, path=path) for path in (*TEXTS[start.freebsd], *PLACES[start.freebsd])}
    places = tuple((SERVER_FILES if start.freebsd else CLIENT_FILES).values())
    start = replace(start, texts=texts, certificates=ask(member, Certificates, paths=places))
    if not start.freebsd:
        mounts = HostView(linux_mounts=ask(member, LinuxMounts))
        return replace(start, system=ask(member, LinuxSystem), view=mounts)
    view = HostView(datasets=ask(member, Datasets), mounts=ask(member, Mounts))
    folder = key_place(view, member.data.get("usb_mountpoint"))
    stick = ask(member, KeyStick, label=key_label(view, folder, member.data.get("usb_label")), mountpoint=folder)
    importable = ask(member, ImportablePools)
    return replace(
        start,
        system=ask(member, FreebsdSystem),
        view=replace(view, stick=stick, pools=ask(member, Pools)),
        devd=ask(member, DevdRules),
        rc=ask(member, Variables, names=RC_VARIABLES),
        importable=None if isinstance(importable, NoAnswer) else importable,
    )


def _modes(inventory: Any, hosts: dict[str, Seen]) -> dict[str, str]:
    """The modes of the directories in what is served, by name."""
    what = served(hosts)
    if what is None:
        return {}
    names = [path.rpartition("/")[2] for seen in hosts.values() for path in seen.shares]
    member = inventory.get_host(what.host)
    found = ask(member, ShareEntries, dataset=what.dataset, mountpoint=what.mountpoint, names=names)
    entries = found if isinstance(found, dict) else {}
    return {name: f"{int(mode, 8):04o}" for name, mode in entries.items() if mode.isdigit()}
