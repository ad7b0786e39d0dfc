"""What all hosts of the run say, and the controller itself, as one view: for verify, failover and failback.

It changes no host; while there are two CAs, the secrets folder remembers who has their files. What cannot be found out
is None.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from typing import Any, TypeVar

from cryptography.hazmat.primitives import hashes
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.api.state import State as Run
from pyinfra.api.util import get_template
from pyinfra.context import ctx_host, ctx_state

from bridge.settings import REPOSITORY, secrets_folder, site, this_host
from f3s.controller import served_dataset, wanted_services
from f3s.escrow import Export
from f3s.monitor import PROGRAM
from f3s.mount_options import TUNNEL_UNIT
from f3s.parsing import NoAnswer
from f3s.pki.certificates import parse_identity
from f3s.pki.credentials import Credentials
from f3s.pki.manage import Pki, utc_now
from f3s.pki.plan import PkiError, plan_for
from f3s.pki.store import Store
from f3s.secretfile import SecretState
from f3s.services import ServiceState
from f3s.settings import HostSettings, Site
from f3s.stunnel import (
    CLIENT_CONFIG,
    ENDED_STAMP,
    PID_FILE,
    RELOAD_STAMP,
    SERVER_CONFIG,
    secret_files,
    server_variables,
    tls_question,
)
from f3s.verify.model import ClusterView, HostView, Row, State
from f3s.verify.picture import picture, worst
from f3s.verify.report import summary
from f3s.verify.serving import tunnel_files
from f3s.verify.storage import key_tests
from f3s.verify.tls import Outcome
from f3s.zrepl import CONFIG
from facts.carp import Carp, CarpRivals
from facts.clients import MountStates, PortIsOpen
from facts.clock import Clock
from facts.controller import Decisions, StorageController
from facts.fstab import LinuxMounts
from facts.mounts import Mounts
from facts.nfs import ShareEntries
from facts.secrets import SecretFiles
from facts.services import Services
from facts.sockets import Listeners
from facts.stunnel import Stunnel
from facts.tls import Tls
from facts.units import UnitStates
from facts.usb import KeyStick
from facts.zfs import Datasets, HistoryMarks, KeyChecks, Pools, Snapshots
from facts.zrepl import ConfiguredJobs, Jobs, Written
from operations.base import answer, ask

T = TypeVar("T")
_answers: weakref.WeakKeyDictionary[Run, dict[str, Any]] = weakref.WeakKeyDictionary()


def of_all(name: str, answer: T) -> dict[str, T] | None:
    """The answers of all hosts that take part in the run, for the host that answers last; None for the others."""
    run = ctx_state.get()
    answers = _answers.setdefault(run, {})
    answers[name] = answer
    if not {each.name for each in run.inventory.get_active_hosts()} <= answers.keys():
        return None
    del _answers[run]  # another task of the same run asks anew
    return answers


def looked_at_all() -> ClusterView | None:
    """Look at the current host; the view of the whole cluster for the host that is looked at last, None for others.

    pyinfra runs a task file for every host that it could connect to, each in a greenlet of its own. The others are in
    `absent`.
    """
    me = this_host()
    views = of_all(me.name, look(ctx_host.get(), me, site()))
    if views is None:
        return None
    absent = {each.name: "no connection: the error is above" for each in ctx_state.get().failed_hosts}
    return cluster_view(site(), views, absent)


def looked_at_pair() -> ClusterView:
    """Look at both storage hosts, from the primary's turn; one that does not take part in the run is in `absent`.

    Clients are asked how the virtual IP answers, one after the other until one is let in.
    """
    run = ctx_state.get()
    views, absent = {}, {}
    for each in site().storage_hosts:
        member = run.inventory.get_host(each.name)
        if member not in run.inventory.get_active_hosts():
            absent[each.name] = "no connection" if member in run.failed_hosts else "left out by --limit"
            continue
        views[each.name] = look(member, each, site())
    for client in site().clients:
        member = run.inventory.get_host(client.name)
        if member in run.inventory.get_active_hosts():
            tls = ask(member, Tls, **tls_question(client))
            views[client.name] = HostView(tls=tls)
            if tls is not None and tls.known is Outcome.ACCEPTED:
                break
    return cluster_view(site(), views, absent)


def needs_primary() -> None:
    """Raises DeployError where the primary does not take part in this run: the steps of a move run there."""
    run = ctx_state.get()
    primary = site().primary.name
    if primary not in {each.name for each in run.inventory.get_active_hosts()}:
        raise DeployError(
            f"{primary} does not take part in this run, and all steps are taken from there. If it is down, see "
            f"tasks/verify.py: {site().standby.name} takes over by itself"
        )


def cluster_view(settings: Site, views: dict[str, HostView], absent: dict[str, str]) -> ClusterView:
    """The hosts' answers together with what the controller itself knows."""
    now = utc_now()
    folder = secrets_folder(settings)
    store = Store(folder)
    try:
        pki = Pki(store, plan_for(settings), now)
        secrets = _digests(store, settings)
        pki.seen(_with_their_files(ClusterView(settings, views, now, absent, secrets=secrets)), secrets)
        findings = tuple(pki.status())
        export = Export.of(store)
        server = parse_identity(Credentials(folder).server().encode(), "the server's file").certificate
    except (PkiError, OSError) as error:
        return ClusterView(settings, views, now, absent, pki_problem=str(error))
    fingerprint = server.fingerprint(hashes.SHA256()).hex()
    exported = export.keys if export else None
    return ClusterView(
        settings, views, now, absent, findings, server_sha256=fingerprint, secrets=secrets, exported=exported
    )


