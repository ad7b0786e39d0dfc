"""Who holds the virtual IP, and whether the right services run there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from f3s.carp import MULTICAST, CarpState, member_of_bridge
from f3s.conditions import NOT_READY
from f3s.controller import (
    CLAIMS,
    FAILBACK_LOG,
    HELD_CLAIM,
    NO_CLAIM,
    PROMOTED_CLAIM,
    Status,
    role,
    unicast,
    wanted_services,
    wanted_values,
)
from f3s.mount_options import TUNNEL_UNIT
from f3s.pki.credentials import CA_CERTIFICATE, CRL
from f3s.returning import kept
from f3s.secretfile import ABSENT
from f3s.settings import HostSettings
from f3s.stunnel import secret_files
from f3s.verify.model import CLUSTER, ClusterView, HostView, Row, judged, right, unknown, wrong
from f3s.verify.replication import PROMOTED, promoted
from f3s.verify.storage import ASK_AGAIN, RUN

PUBLIC = (CA_CERTIFICATE, CRL)
"""What everybody may read of the secrets folder's files on hosts."""


def serving_rows(cluster: ClusterView) -> Iterator[Row]:
    """CARP, the services on both sides, and the files of the tunnel."""
    pair = [host for host in cluster.site.storage_hosts if host.name in cluster.hosts]
    yield from (address(cluster, host) for host in pair)
    yield one_master(cluster)
    yield writer(cluster)
    yield from (services(cluster, host) for host in pair)
    yield from (tunnel_files(cluster, host) for host in (*pair, *cluster.site.clients) if host.name in cluster.hosts)


def carp_state(view: HostView, host: HostSettings) -> CarpState | None:
    """The state of the site's vhid on a storage host; None: not known, or it has none."""
    ours = view.carp.virtual_hosts.get(host.carp.vhid) if view.carp else None
    return ours.state if ours else None


def state_name(view: HostView, host: HostSettings) -> str:
    """The state of a storage host, for people."""
    state = carp_state(view, host)
    if state is not None:
        return state.value
    return "not known" if view.carp is None else "without CARP"


def masters(cluster: ClusterView) -> tuple[HostSettings, ...]:
    """The storage hosts that say they are MASTER."""
    return tuple(h for h in cluster.site.storage_hosts if carp_state(cluster.of(h), h) is CarpState.MASTER)


def held(cluster: ClusterView, host: HostSettings | None = None) -> str | None:
    """Since when `carp backup` holds a host (by default the primary: a planned failover); None: not held, not known."""
    controller = cluster.of(host or cluster.site.primary).controller
    return controller.hold if controller else None


def address(cluster: ClusterView, host: HostSettings) -> Row:
    """The virtual IP is configured in our vhid, the kernel preempts, and the claim is one that the controller makes."""
    view = cluster.of(host).carp
    if view is None:
        return unknown("CARP", host.name, "the interface could not be read", ASK_AGAIN)
    ours = view.virtual_hosts.get(host.carp.vhid)
    if ours is None or host.vip.address not in ours.addresses:
        missing = f"{host.carp.interface} has no {host.vip.address} in vhid {host.carp.vhid}"
        return wrong("CARP", host.name, missing, RUN.format("carp"))
    problems = []
    to = unicast(host, cluster.site)[1:] or (MULTICAST,)
    if ours.peer not in (None, *to):
        problems.append(f"it advertises to {ours.peer} instead of {to[0]}")
    if ours.state is CarpState.INIT:
        problems.append(f"vhid {host.carp.vhid} is INIT: {host.carp.interface} has no link, or is down")
    if view.preempt != 1:
        problems.append("net.inet.carp.preempt is not 1, so the address stays where it is whoever claims it")
    if view.demotion:
        problems.append(f"net.inet.carp.demotion is {view.demotion}: an interface or pfsync has a problem")
    controller = cluster.of(host).controller
    wanted = claims(host, ours.state, controller)
    if ours.advskew not in wanted:
        claimed = f"it claims the address with advskew {ours.advskew} instead of {' or '.join(map(str, wanted))}"
        if controller is None and not problems:
            return unknown("CARP", host.name, f"{claimed}, and it is not known why", ASK_AGAIN)
        problems.append(claimed)
    held_here = f", held {controller.hold}" if controller and controller.hold else ""
    seen = rivals(cluster, host)
    if view.bridge:
        seen = (*seen, member_of_bridge(host.carp.interface, view.bridge))
    fine = "; ".join((f"{ours.state.value}, claim (advskew) {ours.advskew}{held_here}", *seen))
    return judged(
        "CARP",
        host.name,
        [*problems, *seen] if problems else [],
        fine,
        f"doas ifconfig {host.carp.interface}; {RUN.format('carp')}",
    )


