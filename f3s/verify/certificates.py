"""How the virtual IP answers each client, and the certificates that both sides show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from f3s.pki.certificates import NEXT_STEP, Finding, State, days_until
from f3s.settings import HostSettings
from f3s.verify.model import CLUSTER, CONTROLLER, ClusterView, Row, right, unknown, wrong
from f3s.verify.serving import masters
from f3s.verify.storage import ASK_AGAIN, RUN
from f3s.verify.tls import Fault, Outcome, TlsAnswer

RENEW = f"python certificates.py init; then {RUN.format('stunnel')} and {RUN.format('clients')}"


def certificate_rows(cluster: ClusterView) -> Iterator[Row]:
    """TLS as each client sees it, and what is in the secrets folder."""
    if not cluster.site.clients:
        yield unknown("TLS", CLUSTER, "there is no client to ask from", "add one to group clients")
    yield from (tls(cluster, host) for host in cluster.site.clients if host.name in cluster.hosts)
    yield from certificates(cluster)


def tls(cluster: ClusterView, host: HostSettings) -> Row:
    """The virtual IP shows this client the right certificate, lets it in, and lets nobody in without one."""
    answer = cluster.of(host).tls
    where = f"{host.vip.address}:{host.stunnel.port}"
    if answer is None:
        return unknown("TLS", host.name, f"{where} could not be asked", "see the error above; is the client deployed?")
    problems = list(_problems(cluster, host, answer, where))
    if problems:
        return wrong("TLS", host.name, "; ".join(problem for problem, _ in problems), problems[0][1])
    if answer.stranger is not Outcome.REFUSED:
        return unknown("TLS", host.name, "it is not known whether it refuses without a certificate", ASK_AGAIN)
    assert answer.not_after is not None
    left = days_until(answer.not_after, cluster.now)
    return right("TLS", host.name, f"{where} answers, certificate for {left} days, refuses without one")


def _problems(cluster: ClusterView, host: HostSettings, answer: TlsAnswer, where: str) -> Iterator[tuple[str, str]]:
    """What is wrong, each with the next step, the most urgent first."""
    if answer.stranger is Outcome.ACCEPTED:
        yield (
            f"{where} lets in anybody without a certificate",
            f"doas service stunnel onestop on the MASTER at once, then {RUN.format('stunnel')}",
        )
    if answer.known is Outcome.UNREACHABLE:
        yield f"nothing answers on {where}", "see the rows one MASTER and services"
    elif answer.known is Outcome.REFUSED:
        yield _refused(cluster, answer, where)
    elif answer.known is Outcome.NOT_VERIFIED:
        yield _not_verified(cluster, host, answer, where)
    elif answer.not_after is not None:
        if cluster.server_sha256 is not None and answer.sha256 != cluster.server_sha256:
            yield "the certificate served is not the one in the secrets folder", RUN.format("stunnel")
        left = days_until(answer.not_after, cluster.now)
        if left < host.pki.renew_before_days:
            yield (
                f"the certificate served ends in {left} days",
                f"python certificates.py init; then {RUN.format('stunnel')}",
            )


def _refused(cluster: ClusterView, answer: TlsAnswer, where: str) -> tuple[str, str]:
    """Why the server refuses a client, and what to do.

    Its alert is the same for the client's certificate and for its revocation list, which locks everybody out (OpenSSL,
    ssl_x509err2alert in ssl/statem/statem_lib.c). Their dates tell which, by the clock here and by the server's.
    """
    master = next(iter(masters(cluster)), None)
    server = master.name if master else "the host that serves"
    clock = _clock(cluster, master) if master else None
    for whom, what, start, end in _dated(cluster, answer) if answer.fault is not None else ():
        early = answer.fault is Fault.NOT_YET_VALID
        when = start if early else end
        refuses = f"{where} refuses {whom}: {what}"
        if when is None:
            continue
        if _is_so(answer.fault, when, cluster.now):
            return f"{refuses} {'is not valid before' if early else 'expired'} {_said(when)}", RENEW
        if clock is not None and _is_so(answer.fault, when, clock):
            valid = f"is valid {'from' if early else 'until'} {_said(when)}"
            return f"{refuses} {valid}, and the clock of {server} says {_said(clock)}", _set_clock(server)
    return (
        f"{where} refuses this client's certificate ({answer.detail})",
        f"python certificates.py status; then {RUN.format('stunnel')} and {RUN.format('clients')}. "
        f"If it stays, compare the clocks: date here and on {server}",
    )


def _dated(cluster: ClusterView, answer: TlsAnswer) -> Iterator[tuple[str, str, datetime | None, datetime | None]]:
    """What the server checks before it lets a client in: whom it concerns, what it is, its dates."""
    if answer.own is not None:
        yield "this client", "its certificate", *answer.own
    names = {"crl": "the revocation list", "ca": "the CA's certificate"}
    for finding in cluster.findings or ():
        if finding.name in names:
            yield "everybody", names[finding.name], finding.not_before, finding.not_after


def _not_verified(cluster: ClusterView, host: HostSettings, answer: TlsAnswer, where: str) -> tuple[str, str]:
    """Why the client does not accept the server's certificate: its dates, its own clock, or somebody else."""
    if answer.fault is None:
        return (
            f"{where} shows a certificate that is not the server's ({answer.detail})",
            f"{RUN.format('stunnel')}; if it stays, somebody else answers on {host.vip.address}",
        )
    early = answer.fault is Fault.NOT_YET_VALID
    if answer.named is None or _is_so(answer.fault, answer.named, cluster.now):
        when = f" {_said(answer.named)}" if answer.named else ""
        verb = "is not valid before" if early else "expired"
        return f"{where} shows a certificate that {verb}{when}", RENEW
    clock = _clock(cluster, host)
    valid = f"is valid {'from' if early else 'until'} {_said(answer.named)}"
    says = f"says {_said(clock)}" if clock else "says something else"
    return f"{where} shows a certificate that {valid}, and the clock of this client {says}", _set_clock(host.name)