def _with_their_files(cluster: ClusterView) -> dict[str, bool]:
    """Of the hosts that were looked at in full: whether they have the files of the secrets folder."""
    looked_at = [each for each in cluster.site.hosts if secret_files(each) and cluster.of(each).secrets is not None]
    return {each.name: tunnel_files(cluster, each).state is State.RIGHT for each in looked_at}


def _digests(store: Store, settings: Site) -> dict[str, str]:
    names = {name for each in settings.hosts for name in secret_files(each).values()}
    contents = {name: store.read(name) for name in names}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if content is not None}


def as_html(cluster: ClusterView, rows: Sequence[Row]) -> str:
    """The table and a picture of the cluster as one page that needs nothing else."""
    # what needs somebody comes first, the rest stays in its order
    ordered = sorted(rows, key=lambda row: row.state is State.RIGHT)
    template = get_template(str(REPOSITORY / "templates" / "verify.html.j2"), {"autoescape": True})
    return template.render(
        rows=[{**vars(row), "state": row.state.value} for row in ordered],
        picture=picture(cluster, rows),
        decisions={name: view.decisions for name, view in cluster.hosts.items() if view.decisions},
        summary=summary(rows),
        verdict=worst(rows).value,
        at=cluster.now.isoformat(timespec="seconds"),
        at_text=f"{cluster.now:%Y-%m-%d %H:%M:%S} UTC",
    )


def look(member: Host, me: HostSettings, site: Site) -> HostView:
    """What a host that takes part in the run says of itself."""
    if me.is_freebsd:
        return _freebsd(member, me, site)
    return _client(member, me) if me.is_client else HostView()


