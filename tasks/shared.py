"""What two tasks do alike, so that each of them also runs alone."""

from __future__ import annotations

import re

from pyinfra.api.exceptions import DeployError
from pyinfra.api.operation import OperationMeta
from pyinfra.context import inventory
from pyinfra.operations import files
from pyinfra.operations.util import any_changed

from bridge.settings import site, this_host
from f3s.controller import MOUNTD_FLAGS, RECORD, STORAGE_CONF, recorded_writer, role, told_role
from f3s.nfs import LOOPBACK
from facts.carp import RC_FILE
from facts.textfile import TextFileOf
from operations import carp, nfs, rcconf, sysctl
from operations.base import known

RETIRE = (
    "doas service f3s_storage stop; doas sysrc f3s_storage_enable=NO; "
    "doas crontab -l | grep -v -e f3s_storage -e /libexec/f3s/ -e carp-auto-failback | doas crontab -; "
    f"doas rm {STORAGE_CONF} {RC_FILE}"
)
"""Shell line that makes a storage host one that has keys alone; its data stay. Also in docs/runbook.md."""


def speaks_for_all() -> bool:
    """Whether this host is the first FreeBSD host that answers: what concerns all of them is done in its turn."""
    there = (each.name for each in site().freebsd_hosts if inventory.get_host(each.name).connected)
    return this_host().name == next(there, "")


def keep_role() -> None:
    """A storage host does not change its role because the inventory does: what it serves would be missing, or empty.

    The first line of a task that goes by the role; nothing else of it is asked then.

    Raises DeployError on a host that has the other one, or was a storage host and would still take the address.
    """
    me = this_host()
    found = told_role(known(TextFileOf, path=STORAGE_CONF).text) if me.is_freebsd else None
    writer = recorded_writer(known(TextFileOf, path=RECORD).text.splitlines()) if found else None
    pair = [each.short_name for each in (site().primary, site().standby)]
    if writer not in (None, *pair) or (found == "primary" and not me.is_storage):
        raise DeployError(
            f"{me.name}: {writer or me.short_name} writes, or did last, and in the inventory it is no storage host. "
            "Change that back; only a standby can be replaced. First tasks/return_primary.py or tasks/swap_roles.py"
        )
    if found and not me.is_storage:
        raise DeployError(
            f"{me.name} is the {found}, and in the inventory no storage host: it would go on claiming "
            f"{me.vip.address}. Change that back, or retire it. There: `{RETIRE}`, then reboot it"
        )
    if found not in (None, role(me)):
        raise DeployError(
            f"{me.name} is the {found}, and the inventory makes it the {role(me)}. Change that back, or run "
            "tasks/swap_roles.py, which changes both hosts or says what has to come first"
        )


def name_virtual_ip() -> None:
    """The names of the virtual IP in /etc/hosts: one line, found by the address; its other lines stay."""
    vip = this_host().vip
    files.line(
        name="hosts: names of the virtual IP",
        path="/etc/hosts",
        line=rf"^{re.escape(vip.address)}[[:space:]].*$",
        replace=f"{vip.address} {' '.join(vip.names)}",
        ensure_newline=True,
    )


def kernel_variable(title: str, variable: str, value: str) -> None:
    """A sysctl has a value after a reboot, by /etc/sysctl.conf, whose other lines stay, and now."""
    files.line(
        name=f"{title} after a reboot",
        path="/etc/sysctl.conf",
        line=rf"^{re.escape(variable)}[ =:].*",
        replace=f"{variable}={value}",
        ensure_newline=True,
    )
    sysctl.values(wanted={variable: value}, name=f"{title} now")


def controller_takes_up(task: str, *changes: OperationMeta) -> None:
    """f3s_storage is started and has seen these changes, as soon as the files of all tasks are there."""
    export = this_host().nfs.export
    carp.controller_started(name=f"{task}: f3s_storage is started", export=export)
    carp.controller_reconciles(
        name=f"{task}: f3s_storage takes up the change", export=export, _if=any_changed(*changes)
    )


def nfs_variables() -> None:
    """The rc variables of the NFS services: before f3s_storage is told which ones to start, as what it starts keeps its
    flags.

    The one* verbs set only X_enable of the script that they run, so what the scripts ask for beyond that has to stand
    in rc.conf (libexec/rc/rc.d/nfsd and mountd).
    """
    settings = this_host().nfs
    owners = settings.owners
    if not settings.for_others:
        nfs.nothing_else(
            export=settings.export,
            mountpoint=settings.mountpoint,
            replace=nfs.EXPORTS in this_host().replace.files,
            name="nfs: nothing else is exported",
        )
    ours_alone = {
        "rpcbind_enable": "NO",
        "mountd_enable": "NO",
        "nfs_server_enable": "NO",
        # TCP and loopback: clients come through stunnel or not at all
        "nfs_server_flags": f"-t -h {LOOPBACK}",
        "mountd_flags": MOUNTD_FLAGS,
        # rpcbind adds it, too, but only says so in the log (usr.sbin/rpcbind/rpcbind.c, init_transport)
        "rpcbind_flags": f"-h {LOOPBACK}",
    }
    rcconf.variables(
        values={
            **({} if settings.for_others else ours_alone),
            "nfsuserd_enable": "NO",
            "nfsv4_server_enable": "YES",
            # clients come through stunnel, which has no reserved port; YES is the default of FreeBSD 15
            "nfs_reserved_port_only": "NO",
            **({"nfsuserd_flags": ""} if owners == "numeric" else {}),
        },
        name="nfs: rc variables",
    )
    if owners == "names":
        flags = f"-domain {settings.idmap_domain}"
        nfs.nfsuserd_flags(flags=flags, name="nfs: flags of nfsuserd")
        nfs.nfsuserd_restarted(flags=flags, name="nfs: nfsuserd runs with its flags")
