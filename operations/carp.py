"""The virtual IP: at boot through rc.d/netif, and now through ifconfig(8)."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping, Sequence

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.context import host, state
from pyinfra.facts.files import File, FindInFile

from f3s.carp import MULTICAST, UNICAST_SINCE, CarpState, crontab_with, member_of_bridge, password_digest, rc_interface
from f3s.controller import RC_SCRIPT, RUN, STARTED, STORAGE_CONF
from f3s.devd import HOOK, rivals, without
from f3s.quoting import Shell, command, words
from f3s.stunnel import SERVER_CONFIG
from facts.carp import RC_FILE, BootAliases, BootPassword, Carp
from facts.newer import Newer
from facts.system import RootCrontab
from facts.textfile import DevdRules
from operations.base import Commands, known, told
from operations.reasons import operation
from operations.textfile import written

_FROM_FILE = ". {} && set -- $ifconfig_{}_alias{} && "
_APPLIED = f"{RUN}/netif.applied"
_MARK_APPLIED = f"mkdir -p {RUN} && touch {_APPLIED}"


@operation()
def module_loaded(interface: str) -> Commands:
    """The kernel knows CARP.

    + interface: any interface of the host

    **Example:** `carp.module_loaded("re0")`
    """
    if known(Carp, interface=interface).loaded:
        host.noop("net.inet.carp is there")
        return
    yield command("kldload -n carp")


@operation()
def preempts_alone(interface: str, vhid: int, others: tuple[int, ...]) -> Commands:
    """Preemption decides about our address alone: net.inet.carp.preempt is for every vhid of a host. Changes nothing.

    + interface: the LAN interface
    + vhid: ours
    + others: vhids that the site allows beside it

    Raises OperationError on another one, on any interface. A leftover of a mistyped command is none: INIT, and without
    an address (seen).

    **Example:** `carp.preempts_alone("re0", 1, ())`
    """
    view = known(Carp, interface=interface)
    strange = [
        f"vhid {other} on {name} ({' '.join(virtual.addresses) or virtual.state.value})"
        for name, found in {interface: view.virtual_hosts, **view.elsewhere}.items()
        for other, virtual in found.items()
        if (name, other) != (interface, vhid) and other not in others
        if virtual.addresses or virtual.state is not CarpState.INIT
    ]
    if strange:
        raise OperationError(
            f"{host.name} has {', '.join(strange)}, too: with net.inet.carp.preempt=1, which this deploy "
            "sets, its address goes to its lowest advskew at once. If that is right, name it in carp_other_vhids"
        )
    host.noop("there is no vhid that carp_other_vhids does not name")
    yield from ()


@operation()
def takes_address(interface: str) -> Commands:
    """The kernel lets the interface have an address, which FreeBSD 15 may refuse to a member of a bridge.

    + interface: the LAN interface

    Raises OperationError where it does not.

    **Example:** `carp.takes_address("re0")`
    """
    view = known(Carp, interface=interface)
    if view.bridge and not view.takes_addresses:
        raise OperationError(f"{host.name}: {member_of_bridge(interface, view.bridge)}")
    host.noop(f"{interface} takes an address{f', although it is a member of {view.bridge}' if view.bridge else ''}")
    yield from ()


@operation()
def advertises(interface: str, vhid: int, unicast: tuple[str, ...]) -> Commands:
    """The vhid advertises to the other host alone, or to everybody. A BACKUP hears both, so the order does not matter.

    + interface, vhid: as in `address`
    + unicast: words for ifconfig(8), `peer ADDRESS` or none for multicast. All later calls for this vhid need them:
      without them ifconfig goes back to multicast (carp_ctor in sbin/ifconfig/ifcarp.c)

    Raises OperationError where the kernel is older than FreeBSD 14.

    **Example:** `carp.advertises("re0", 1, ("peer", "192.168.1.131"))`
    """
    view = known(Carp, interface=interface)
    if unicast and view.release < UNICAST_SINCE:
        raise OperationError(
            f"{host.name}: carp_unicast needs FreeBSD 14, and kern.osreldate is {view.release} here: set it to "
            "False, and let the switch pass multicast to 224.0.0.18, or upgrade both hosts first"
        )
    ours = view.virtual_hosts.get(vhid)
    if ours is None or ours.peer in (None, *(unicast[1:] or (MULTICAST,))):
        host.noop(
            f"vhid {vhid} advertises to {ours.peer or MULTICAST}" if ours else f"{interface} has no vhid {vhid} yet"
        )
    else:
        yield command("ifconfig {} vhid {} {}", interface, vhid, words(unicast or ("mcast",)))


@operation()
def only_boot_alias(interface: str, address: str) -> Commands:
    """rc.conf itself does not set the virtual IP: /etc/rc.conf.d/netif does, which only root can read.

    + interface: the LAN interface
    + address: the virtual IP

    Raises OperationError if /etc/rc.conf.d/netif is not from this deploy.

    **Example:** `carp.only_boot_alias("re0", "192.168.1.138")`
    """
    aliases = known(BootAliases, interface=interface, address=address)
    if aliases.foreign_file:
        raise OperationError(
            f"{host.name}: {RC_FILE} is not from this deploy: move its variables to /etc/rc.conf, remove it"
        )
    if not aliases.ours:
        host.noop(f"no ifconfig_{rc_interface(interface)}_aliasN of /etc/rc.conf names {address}")
    for number in aliases.ours:
        yield command("sysrc -x {}", f"ifconfig_{rc_interface(interface)}_alias{number}")


@operation()
def address(interface: str, vhid: int, shared: str, alias: int) -> Commands:
    """The interface has the virtual IP with its vhid now, as the next boot would set it.

    advskew is not compared, because the controller changes it (docs/controller.md), and for advbase see `advbase`. The
    password is read on the host, from the file that rc.d/netif reads, so no command of this deploy contains it.

    + interface: the LAN interface
    + vhid: of CARP
    + shared: the virtual IP
    + alias: its number in /etc/rc.conf.d/netif

    Raises OperationError if the address is there without a vhid, or belongs to another one.

    **Example:** `carp.address("re0", 1, "192.168.1.138", 0)`
    """
    view = known(Carp, interface=interface)
    if shared in view.plain_addresses:
        raise OperationError(f"{host.name}: {interface} has {shared} without a vhid; remove that address first")
    for other, virtual in view.virtual_hosts.items():
        if other != vhid and shared in virtual.addresses:
            raise OperationError(
                f"{host.name}: {shared} belongs to vhid {other} of {interface}, not to {vhid}: set carp_vhid to "
                f"{other}, or take the address away: `ifconfig {interface} inet {shared} -alias`"
            )
    ours = view.virtual_hosts.get(vhid)
    if ours is None or shared not in ours.addresses:
        yield command(
            _FROM_FILE + 'ifconfig {} "$@" && ' + _MARK_APPLIED, RC_FILE, rc_interface(interface), alias, interface
        )
    else:
        host.noop(f"{interface} has {shared} with vhid {vhid}, {ours.state.value}")


@operation()
def advbase(interface: str, vhid: int, seconds: int, first: bool, unicast: tuple[str, ...] = ()) -> Commands:
    """The running vhid advertises so often. The address stays where it is if both hosts change in the right order.

    The one that advertises more often takes the address: so a BACKUP slows down before the MASTER does, and a MASTER
    gets faster before the BACKUP does.

    + interface, vhid: as in `address`
    + seconds: between two advertisements
    + first: change only if this host has to change first; otherwise only if it has not
    + unicast: as in `advertises`

    **Example:** `carp.advbase("re0", 1, 2, first=True)`
    """
    ours = known(Carp, interface=interface).virtual_hosts.get(vhid)
    if ours is None or ours.advbase == seconds:
        host.noop(f"an advertisement each {seconds} s" if ours else f"{interface} has no vhid {vhid} yet")
    elif first is ((seconds > ours.advbase) is not (ours.state is CarpState.MASTER)):
        yield command("ifconfig {} vhid {} {}", interface, vhid, words(["advbase", str(seconds), *unicast]))
    else:
        host.noop("changed in the other step")


@operation()
def password_for_both(interface: str, vhid: int, wanted: HiddenValue, peer: str) -> Commands:
    """A new password comes to both hosts in one run or to neither. Changes nothing itself.

    Hosts with different passwords do not hear each other, so both become MASTER: the other one at the latest when it
    boots with the old password.

    + interface, vhid: as in `address`
    + wanted: the password
    + peer: name of the other host

    Raises OperationError if this host has another password, or a vhid with an unknown one, and the peer does not take
    part in the run.

    **Example:** `carp.password_for_both("re0", 1, HiddenValue("..."), "f1.lan.buetow.org")`
    """
    found = known(BootPassword)
    if found == password_digest(wanted.unmask()):
        host.noop(f"{RC_FILE} has the password")
    elif not found and vhid not in known(Carp, interface=interface).virtual_hosts:
        host.noop("this host has no CARP password yet")
    elif _takes_part(peer):
        host.noop(f"{peer} gets the new password in this run, too")
    else:
        raise OperationError(
            f"{host.name}: {RC_FILE} gets a new CARP password, and {peer} does not take part in this run: with the old "
            f"one there both would serve. Run this for both hosts (without --limit, once {peer} answers)"
        )
    yield from ()


def _takes_part(peer: str) -> bool:
    return state.inventory.get_host(peer) in state.inventory.get_active_hosts()


@operation()
def password(interface: str, vhid: int, alias: int, peer: str, unicast: tuple[str, ...] = ()) -> Commands:
    """The running vhid has the password of /etc/rc.conf.d/netif.

    The kernel does not tell its password, so this goes by the time at which that file was last applied. While only one
    host has a new password, both are MASTER: for some seconds in a run of the deploy.

    + interface, vhid, alias: as in `address`
    + peer: name of the other host, see `password_for_both`
    + unicast: as in `advertises`

    Without the peer in the run the vhid keeps its password, which is the peer's, too. `password_for_both` lets no new
    password into the file then, but another number of the alias or another advskew also changes the file.

    **Example:** `carp.password(interface="re0", vhid=1, alias=0, peer="f1.lan.buetow.org")`
    """
    # the controller is started at boot, long after rc.d/netif
    if not known(Newer, path=RC_FILE, marks=(_APPLIED, STARTED)):
        host.noop(f"{RC_FILE} has not changed since it was applied")
        return
    if not _takes_part(peer):
        host.log(
            f"{RC_FILE} has changed and {peer} does not take part in this run: the running vhid keeps the password "
            "that it has. Run this for both hosts once it answers",
            logger.warning,
        )
        return
    set_it = 'while [ $# -gt 1 ] && [ "$1" != pass ]; do shift; done && ifconfig {} vhid {} pass "$2"{} && '
    to = Shell(f" {words(unicast)}" if unicast else "")
    yield command(_FROM_FILE + set_it + _MARK_APPLIED, RC_FILE, rc_interface(interface), alias, interface, vhid, to)


@operation()
def one_hook(subsystem: str, replace: Collection[str]) -> Generator[StringCommand]:
    """The virtual IP has one rule for devd, which is in a file of its own (f3s.devd.RULE).

    devd runs one rule for an event, that with the highest number (find_and_execute in devd.cc). A rule for the hook
    that a how-to leaves elsewhere is taken out; so are others for this address, where the data say so.

    + subsystem: VHID@INTERFACE
    + replace: files out of which rules of somebody else may be taken; the old file stays beside the new one

    Raises OperationError where there are such rules, and they may not be taken out.

    **Example:** `carp.one_hook("1@re0", replace=[])`
    """
    found = known(DevdRules)
    asked = {
        path: rules
        for path, file in found.items()
        if path not in replace and (rules := rivals(file.text, HOOK, subsystem))
    }
    if asked:
        told = "; ".join(
            f"{path} has a rule for CARP that calls `{rule.action}`" for path, rules in asked.items() for rule in rules
        )
        raise OperationError(
            f"{host.name}: {told}. devd runs one rule for an event: either yours would not be called any more, or "
            "f3s_storage would not hear of a move. The moves are in /var/log/messages, and alert_command tells what is "
            f"wrong. Take the rule out, or name {' and '.join(asked)} in replace_files: it is taken out then, and the "
            "old file stays beside the new one, with the date behind its name"
        )
    clean = True
    for path, file in found.items():
        text = without(file.text, HOOK, subsystem, all_of_it=path in replace)
        if text != file.text:
            clean = False
            yield from written(path, file, text, file.state.mode, whole=True)
    if clean:
        host.noop(f"devd has one rule for {subsystem}")


@operation()
def crontab(commands: Mapping[str, str], without: Collection[str], by_hand: str) -> Generator[StringCommand]:
    """root's crontab runs commands every minute. pyinfra's own begins a new one where all lines are comments.

    + commands, without, by_hand: as f3s.carp.crontab_with takes them

    **Example:** `carp.crontab({"carp-auto-failback": FAILBACK}, without=[], by_hand=FAILBACK)`
    """
    lines = known(RootCrontab)
    left, gone = crontab_with(lines, commands, without, by_hand)
    for line in gone:
        host.log(f"taken out of root's crontab, where the deploy has a line of its own: {line}")
    if left == [*lines]:
        host.noop(f"{', '.join(name for name in commands if name not in without)}: in root's crontab")
        return
    yield StringCommand("crontab -", _stdin="".join(f"{line}\n" for line in left))


@operation()
def devd_knows(rules: Sequence[str]) -> Commands:
    """devd has read its rules. It does that only when it starts.

    + rules: paths of their files

    **Example:** `carp.devd_knows(["/usr/local/etc/devd/f3s-carp.conf"])`
    """
    if not any(known(Newer, path=path, marks=("/var/run/devd.pid",)) for path in rules):
        host.noop(f"devd has started since {' and '.join(rules)} changed")
        return
    yield command("service devd restart")


def _unconfigured(export: str) -> list[str]:
    """Files of other tasks without the line that those tasks write, which f3s_storage could not serve without.

    A host that was set up by hand may have a stunnel.conf without a pid file, one of an earlier deploy other exports.
    """
    lines = {
        RC_SCRIPT: "^name=f3s_storage$",
        STORAGE_CONF: "^# Installed by the deploy",
        "/etc/exports": f"^V4: {re.escape(export)} ",
        SERVER_CONFIG: r"^\[alive\]$",
    }
    return [path for path, line in lines.items() if not told(FindInFile, path=path, pattern=line)]


@operation()
def controller_started(export: str) -> Commands:
    """f3s_storage has been started since the boot, once everything that it needs is there.

    It is the last operation of each task that writes some of that, so the order of the tasks does not matter.

    + export: the NFSv4 root

    **Example:** `carp.controller_started("/export/nfs")`
    """
    if told(File, path=STARTED):
        host.noop("f3s_storage is started")
    elif missing := _unconfigured(export):
        host.noop(f"f3s_storage is started later: {', '.join(missing)} is not there yet, or not as this deploy has it")
    else:
        yield command("service f3s_storage start")


@operation(is_idempotent=False)
def controller_reconciles(export: str) -> Commands:
    """f3s_storage looks again. Call it only if something that it reads has changed (cron would do it within a minute).

    Not `restart`: that would give the address away. Fails if this host is MASTER and not ready, and where another look
    has the lock for five minutes.

    + export: as in `controller_started`

    **Example:** `carp.controller_reconciles("/export/nfs", _if=values.did_change)`
    """
    if missing := _unconfigured(export):
        host.noop(f"it takes up the change later: {', '.join(missing)} is not as this deploy has it yet")
    else:
        yield command("service f3s_storage reconcile")