def _freebsd(member: Host, me: HostSettings, site: Site) -> HostView:
    datasets = ask(member, Datasets)
    sends, receives = site.jobs_from(me), site.jobs_to(me)
    clock = ask(member, Clock)
    # right after the clock: what is newer is from the future
    snapshots = ask(member, Snapshots) if sends or receives else None
    roots = key_tests(site, me, datasets or {}, snapshots)
    names = [*(wanted_services(me) if me.is_storage else ()), *(("zrepl",) if sends or receives else ())]
    states = ask(member, Services, names=names) if names else {}
    running = {
        name: state is ServiceState.RUNNING
        for name, state in (states or {}).items()
        if state is not ServiceState.MISSING
    }
    sink = me.zrepl.sink_root
    stick = answer(member, KeyStick, label=me.usb.label, mountpoint=me.usb.mountpoint)
    silent = stick if isinstance(stick, NoAnswer) else None
    return HostView(
        now=clock.now if clock else None,
        clock=clock.off if clock else None,
        time_keeper=clock.keeper if clock else "",
        stick=None if isinstance(stick, NoAnswer) else stick,
        stick_silent=silent,
        pools=ask(member, Pools),
        datasets=datasets,
        snapshots=snapshots,
        # a stick that does not answer would keep this waiting as well
        key_checks=None if silent else ask(member, KeyChecks, keys=tuple(roots.items())) if roots else {},
        mounts=ask(member, Mounts),
        written=ask(member, Written, tree=sink) if receives and datasets and sink in datasets else None,
        running=None if states is None else running,
        listeners=ask(member, Listeners) if me.is_storage else None,
        marks=ask(member, HistoryMarks),
        configured_jobs=ask(member, ConfiguredJobs, path=CONFIG),
        jobs=ask(member, Jobs) if sends and running.get("zrepl") else None,
        carp=ask(member, Carp, interface=me.carp.interface) if me.is_storage else None,
        rivals=ask(member, CarpRivals, interface=me.carp.interface, address=me.vip.address) if me.is_storage else None,
        controller=ask(member, StorageController) if me.is_storage else None,
        decisions=ask(member, Decisions) if me.is_storage and member.data.get("verify_html") else None,
        entries=_entries(member, me, site) if me.is_storage else None,
        secrets=_secrets(member, me),
        stale=_stale(member, me) if me.is_storage else None,
    )


def _secrets(member: Host, me: HostSettings) -> dict[str, SecretState] | None:
    paths = list(secret_files(me))
    if not paths:
        return {}
    states = ask(member, SecretFiles, paths=paths)
    return None if states is None else dict(zip(paths, states, strict=True))


def _stale(member: Host, me: HostSettings) -> tuple[str, ...] | None:
    state = ask(member, Stunnel, pid_file=PID_FILE, stamp=RELOAD_STAMP, files=[SERVER_CONFIG, *secret_files(me)])
    looked = ask(member, Stunnel, pid_file=PID_FILE, stamp=ENDED_STAMP, files=[server_variables(me)["crl_file"]])
    if state is None or looked is None:
        return None
    return (*state.stale, *(f"{path} for connections from before" for path in looked.stale if path not in state.stale))


def _entries(member: Host, me: HostSettings, site: Site) -> dict[str, str] | bool | None:
    nfs, served = me.nfs, served_dataset(me, site)
    return ask(member, ShareEntries, dataset=served, mountpoint=nfs.mountpoint, names=[nfs.marker, nfs.failback_block])


def _client(member: Host, me: HostSettings) -> HostView:
    states = ask(member, UnitStates, names=[TUNNEL_UNIT], files=[CLIENT_CONFIG, *secret_files(me)])
    tunnel = states.units[TUNNEL_UNIT] if states else None
    clock = ask(member, Clock)
    return HostView(
        now=clock.now if clock else None,
        clock=clock.off if clock else None,
        time_keeper=clock.keeper if clock else "",
        tls=ask(member, Tls, **tls_question(me)),
        mount_states=ask(member, MountStates, monitor=PROGRAM),
        linux_mounts=ask(member, LinuxMounts),
        port_is_open=ask(member, PortIsOpen, port=me.stunnel.port) if me.client.tunnel_root_only else None,
        secrets=_secrets(member, me),
        running=None if tunnel is None else {TUNNEL_UNIT: tunnel.active},
        stale=None if tunnel is None or states is None else states.newer(tunnel),
    )
