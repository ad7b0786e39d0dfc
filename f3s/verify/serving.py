"""Who holds the virtual IP, whether the right services run there, and how it answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from f3s.carp import CarpState
from f3s.pki.certificates import State as PkiState
from f3s.settings import HostSettings
from f3s.verify.model import CLUSTER, CONTROLLER, ClusterView, HostView, Row, judged, right, unknown, wrong
from f3s.verify.storage import ASK_AGAIN, RUN
from f3s.verify.tls import Outcome, TlsAnswer


def serving_rows(cluster: ClusterView) -> Iterator[Row]:
    """CARP, the services on both sides, TLS as each client sees it, and the certificates."""
    pair = [host for host in cluster.site.storage_hosts if host.name in cluster.hosts]
    yield from (address(cluster, host) for host in pair)
    yield one_master(cluster)
    yield from (services(cluster, host) for host in pair)
    if not cluster.site.clients:
        yield unknown("TLS", CLUSTER, "there is no client to ask from", "add one to group clients")
    yield from (tls(cluster, host) for host in cluster.site.clients if host.name in cluster.hosts)
    yield from certificates(cluster)


def carp_state(view: HostView, host: HostSettings) -> CarpState | None:
    """The state of the site's vhid on a storage host; None: not known, or it has none."""
    ours = view.carp.virtual_hosts.get(host.carp.vhid) if view.carp else None
    return ours.state if ours else None


def _named(view: HostView, host: HostSettings) -> str:
    state = carp_state(view, host)
    if state is not None:
        return state.value
    return "not known" if view.carp is None else "without CARP"


def masters(cluster: ClusterView) -> tuple[HostSettings, ...]:
    """The storage hosts that say that they are MASTER."""
    return tuple(h for h in cluster.site.storage_hosts if carp_state(cluster.of(h), h) is CarpState.MASTER)


def held(cluster: ClusterView, host: HostSettings | None = None) -> str | None:
    """Since when `carp backup` holds a host (by default the primary: a planned failover); None: not held, not known."""
    controller = cluster.of(host or cluster.site.primary).controller
    return controller.hold if controller else None


def address(cluster: ClusterView, host: HostSettings) -> Row:
    """The virtual IP is configured in our vhid, and the kernel does not preempt."""
    view = cluster.of(host).carp
    if view is None:
        return unknown("CARP", host.name, "the interface could not be read", ASK_AGAIN)
    ours = view.virtual_hosts.get(host.carp.vhid)
    if ours is None or host.vip.address not in ours.addresses:
        missing = f"{host.carp.interface} has no {host.vip.address} in vhid {host.carp.vhid}"
        return wrong("CARP", host.name, missing, RUN.format("carp"))
    problems = []
    if ours.state is CarpState.INIT:
        problems.append(f"vhid {host.carp.vhid} is INIT: {host.carp.interface} has no link, or is down")
    if view.preempt != 0:
        problems.append("net.inet.carp.preempt is not 0, so the address may move by itself")
    if view.demotion:
        problems.append(f"net.inet.carp.demotion is {view.demotion}: an interface or pfsync is not well")
    fine = f"{ours.state.value}, advskew {ours.advskew}"
    return judged("CARP", host.name, problems, fine, f"doas ifconfig {host.carp.interface}; {RUN.format('carp')}")


def one_master(cluster: ClusterView) -> Row:
    """Exactly one host is MASTER; the standby only while a planned failover lasts."""
    pair = cluster.site.storage_hosts
    said = ", ".join(f"{host.short_name} {_named(cluster.of(host), host)}" for host in pair)
    found = masters(cluster)
    if len(found) > 1:
        return wrong(
            "one MASTER",
            CLUSTER,
            f"both are MASTER ({said}): they do not hear each other",
            "check the network between them (the switch has to pass multicast to 224.0.0.18) and the CARP password",
        )
    if any(cluster.of(host).carp is None for host in pair):
        return unknown("one MASTER", CLUSTER, said, "bring the missing host back, then run verify again")
    if not found:
        primary = cluster.site.primary.name
        return wrong("one MASTER", CLUSTER, f"nobody is MASTER ({said})", f"doas carp master on {primary}")
    if (stale := held(cluster, found[0])) is not None:
        return wrong(
            "one MASTER",
            CLUSTER,
            f"{said}: {found[0].short_name} is MASTER although carp backup holds it ({stale}): the other host has not "
            "kept the address. Until that hold ends, it gives the address away at its next boot, and automatic "
            "failback is off",
            f"doas carp master on {found[0].name}",
        )
    if found[0].is_primary:
        return right("one MASTER", CLUSTER, said)
    hold = held(cluster)
    if hold is not None:
        return right("one MASTER", CLUSTER, f"{said}; planned failover {hold}: clients read only until failback")
    return wrong(
        "one MASTER",
        CLUSTER,
        f"{said}: the standby serves, clients cannot write",
        f"it comes back by itself, see /var/log/carp-auto-failback.log on {cluster.site.primary.name}; "
        f"or {RUN.format('failback')}",
    )


def wanted_services(host: HostSettings) -> tuple[str, ...]:
    """What runs on the MASTER alone, in the order in which it is started."""
    names = ("nfsuserd",) if host.nfs.owners == "names" else ()
    return ("rpcbind", "mountd", *names, "nfsd", "stunnel")


