"""Two hosts share one address: it goes to the lowest claim, which f3s_storage makes (docs/controller.md)."""

from __future__ import annotations

from functools import partial

from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.context import host
from pyinfra.operations import files

from bridge.settings import REPOSITORY, credentials, site, this_host
from f3s.carp import alias_words, rc_file
from f3s.controller import (
    PROGRAMS,
    REPORT,
    REPORT_CONF,
    STORAGE_CONF,
    ZREPL_WATCH,
    report_variables,
    unicast,
    wanted_values,
)
from f3s.controller import peer as peer_of
from f3s.devd import CONFIG as DEVD_CONF
from f3s.devd import FOLDERS, RULE
from f3s.nfs import LOOPBACK
from f3s.stunnel import PID_FILE
from facts.base import FILES
from facts.carp import RC_FILE, BootAliases
from operations import carp, order, rcconf, reasons, secrets, stunnel, textfile
from operations.base import known
from tasks.shared import controller_takes_up, keep_role, kernel_variable, name_virtual_ip, nfs_variables

FAILBACK, _ = PROGRAMS["carp-auto-failback.sh"]
# seconds; the second includes the first
SHUTDOWN, INIT_SHUTDOWN = "300", "330"

settings = this_host()

keep_role()
if settings.is_storage:
    # -- a host set up by hand may have a stunnel that the controller could neither stop nor start (seen)
    stunnel.port_is_ours(
        name="carp: the port of the tunnel is free or stunnel's own",
        addresses=[settings.vip.address, settings.lan.address, LOOPBACK],
        port=settings.stunnel.port,
        pid_file=PID_FILE,
    )

if settings.is_freebsd:
    # for people and their tools; this deploy never looks the address up by name
    name_virtual_ip()

    # -- time to shut down: a guest that mounts the share takes 90 s and more if both servers are gone. rc.shutdown is
    #    killed after 90 s, and init waits 120 s: the host would stay on, in single-user mode (rc.conf(5), init(8))
    rcconf.variables(values={"rcshutdown_timeout": SHUTDOWN}, name="carp: time for rc.shutdown")
    kernel_variable("carp: time for init's shutdown,", "kern.init_shutdown_timeout", INIT_SHUTDOWN)

if settings.is_storage:
    interface, vhid, address = settings.carp.interface, settings.carp.vhid, settings.vip.address
    peer, to = peer_of(settings, site()), unicast(settings, site())

    # -- before the values: with new ones the controller may start nfsuserd at once, and a service keeps its flags
    nfs_variables()
    wanted = wanted_values(settings, site())
    values = files.template(
        name="carp: values of f3s_storage",
        src=str(REPOSITORY / "templates" / "storage.conf.j2"),
        dest=STORAGE_CONF,
        mode="0644",
        user="root",
        group="wheel",
        variables=wanted.variables,
    )

    # -- what the report goes by; a URL to ping may be a secret
    files.template(
        name="carp: values of the report",
        src=str(REPOSITORY / "templates" / "storage.conf.j2"),
        dest=REPORT_CONF,
        mode="0600",
        user="root",
        group="wheel",
        variables=report_variables(settings),
    )

    # -- the programs after the values: without one of them they end at once, and those of an earlier version mind no
    #    new one. Before the address: devd must find its hook when that comes up
    programs = []
    for source, (destination, mode) in host.loop(PROGRAMS.items()):
        # a site set up by hand may have programs of these names (seen)
        put = textfile.put(
            name=f"carp: {destination}",
            path=destination,
            text=(FILES / "freebsd" / source).read_text(),
            mode=mode,
            replace=destination in settings.replace.files,
        )
        programs.append(put)

    # -- devd only reads its rules when it starts
    files.template(
        name="carp: devd rule for the virtual IP",
        src=str(REPOSITORY / "templates" / "devd-carp.conf.j2"),
        dest=RULE,
        mode="0644",
        user="root",
        group="wheel",
        vhid=vhid,
        interface=interface,
    )
    carp.one_hook(
        subsystem=f"{vhid}@{interface}",
        replace=settings.replace.files,
        name="carp: no second rule for the virtual IP",
    )
    carp.devd_knows(rules=[RULE, DEVD_CONF, *FOLDERS], name="carp: devd knows its rules")

    # -- the kernel: the address goes to the lowest claim at once, and a claim is made by f3s_storage alone
    rcconf.variables(values={"carp_load": "YES"}, file="/boot/loader.conf", name="carp: module at boot")
    carp.module_loaded(interface=interface, name="carp: module now")
    carp.preempts_alone(
        interface=interface, vhid=vhid, others=settings.carp.other_vhids, name="carp: preemption moves no other vhid"
    )
    carp.takes_address(interface=interface, name="carp: the interface takes an address")
    carp.advertises(interface=interface, vhid=vhid, unicast=to, name="carp: to whom it advertises")
    kernel_variable("carp: preemption", "net.inet.carp.preempt", "1")

    # -- the controller before the address: an event without it would be lost until cron's next minute
    rcconf.variables(values={"f3s_storage_enable": "YES"}, name="carp: f3s_storage at boot")

    # -- the address, at boot and now; its password is readable by root alone
    carp.only_boot_alias(interface=interface, address=address, name="carp: no second alias with the address in rc.conf")
    alias = known(BootAliases, interface=interface, address=address).free
    files.directory(name="carp: /etc/rc.conf.d", path="/etc/rc.conf.d", mode="0755", user="root", group="wheel")
    password = settings.carp.password or credentials().carp_password()
    carp.password_for_both(
        interface=interface,
        vhid=vhid,
        wanted=HiddenValue(password),
        peer=peer.name,
        name="carp: a new password comes to both hosts",
    )
    words = alias_words(vhid, settings.carp.advbase, wanted.advskew, password, address, to)
    secrets.file(
        path=RC_FILE,
        content=HiddenValue(rc_file(interface, alias, words)),
        name="carp: the virtual IP at boot",
    )
    address_now = partial(
        carp.address,
        interface=interface,
        vhid=vhid,
        shared=address,
        alias=alias,
        name=f"carp: the virtual IP now, on the {'primary' if settings.is_primary else 'standby'}",
    )
    if settings.is_primary:
        address_now()
    every = partial(carp.advbase, interface=interface, vhid=vhid, seconds=settings.carp.advbase, unicast=to)
    every(first=True, name="carp: how often it advertises, where that has to change first")

# the standby would be MASTER until the primary has the address, too
order.barrier(name="carp: the primary has the virtual IP")
if settings.is_storage:
    if not settings.is_primary:
        address_now()
    every(first=False, name="carp: how often it advertises")
    carp.password(
        interface=interface, vhid=vhid, alias=alias, peer=peer.name, unicast=to, name="carp: its password now"
    )

    # -- the controller: started once all of its services are configured, told of changes, repeated by cron
    controller_takes_up("carp", values, *programs)
    carp.crontab(
        name="carp: f3s_storage, the report, zrepl's watch and, on the primary, automatic failback look every minute",
        commands={
            "f3s_storage reconcile": "/usr/sbin/service f3s_storage quietreconcile >/dev/null 2>&1",
            "f3s_storage report": f"{REPORT} >/dev/null 2>&1",
            "f3s_storage zrepl": f"{ZREPL_WATCH} >/dev/null 2>&1",
            "carp-auto-failback": FAILBACK,
        },
        without=[] if settings.is_primary else ["carp-auto-failback"],
        by_hand=FAILBACK,
    )

reasons.none_left()