def _is_so(fault: Fault | None, when: datetime, clock: datetime) -> bool:
    return when > clock if fault is Fault.NOT_YET_VALID else when <= clock


def _clock(cluster: ClusterView, host: HostSettings) -> datetime | None:
    now = cluster.of(host).now
    return None if now is None else datetime.fromtimestamp(now, UTC)


def _set_clock(name: str) -> str:
    return f"set the clock of {name} and find out why it is wrong (NTP?); then run verify again"


def _said(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def certificates(cluster: ClusterView) -> Iterator[Row]:
    """What is in the secrets folder: everything is good, and when it ends."""
    if cluster.findings is None:
        reason = cluster.pki_problem or "the secrets folder could not be read"
        yield unknown("certificates", CONTROLLER, reason, "python certificates.py status")
        return
    for finding in cluster.findings:
        check = f"certificate {finding.name}" if finding.not_after else finding.name
        reason = _until(finding, cluster.now)
        if finding.state is State.GOOD:
            yield right(check, CONTROLLER, reason)
        else:
            step = RENEW
            if finding.state is State.LEFT_OVER:
                step = f"python certificates.py revoke {finding.name}; then {RUN.format('stunnel')}"
            elif finding.state is State.ON_ITS_WAY:
                step = f"{RUN.format('stunnel')} and {RUN.format('clients')}; then {RUN.format('verify')}"
            elif finding.state is State.DUE:
                step = f"python certificates.py {NEXT_STEP[finding.name]}"
            elif finding.state is State.REVOKED:
                extra = finding.name in cluster.site.primary.pki.extra_clients
                where = "pki_extra_clients" if extra else "the inventory"
                step = f"python certificates.py renew {finding.name}, or take it out of {where}"
            yield wrong(check, CONTROLLER, reason, step)


def _until(finding: Finding, now: datetime) -> str:
    """The state of a certificate or list, why it is not good, and its end."""
    said = finding.state.value
    if finding.state is not State.GOOD and finding.detail:
        said = f"{said}: {finding.detail}"
    if finding.not_after is None:
        return said
    left = days_until(finding.not_after, now)
    return f"{said}, until {finding.not_after:%Y-%m-%d}" + (f" ({left} days)" if left >= 0 else "")