def services(cluster: ClusterView, host: HostSettings) -> Row:
    """The controller is started; the services run on the MASTER, and on nobody else."""
    view = cluster.of(host)
    state = carp_state(view, host)
    if state is None:
        return unknown("services", host.name, "not known what should run: no CARP state", "see the row CARP")
    if view.running is None or view.controller is None:
        return unknown("services", host.name, "the services could not be listed", ASK_AGAIN)
    problems = []
    if not view.controller.started:
        problems.append("f3s_storage is not started")
    if view.controller.failed is not None:
        problems.append(f"{view.controller.failed} (still on record)")
    names = wanted_services(host)
    if missing := [name for name in names if name not in view.running]:
        problems.append(f"not installed: {', '.join(missing)}")
    master = state is CarpState.MASTER
    astray = [name for name in names if view.running.get(name, master) is not master]
    if astray:
        problems.append(f"{state.value}, but {'not running' if master else 'running'}: {', '.join(astray)}")
    if problems and view.controller.decision:
        problems.append(f"last decision: {view.controller.decision}")
    mend = "doas service f3s_storage reconcile; doas service f3s_storage status"
    if not view.controller.started:
        mend = f"doas service f3s_storage start, or {RUN.format('carp')}"
    elif view.controller.failed is not None:
        mend = f"find out why (/var/log/messages), then: doas carp master on {host.name}"
    fine = f"{state.value}: {', '.join(names)} {'run' if master else 'are stopped'}"
    return judged("services", host.name, problems, fine, mend)


def days_until(end: datetime, now: datetime) -> int:
    """Whole days, negative after it."""
    return (end - now) // timedelta(days=1)


def tls(cluster: ClusterView, host: HostSettings) -> Row:
    """The virtual IP shows this client the right certificate, lets it in, and nobody without one."""
    answer = cluster.of(host).tls
    where = f"{host.vip.address}:{host.stunnel.port}"
    if answer is None:
        return unknown("TLS", host.name, f"{where} could not be asked", "see the error above; is the client deployed?")
    problems, steps = _tls_problems(cluster, host, answer, where)
    if problems:
        return wrong("TLS", host.name, "; ".join(problems), steps[0])
    if answer.stranger is not Outcome.REFUSED:
        return unknown("TLS", host.name, "it is not known whether it refuses without a certificate", ASK_AGAIN)
    assert answer.not_after is not None
    left = days_until(answer.not_after, cluster.now)
    return right("TLS", host.name, f"{where} answers, certificate for {left} days, refuses without one")


def _tls_problems(
    cluster: ClusterView, host: HostSettings, answer: TlsAnswer, where: str
) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    steps: list[str] = []
    if answer.stranger is Outcome.ACCEPTED:
        problems.append(f"{where} lets in anybody without a certificate")
        steps.append(f"doas service stunnel onestop on the MASTER at once, then {RUN.format('stunnel')}")
    if answer.known is Outcome.UNREACHABLE:
        problems.append(f"nothing answers on {where}")
        steps.append("see the rows one MASTER and services")
    elif answer.known is Outcome.REFUSED:
        problems.append(f"{where} refuses this client's certificate ({answer.detail})")
        steps.append(f"python -m f3s.pki status; then {RUN.format('stunnel')} and {RUN.format('clients')}")
    elif answer.known is Outcome.NOT_VERIFIED:
        problems.append(f"{where} shows a certificate that is not the server's ({answer.detail})")
        steps.append(f"{RUN.format('stunnel')}; if it stays, somebody else answers on {host.vip.address}")
    elif answer.not_after is not None:
        left = days_until(answer.not_after, cluster.now)
        if cluster.server_sha256 is not None and answer.sha256 != cluster.server_sha256:
            problems.append("the certificate served is not the one in the secrets folder")
            steps.append(RUN.format("stunnel"))
        if left < host.pki.renew_before_days:
            problems.append(f"the certificate served ends in {left} days")
            steps.append(f"python -m f3s.pki init; then {RUN.format('stunnel')}")
    return problems, steps


def certificates(cluster: ClusterView) -> Iterator[Row]:
    """What is in the secrets folder: everything good, with the days left."""
    if cluster.findings is None:
        reason = cluster.pki_problem or "the secrets folder could not be read"
        yield unknown("certificates", CONTROLLER, reason, "python -m f3s.pki status")
        return
    for finding in cluster.findings:
        check = f"certificate {finding.name}" if finding.not_after else finding.name
        left = f", {days_until(finding.not_after, cluster.now)} days left" if finding.not_after else ""
        if finding.state is PkiState.GOOD:
            yield right(check, CONTROLLER, f"good{left}")
        else:
            step = "python -m f3s.pki init; then pyinfra inventory.py deploy.py"
            if finding.state is PkiState.LEFT_OVER:
                step = f"python -m f3s.pki revoke {finding.name}"
            elif finding.state is PkiState.REVOKED:
                step = f"python -m f3s.pki renew {finding.name}, or take it out of the inventory"
            yield wrong(check, CONTROLLER, f"{finding.state.value}: {finding.detail}{left}", step)