def rivals(cluster: ClusterView, host: HostSettings) -> tuple[str, ...]:
    """What the kernel noticed since its boot of others with our vhid or address. It may be over, so it is only told."""
    mine, pair = cluster.of(host).rivals, [cluster.of(each).rivals for each in cluster.site.storage_hosts]
    if mine is None:
        return ("not known whether another machine uses the vhid or the address",)
    told = []
    if mine.discarded:
        told.append(
            f"{mine.discarded} advertisements with another password since its boot, as from a new password, or a "
            f"stranger with vhid {host.carp.vhid}: does `netstat -s -p carp` still count? "
            f"`tcpdump -ni {host.carp.interface} proto 112` shows from whom"
        )
    # both hosts send from their own address, too, when the address moves (seen)
    ours = {f"00:00:5e:00:01:{host.carp.vhid:02x}", *(each.ether for each in pair if each)}
    told += [
        f"{wall} blocks packets, and no rule of it names CARP: both hosts would be MASTER. Let it pass proto carp (112)"
        for wall in mine.firewalls
    ]
    if None not in pair and (others := sorted(mine.holders - ours)):
        told.append(f"since its boot {host.vip.address} was at {', '.join(others)}, neither host of the pair: find it")
    return tuple(told)


def claims(host: HostSettings, state: CarpState, controller: Status | None) -> tuple[int, ...]:
    """The claims that fit to what a storage host is. Of one that nobody could ask, those of a host that is ready."""
    least, most = CLAIMS[role(host)]
    if controller is not None and not host.is_primary and controller.writer == host.short_name:
        least = PROMOTED_CLAIM
    usual = (least, most) if state is CarpState.MASTER else (most,)
    if controller is None:
        return usual
    if not controller.started or controller.ready is False:
        return (NO_CLAIM,)
    if controller.hold is not None:
        usual = (HELD_CLAIM,)
    return usual if controller.ready else (*usual, NO_CLAIM)


def one_master(cluster: ClusterView) -> Row:
    """Exactly one host is MASTER; the standby only while a planned failover lasts."""
    pair, wrong_now = cluster.site.storage_hosts, partial(wrong, "one MASTER", CLUSTER)
    said = ", ".join(f"{host.short_name} {state_name(cluster.of(host), host)}" for host in pair)
    found = masters(cluster)
    if len(found) > 1:
        walls = [
            f"; {wall} on {host.short_name} blocks packets, and no rule of it names CARP"
            for host in pair
            if (theirs := cluster.of(host).rivals)
            for wall in theirs.firewalls
        ]
        return wrong_now(
            f"both are MASTER ({said}): they do not hear each other{''.join(walls)}",
            "check the CARP password and the network between them: the switch has to pass multicast to 224.0.0.18, or "
            "set carp_unicast",
        )
    if any(cluster.of(host).carp is None for host in pair):
        back = "bring the missing host back, then run verify again"
        return unknown("one MASTER", CLUSTER, said, PROMOTED if _promoted(cluster) else back)
    if not found:
        primary = cluster.site.primary.name
        return wrong_now(f"nobody is MASTER ({said})", f"doas carp master on {primary}")
    if (stale := held(cluster, found[0])) is not None:
        return wrong_now(
            f"{said}: {found[0].short_name} is MASTER although carp backup holds it ({stale}): the other host cannot "
            "serve, or is not heard. Until that hold ends, automatic failback is off, and what carp backup made "
            "read-only stays so",
            f"doas carp master on {found[0].name}",
        )
    off = _failback_off(cluster)
    if found[0].is_primary:
        warning = f"; automatic failback is off: after a failover clients could only read until {off}" if off else ""
        return right("one MASTER", CLUSTER, said + warning)
    hold = held(cluster)
    if hold is not None:
        return right("one MASTER", CLUSTER, f"{said}; planned failover {hold}: clients read only until failback")
    reason = f"{said}: the standby serves, clients cannot write"
    if _promoted(cluster):
        return wrong_now(f"{said}: the standby was promoted and serves", PROMOTED)
    log = f"{FAILBACK_LOG} on {cluster.site.primary.name} says why it stays"
    if off:
        return wrong_now(f"{reason}, and automatic failback is off", f"{off}; {log}")
    controller = cluster.of(cluster.site.primary).controller
    if controller is not None and not controller.ready:
        return wrong_now(reason, f"see the row services of {cluster.site.primary.name}; {log}")
    if problem := _failback_blind(cluster, cluster.site.primary):
        return wrong_now(f"{reason}; {problem}", f"{RUN.format('zrepl')}; {log}")
    back = f"it comes back by itself once a replication has succeeded, {log}; or {RUN.format('failback')}"
    return wrong_now(reason, back)


