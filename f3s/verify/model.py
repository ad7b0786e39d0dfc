"""What is known of the cluster, and what is said about it. None means unknown everywhere: it could not be found out."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from f3s.carp import CarpView, Rivals
from f3s.clock import Offset
from f3s.controller import Status
from f3s.fstab import Entry
from f3s.keycheck import KeyCheck
from f3s.keys import Stick
from f3s.monitor import MountState
from f3s.mounts import MountTable
from f3s.parsing import NoAnswer
from f3s.pki.certificates import Finding
from f3s.secretfile import SecretState
from f3s.settings import HostSettings, Site
from f3s.sockets import Listener
from f3s.verify.tls import TlsAnswer
from f3s.zfs import Dataset, Marks, Pool, Snapshot

CLUSTER = "cluster"
"""In the column of hosts: what concerns no single host."""
CONTROLLER = "controller"
"""In the column of hosts: the machine that pyinfra runs on."""


class State(enum.Enum):
    """The result of a check. Unknown is never right: in the end it counts like wrong."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Row:
    """One line of the table. `next_step`: what to do about it, empty if all is right."""

    check: str
    host: str
    state: State
    reason: str
    next_step: str = ""


def right(check: str, host: str, reason: str) -> Row:
    return Row(check, host, State.RIGHT, reason)


def wrong(check: str, host: str, reason: str, next_step: str) -> Row:
    return Row(check, host, State.WRONG, reason, next_step)


def unknown(check: str, host: str, reason: str, next_step: str) -> Row:
    return Row(check, host, State.UNKNOWN, reason, next_step)


def judged(check: str, host: str, problems: list[str], fine: str, next_step: str) -> Row:
    """Wrong with all problems, or right."""
    return wrong(check, host, "; ".join(problems), next_step) if problems else right(check, host, fine)


@dataclass(frozen=True)
class HostView:
    """What one reachable host said. It is asked only what its role can answer; the rest stays None.

    + now: its clock, seconds since 1970, read just before the snapshots
    + clock: how far it is off the controller's; time_keeper: name of its NTP daemon, empty without one
    + stick_silent: the stick did not answer in time; `stick` is None then
    + key_checks: whether the key file of each dataset of f3s.verify.storage.key_tests opens it, by dataset
    + written: bytes in each replica that none of its snapshots has, after `zpool sync`
    + running: rc(8) services, or a client's tunnel unit: name -> whether it runs; a missing one is not in it
    + listeners: of TCP and UDP, on a storage host
    + jobs: zrepl's push jobs, each with what it failed of last
    + marks: bookmarks, and holds on snapshots
    + configured_jobs: the names of all jobs in zrepl.yml
    + decisions: the last lines of f3s_storage in the log, oldest first
    + entries: what is in the mount point of the NFS data; False: the right dataset is not mounted there
    + mounts: the table of a FreeBSD host; linux_mounts: that of a client
    + port_is_open: whether others than root reach the client's end of the tunnel
    + secrets: the files of f3s.stunnel.secret_files, by path
    + stale: those of them that changed after the running stunnel read them
    """

    now: int | None = None
    clock: Offset | None = None
    time_keeper: str = ""
    stick: Stick | None = None
    stick_silent: NoAnswer | None = None
    pools: Mapping[str, Pool] | None = None
    datasets: Mapping[str, Dataset] | None = None
    snapshots: tuple[Snapshot, ...] | None = None
    key_checks: Mapping[str, KeyCheck] | None = None
    mounts: MountTable | None = None
    written: Mapping[str, int] | None = None
    running: Mapping[str, bool] | None = None
    listeners: tuple[Listener, ...] | None = None
    jobs: Mapping[str, str | None] | None = None
    marks: Marks | None = None
    configured_jobs: tuple[str, ...] | None = None
    carp: CarpView | None = None
    rivals: Rivals | None = None
    controller: Status | None = None
    decisions: tuple[str, ...] | None = None
    entries: Mapping[str, str] | bool | None = None
    tls: TlsAnswer | None = None
    mount_states: tuple[MountState, ...] | None = None
    linux_mounts: tuple[Entry, ...] | None = None
    port_is_open: bool | None = None
    secrets: Mapping[str, SecretState] | None = None
    stale: tuple[str, ...] | None = None


NOTHING = HostView()
"""Of a host that was not reached."""


@dataclass(frozen=True)
class ClusterView:
    """The site, and what its hosts and the controller said.

    + hosts: host name -> its answers; a host that is not in it did not take part in the run
    + absent: host name -> why it is not in `hosts`
    + findings: the certificates in the secrets folder; None with `pki_problem` if they cannot be read
    + server_sha256: fingerprint of the server certificate in the secrets folder, hex
    + secrets: SHA-256 of the files there that hosts have, by name, hex; a missing one is not in it
    + exported: SHA-256 of the keys in the sealed copy there, by name, hex; None where there is no copy
    + now: the controller's clock, aware
    """

    site: Site
    hosts: Mapping[str, HostView]
    now: datetime
    absent: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] | None = None
    pki_problem: str = ""
    server_sha256: str | None = None
    secrets: Mapping[str, str] | None = None
    exported: Mapping[str, str] | None = None

    def of(self, host: HostSettings) -> HostView:
        """The answers of a host, all None if it was not reached."""
        return self.hosts.get(host.name, NOTHING)
