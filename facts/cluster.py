"""Everything that verify, failover and failback ask one host. Read-only; what cannot be found out is None."""

from __future__ import annotations

from typing import TypeVar, cast

from pyinfra import logger
from pyinfra.context import host

from f3s.controller import served_dataset, wanted_services
from f3s.mount_options import TUNNEL_UNIT
from f3s.parsing import NoAnswer
from f3s.secretfile import SecretState
from f3s.settings import HostSettings, Site
from f3s.stunnel import CLIENT_CONFIG, PID_FILE, RELOAD_STAMP, SERVER_CONFIG, client_variables, secret_files
from f3s.verify.model import HostView
from f3s.verify.storage import key_tests
from f3s.verify.tls import TlsAnswer
from f3s.zrepl import CONFIG
from facts.base import DEVICE_SECONDS, HostFact
from facts.carp import Carp
from facts.clients import MountStates
from facts.clock import Clock, asked_between
from facts.controller import StorageController
from facts.fstab import LinuxMounts
from facts.mounts import Mounts
from facts.nfs import NfsExported, ShareEntries
from facts.secrets import SecretFiles
from facts.services import Services, ServiceState
from facts.sockets import Listeners
from facts.stunnel import Stunnel
from facts.tls import Tls
from facts.units import UnitStates
from facts.usb import KeyStick
from facts.zfs import Datasets, HistoryMarks, KeyChecks, Pools, Snapshots
from facts.zrepl import ConfiguredJobs, Jobs, Written

T = TypeVar("T")
MONITOR = "/usr/local/bin/check-nfs-mount.sh"


ANSWER_WITHIN = DEVICE_SECONDS + 30
"""Seconds: on a suspended pool a question never ends, and the others would never be seen. More than a disk has."""


def answer(fact: type[HostFact[T]], *, within: int = ANSWER_WITHIN, **arguments: object) -> T | NoAnswer | None:
    """A fact of the current host; None where it fails or takes longer than `within` seconds.

    pyinfra shows the error, the host stays in the run.
    """
    return cast(T | NoAnswer | None, host.get_fact(fact, **arguments, _ignore_errors=True, _timeout=within))


def ask(fact: type[HostFact[T]], *, within: int = ANSWER_WITHIN, **arguments: object) -> T | None:
    """As `answer`, with None where a disk does not answer."""
    said = answer(fact, within=within, **arguments)
    if isinstance(said, NoAnswer):
        host.log(str(said), logger.error)
        return None
    return said


def look(settings: HostSettings, site: Site) -> HostView:
    """What the current host says of itself."""
    if settings.is_freebsd:
        return _freebsd(settings, site)
    return _client(settings) if settings.is_client else HostView()


def _freebsd(me: HostSettings, site: Site) -> HostView:
    datasets = ask(Datasets)
    sends, receives = site.jobs_from(me), site.jobs_to(me)
    now, off = asked_between(lambda: ask(Clock))
    # right after the clock: what is newer is from the future
    snapshots = ask(Snapshots) if sends or receives else None
    roots = key_tests(site, me, datasets or {}, snapshots)
    names = [*(wanted_services(me) if me.is_storage else ()), *(("zrepl",) if sends or receives else ())]
    states = ask(Services, names=names) if names else {}
    running = {
        name: state is ServiceState.RUNNING
        for name, state in (states or {}).items()
        if state is not ServiceState.MISSING
    }
    sink = me.zrepl.sink_root
    stick = answer(KeyStick, label=me.usb.label, mountpoint=me.usb.mountpoint)
    silent = stick if isinstance(stick, NoAnswer) else None
    return HostView(
        now=now,
        clock=off,
        stick=None if isinstance(stick, NoAnswer) else stick,
        stick_silent=silent,
        pools=ask(Pools),
        datasets=datasets,
        snapshots=snapshots,
        # a stick that does not answer would keep this waiting as well
        key_checks=None if silent else ask(KeyChecks, keys=tuple(roots.items())) if roots else {},
        mounts=ask(Mounts),
        written=ask(Written, tree=sink) if receives and datasets and sink in datasets else None,
        running=None if states is None else running,
        listeners=ask(Listeners) if me.is_storage else None,
        marks=ask(HistoryMarks),
        configured_jobs=ask(ConfiguredJobs, path=CONFIG),
        jobs=ask(Jobs) if sends and running.get("zrepl") else None,
        carp=ask(Carp, interface=me.carp.interface) if me.is_storage else None,
        controller=ask(StorageController) if me.is_storage else None,
        entries=_entries(me, site) if me.is_storage else None,
        exported=ask(NfsExported) if me.is_storage else None,
        secrets=_secrets(me),
        unread=_unread(me) if me.is_storage else None,
    )


def _secrets(me: HostSettings) -> dict[str, SecretState] | None:
    paths = list(secret_files(me))
    if not paths:
        return {}
    states = ask(SecretFiles, paths=paths)
    return None if states is None else dict(zip(paths, states, strict=True))


def _unread(me: HostSettings) -> tuple[str, ...] | None:
    state = ask(Stunnel, pid_file=PID_FILE, stamp=RELOAD_STAMP, files=[SERVER_CONFIG, *secret_files(me)])
    return None if state is None else state.unread


def _entries(me: HostSettings, site: Site) -> dict[str, str] | bool | None:
    nfs, served = me.nfs, served_dataset(me, site)
    return ask(ShareEntries, dataset=served, mountpoint=nfs.mountpoint, names=[nfs.marker, nfs.failback_block])


def tls_answer(me: HostSettings) -> TlsAnswer | None:
    """How the virtual IP answers to a client."""
    files = client_variables(me)
    return ask(
        Tls,
        address=me.vip.address,
        port=me.stunnel.port,
        server_name=files["server_name"],
        cert_file=files["cert_file"],
        ca_file=files["ca_file"],
    )


def _client(me: HostSettings) -> HostView:
    states = ask(UnitStates, names=[TUNNEL_UNIT], files=[CLIENT_CONFIG, *secret_files(me)])
    tunnel = states.units[TUNNEL_UNIT] if states else None
    now, off = asked_between(lambda: ask(Clock))
    return HostView(
        now=now,
        clock=off,
        tls=tls_answer(me),
        mount_states=ask(MountStates, monitor=MONITOR),
        linux_mounts=ask(LinuxMounts),
        secrets=_secrets(me),
        running=None if tunnel is None else {TUNNEL_UNIT: tunnel.active},
        unread=None if tunnel is None or states is None else states.newer(tunnel),
    )