def writer(cluster: ClusterView) -> Row:
    """Both hosts remember the same one that may write, and it can. Where they differ, the higher epoch is right."""
    pair, wrong_now = cluster.site.storage_hosts, partial(wrong, "writer", CLUSTER)
    known = [(host, said) for host in pair if (said := cluster.of(host).controller) and said.started]
    if damaged := [host.name for host, said in known if not said.writer]:
        return wrong_now(f"the record of {damaged[0]} is damaged", PROMOTED_BY_WHOM)
    told = ", ".join(f"{host.short_name}: epoch {each.epoch}, {each.writer} writes" for host, each in known)
    if len(known) < len(pair):
        back = "start f3s_storage there, or bring the missing host back; then run verify again"
        reason = f"not both hosts could say who may write: {told or 'neither could'}"
        return unknown("writer", CLUSTER, reason, PROMOTED if _promoted(cluster) else back)
    (_, one), (_, other) = known
    if one.epoch == other.epoch and one.writer != other.writer:
        return wrong_now(f"both hosts took the same epoch ({told})", PROMOTED_BY_WHOM)
    if one.epoch != other.epoch:
        behind = min(known, key=lambda each: each[1].epoch)[0].name
        return wrong_now(f"the hosts differ ({told})", f"doas service f3s_storage reconcile on {behind}")
    primary, standby = pair
    if one.writer != primary.short_name:
        reason = f"{standby.short_name} was promoted (epoch {one.epoch})"
        if one.returning or other.returning:
            reads = "; clients only read" if other.returning else ""
            reason += f", and tasks/return_primary.py is under way, or was interrupted{reads}"
            return wrong_now(reason, f"{RUN.format('return_primary')} --data return_to={primary.short_name}")
        return wrong_now(reason, PROMOTED)
    if not one.proven:
        asks = "and is read-only until it can ask"
        reason = f"{primary.short_name} does not know whether {standby.short_name} was promoted, {asks}"
        return wrong_now(reason, f"see the row services of {standby.name}")
    views = [(host, cluster.of(host)) for host in pair]
    aside = "".join(kept(host, view.datasets or (), view.snapshots or (), cluster.site) for host, view in views)
    return right("writer", CLUSTER, f"{one.writer}, since epoch {one.epoch}{aside}")


PROMOTED_BY_WHOM = "find out which host wrote last, before you promote it (docs/controller.md, Who writes)"


def _promoted(cluster: ClusterView) -> bool:
    return promoted(cluster, cluster.site.served_job)


def _failback_off(cluster: ClusterView) -> str | None:
    """The command that switches automatic failback on again; None: it is on, or nobody could look."""
    primary = cluster.site.primary
    entries = cluster.of(primary).entries
    there = isinstance(entries, Mapping) and entries.get(primary.nfs.failback_block, "absent") != "absent"
    return f"doas carp auto-failback enable on {primary.name}" if there else None


