"""What verify, failover and failback share: one look at all hosts of the run, and at the secrets folder."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from pyinfra.api.exceptions import DeployError
from pyinfra.api.state import State as Run
from pyinfra.api.util import get_template
from pyinfra.context import ctx_host, ctx_state, host

from f3s.pki.certificates import parse_identity
from f3s.pki.credentials import Credentials
from f3s.pki.manage import Pki, utc_now
from f3s.pki.plan import PkiError, plan_for
from f3s.pki.store import Store
from f3s.settings import Site
from f3s.stunnel import secret_files
from f3s.verify.model import ClusterView, HostView, Row, State
from f3s.verify.picture import picture, worst
from f3s.verify.report import summary
from f3s.verify.tls import Outcome
from facts.cluster import look, tls_answer
from tasks.common import REPOSITORY, secrets_folder, site, this_host

_views: weakref.WeakKeyDictionary[Run, dict[str, HostView]] = weakref.WeakKeyDictionary()


def looked_at_all() -> ClusterView | None:
    """Look at the current host; the view of the whole cluster for the host that is looked at last, None for others.

    pyinfra runs a task file for every host that it could connect to, each in a greenlet of its own. The others are in
    `absent`.
    """
    run = ctx_state.get()
    view = look(this_host(), site())
    views = _views.setdefault(run, {})
    views[host.name] = view
    if not {each.name for each in run.inventory.get_active_hosts()} <= views.keys():
        return None
    del _views[run]  # another task of the same run looks anew
    absent = {each.name: "no connection: the error is above" for each in run.failed_hosts}
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
        with ctx_host.use(member):
            views[each.name] = look(each, site())
    for client in site().clients:
        member = run.inventory.get_host(client.name)
        if member in run.inventory.get_active_hosts():
            with ctx_host.use(member):
                answer = tls_answer(client)
            views[client.name] = HostView(tls=answer)
            if answer is not None and answer.known is Outcome.ACCEPTED:
                break
    return cluster_view(site(), views, absent)


def needs_primary() -> None:
    """Raises DeployError where the primary does not take part in this run: the steps of a move run there."""
    run = ctx_state.get()
    primary = site().primary.name
    if primary not in {each.name for each in run.inventory.get_active_hosts()}:
        raise DeployError(
            f"{primary} does not take part in this run, and the address is moved from there. If it is down, "
            f"{site().standby.name} has taken over by itself: see tasks/verify.py"
        )


def cluster_view(settings: Site, views: dict[str, HostView], absent: dict[str, str]) -> ClusterView:
    """The hosts' answers together with what the controller itself knows."""
    now = utc_now()
    folder = secrets_folder(settings)
    try:
        findings = tuple(Pki(Store(folder), plan_for(settings), now).status())
        secrets = _digests(Store(folder), settings)
        server = parse_identity(Credentials(folder).server().encode(), "the server's file").certificate
    except (PkiError, OSError) as error:
        return ClusterView(settings, views, now, absent, pki_problem=str(error))
    fingerprint = server.fingerprint(hashes.SHA256()).hex()
    return ClusterView(settings, views, now, absent, findings, server_sha256=fingerprint, secrets=secrets)


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
        summary=summary(rows),
        verdict=worst(rows).value,
        at=cluster.now.isoformat(timespec="seconds"),
        at_text=f"{cluster.now:%Y-%m-%d %H:%M:%S} UTC",
    )