def _failback_blind(cluster: ClusterView, host: HostSettings) -> str | None:
    """Why automatic failback would wait for ever for a proof that the standby has not diverged; None: it would not."""
    controller = cluster.of(host).controller
    if controller is None or controller.values is None:
        return None
    found = controller.values.gates
    if found == wanted_values(host, cluster.site).gates:
        return None
    told = ", ".join(f"{name}={value}" for name, value in found.items())
    return f"f3s_storage goes by another job than {cluster.site.served_job.name} ({told} in storage.conf)"


def services(cluster: ClusterView, host: HostSettings) -> Row:
    """The host serves, or could at once: everything runs and answers end to end, with the one fsid of both hosts."""
    view = cluster.of(host)
    controller = view.controller
    if controller is None:
        reason = "f3s_storage did not say what it does, or its programs are not of this version"
        return unknown("services", host.name, reason, f"{ASK_AGAIN}; if it stays, {RUN.format('carp')}")
    if view.running is None:
        return unknown("services", host.name, "the services could not be listed", ASK_AGAIN)
    names = wanted_services(host)
    problems = []
    mend = "doas service f3s_storage reconcile; doas service f3s_storage status"
    if not controller.started:
        problems.append("f3s_storage is not started")
        mend = f"doas service f3s_storage start, or {RUN.format('carp')}"
    if missing := [name for name in names if name not in view.running]:
        problems.append(f"not installed: {', '.join(missing)}")
    if controller.ready is False:
        problems.append(NOT_READY.said(reason=controller.reason))
    if problems:
        if controller.decision:
            problems.append(f"last decision: {controller.decision}")
        return wrong("services", host.name, "; ".join(problems), mend)
    if controller.ready is None:
        return unknown("services", host.name, f"not known whether it is ready: {controller.reason}", ASK_AGAIN)
    if blind := _failback_blind(cluster, host):
        return wrong("services", host.name, blind, RUN.format("zrepl"))
    serves = f"ready: {', '.join(names)} run and answer"
    if controller.values and controller.values.jobs != wanted_values(host, cluster.site).jobs:
        # told, not wrong: no move depends on it
        serves += f"; its report watches other jobs than those of zrepl_jobs: {RUN.format('zrepl')}"
    if controller.fsid_number != host.nfs.fsid:
        # told, not wrong: it serves, and its boot, which mends it, needs the moves that a wrong row refuses
        serves += (
            f"; it exports with the fsid of mount {controller.fsid_number} since its boot instead of {host.nfs.fsid}: "
            f"clients have to mount anew after a move, until {host.name} is rebooted while the other host serves"
        )
    return right("services", host.name, serves)


def tunnel_files(cluster: ClusterView, host: HostSettings) -> Row:
    """The host's certificates and revocation list are those of the secrets folder, and the running stunnel has them.

    So a standby can serve, and renewals and revocations have reached the hosts.
    """
    view = cluster.of(host)
    mend = RUN.format("clients" if host.is_client else "stunnel")
    if view.secrets is None:
        return unknown("tunnel files", host.name, "they could not be examined", ASK_AGAIN)
    problems, unknowns = [], []
    wanted = secret_files(host)
    for path, name in wanted.items():
        there = view.secrets.get(path, ABSENT)
        if there == ABSENT:
            problems.append(f"{path} is missing")
            continue
        if name not in PUBLIC and not there.private:
            problems.append(f"{path} is open to others: {there.user} {there.mode}")
        digest = (cluster.secrets or {}).get(name)
        if digest is None:
            unknowns.append(name)
        elif there.sha256 != digest:
            problems.append(f"{path} is not {name} of the secrets folder")
    if host.is_client and view.running is not None and not view.running.get(TUNNEL_UNIT):
        problems.append(f"{TUNNEL_UNIT} is not running")
    if view.stale:
        problems.append(f"the running stunnel has not read {', '.join(view.stale)}")
    if problems:
        return wrong("tunnel files", host.name, "; ".join(problems), mend)
    if unknowns:
        reason = f"there is no {', '.join(unknowns)} in the secrets folder to compare with"
        return unknown("tunnel files", host.name, reason, "python certificates.py status")
    if view.stale is None:
        return unknown("tunnel files", host.name, "not known whether the running stunnel has read them", ASK_AGAIN)
    return right("tunnel files", host.name, f"{', '.join(wanted.values())} as in the secrets folder")
