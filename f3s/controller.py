"""What this project knows of `f3s_storage`, which serves while it is ready and claims the address (docs/controller.md).

Where it lies on a storage host, what the deploy tells it (storage.conf), and what it says of itself (its status).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from f3s import stunnel
from f3s.carp import CarpState
from f3s.conditions import DAY, for_hosts, scrub_allowed
from f3s.parsing import UnknownOutput, number, sections
from f3s.replication import allowed_age
from f3s.settings import HostSettings, Site

RC_SCRIPT = "/usr/local/etc/rc.d/f3s_storage"
CONTROL = stunnel.CONTROL
STORAGE_CONF = "/usr/local/etc/f3s/storage.conf"
RUN = "/var/run/f3s"
REPORT = "/usr/local/libexec/f3s/report"
ZREPL_WATCH = "/usr/local/libexec/f3s/zrepl-watch"
REPORT_CONF = "/usr/local/etc/f3s/report.conf"
STARTED = f"{RUN}/started"
HOLD = "/var/db/f3s/carp.hold"
WITH_ALL = "with all that was written"
"""How a hold ends where `carp backup` has replicated the last write."""
RECORD = "/var/db/f3s/record"
RETURN = "/var/db/f3s/return"
FAILBACK_LOG = "/var/log/carp-auto-failback.log"
"""Paths as files/freebsd/f3s-storage-lib.sh names them."""

PROGRAMS = {
    "bounded.sh": ("/usr/local/libexec/f3s/bounded.sh", "0644"),
    "f3s-storage-lib.sh": ("/usr/local/libexec/f3s/storage.sh", "0644"),
    "f3s-storage-control.sh": (CONTROL, "0755"),
    "answers.sh": ("/usr/local/libexec/f3s/answers", "0755"),
    "carp": ("/usr/local/bin/carp", "0755"),
    "carpcontrol.sh": ("/usr/local/bin/carpcontrol.sh", "0755"),
    "carp-auto-failback.sh": ("/usr/local/bin/carp-auto-failback.sh", "0755"),
    "f3s_storage": (RC_SCRIPT, "0755"),
    "report.sh": (REPORT, "0755"),
    "zrepl-watch.sh": (ZREPL_WATCH, "0755"),
    "periodic-f3s.sh": ("/usr/local/etc/periodic/daily/490.f3s", "0755"),
    "newsyslog-f3s.conf": ("/usr/local/etc/newsyslog.conf.d/f3s.conf", "0644"),
}
"""What it consists of: files of files/freebsd, and where each goes with which mode."""

OTHER_VERSION = "is not of this version of the deploy: run tasks/carp.py"


# -- what it is told --


def wanted_services(host: HostSettings) -> tuple[str, ...]:
    """What runs on both storage hosts while they are ready, in the order in which it is started."""
    names = ("nfsuserd",) if host.nfs.owners == "names" else ()
    return ("rpcbind", "mountd", *names, "nfsd", "stunnel")


def served_dataset(host: HostSettings, site: Site) -> str:
    """What a storage host serves: the share on the primary, its replica on the standby."""
    return host.nfs.dataset if host.is_primary else site.replica(site.served_job)


CLAIMS = {"primary": (10, 60), "standby": (20, 100)}
"""advskew of a host that is MASTER and ready, and otherwise: the lower claim has the address (docs/controller.md)."""
PROMOTED_CLAIM = 0
"""Of a standby that was promoted and is MASTER: below that of a primary that only seemed to be out."""
NO_CLAIM, HELD_CLAIM = 254, 200
"""Of one that is not ready or stopped, and of one that `carp backup` holds, which could serve if nobody else can."""
MOUNTD_FLAGS = "-r -S -R"
"""mountd only exports: NFSv4 has no use for the Mount protocol. Not -h: mountd adds 127.0.0.1 to what -h names, cannot
bind the same address twice and ends (usr.sbin/mountd/mountd.c, create_service)."""


def role(host: HostSettings) -> Literal["primary", "standby"]:
    return "primary" if host.is_primary else "standby"


def unicast(host: HostSettings, site: Site) -> tuple[str, ...]:
    """Words for ifconfig(8), so that CARP advertises to the other host alone; none where it does to all."""
    return ("peer", peer(host, site).lan.address) if host.carp.unicast else ()


def peer(host: HostSettings, site: Site) -> HostSettings:
    """The other host of the pair."""
    return next(each for each in site.storage_hosts if each.name != host.name)


class Values(BaseModel):
    """storage.conf: the field `name` is the variable F3S_NAME."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["primary", "standby"]
    name: str
    interface: str
    vhid: int
    vip: str
    advbase: int
    unicast: Literal["yes", "no"]
    claim: int
    advskew: int
    peer: str
    peer_name: str
    sink: str
    pool: str
    dataset: str
    mountpoint: str
    marker: str
    export: str
    fsid: int
    failback_block: str
    services: str
    mountd_flags: str
    nfs_for_others: Literal["no", "yes"]
    patience: int
    replication_job: str
    snapshot_prefix: str
    catch_up: int
    failback_max_age: int
    losses_max: int
    quiet: int
    tunnel_port: int
    tunnel_name: str
    tunnel_folder: str
    tunnel_user: str
    jobs: str = ""

    @property
    def variables(self) -> dict[str, str]:
        return {f"F3S_{name.upper()}": str(value) for name, value in self}

    @property
    def gates(self) -> dict[str, str]:
        """The variables of the job that replicates what is served: by it the primary hands over and fails back."""
        names = ("REPLICATION_JOB", "SNAPSHOT_PREFIX", "CATCH_UP", "FAILBACK_MAX_AGE", "SINK")
        return {f"F3S_{name}": self.variables[f"F3S_{name}"] for name in names}

    @property
    def replication(self) -> dict[str, str]:
        """All variables of the jobs, which their task writes, too."""
        return {**self.gates, "F3S_JOBS": self.jobs}


def wanted_values(host: HostSettings, site: Site) -> Values:
    """What templates/storage.conf.j2 is filled with."""
    claim, advskew = CLAIMS[role(host)]
    return Values(
        role=role(host),
        name=host.short_name,
        interface=host.carp.interface,
        vhid=host.carp.vhid,
        vip=host.vip.address,
        advbase=host.carp.advbase,
        unicast="yes" if host.carp.unicast else "no",
        claim=claim,
        advskew=advskew,
        peer=peer(host, site).lan.address,
        peer_name=peer(host, site).short_name,
        sink=f"{site.standby.wireguard.address} {site.standby.zrepl.port}",
        pool=host.pool.name,
        dataset=served_dataset(host, site),
        mountpoint=host.nfs.mountpoint,
        marker=host.nfs.marker_path,
        export=host.nfs.export,
        fsid=host.nfs.fsid,
        failback_block=host.nfs.failback_block_path,
        services=" ".join(wanted_services(host)),
        mountd_flags=MOUNTD_FLAGS,
        nfs_for_others="yes" if host.nfs.for_others else "no",
        patience=host.nfs.patience,
        replication_job=site.served_job.name,
        snapshot_prefix=host.zrepl.snapshot_prefix,
        catch_up=allowed_age(site.served_job.interval_seconds),
        # a standby that was written to stops the replication: five missed rounds are a reason to stay
        failback_max_age=max(300, 5 * site.served_job.interval_seconds),
        losses_max=host.carp.failback_losses,
        quiet=host.carp.failback_quiet,
        tunnel_port=host.stunnel.port,
        tunnel_name=host.vip.names[0],
        tunnel_folder=stunnel.RUN_FOLDER,
        tunnel_user=stunnel.SERVER_USER,
        jobs=" ".join(f"{job.name} {job.dataset} {allowed_age(job.interval_seconds)}" for job in site.jobs_from(host)),
    )


def report_variables(host: HostSettings) -> dict[str, str]:
    """The variables of report.conf: what `report` asks, whom it tells, and what counts as wrong."""
    told = {
        "DIRECTORY": host.alert.textfile_directory,
        "COMMAND": host.alert.command or "",
        "PING_URL": host.alert.ping_url or "",
        "SCRUB": str(scrub_allowed(host.pool.scrub_threshold_days) if host.pool.scrub else 0),
        "STICK": host.usb.label,
        "CERTIFICATES": " ".join(stunnel.secret_files(host)),
        "RENEW": str(host.pki.renew_before_days * DAY),
        "CONDITIONS": for_hosts(),
    }
    return {f"F3S_ALERT_{name}": value for name, value in told.items()}


def parse_values(lines: Iterable[str]) -> Values:
    """Read storage.conf; raises UnknownOutput where it is not as the template writes it."""
    try:
        words = shlex.split("\n".join(lines), comments=True)
        told = dict(word.split("=", 1) for word in words)
        return Values.model_validate({name.removeprefix("F3S_").lower(): value for name, value in told.items()})
    except ValueError as error:
        raise UnknownOutput(f"{STORAGE_CONF} {OTHER_VERSION}") from error


def told_role(text: str) -> str | None:
    """The role in the text of a storage.conf, of whatever version; None without one."""
    found = re.search(r"^F3S_ROLE='(\w+)'$", text, re.MULTILINE)
    return found[1] if found else None


# -- what it says --


def recorded_writer(lines: Iterable[str]) -> str | None:
    """The short name of the host that may write, by the lines of RECORD; None without one: the primary may."""
    words = " ".join(lines).split()
    if words and (len(words) != 3 or not words[0].isdigit()):
        raise UnknownOutput(f"{RECORD} is damaged: {words}. Find out which host wrote last (docs/controller.md)")
    return words[1] if words else None


@dataclass(frozen=True)
class Status:
    """What `service f3s_storage status` says; the defaults are those of a host that has no f3s_storage.

    + started: it was started and not stopped, so it keeps services and claim
    + right: started, in a vhid, and ready
    + carp: state of its vhid; None: there is none
    + claim: its advskew now; None without a state
    + ready: all that serves is there and answers end to end; None: not known
    + reason: of `ready`, for people
    + fsid_number: which nullfs mount since the boot it exports, and with that the fsid; None where nothing is
    + hold: what `carp backup` wrote there while a planned failover lasts, else None
    + returning: tasks/return_primary.py is under way, and nothing is written here
    + floor: createtxg of the newest snapshot when the primary was first seen without its claim, None where it has it
    + epoch, writer: its record: since which epoch which host may write, by its short name; "" where that is damaged
    + since: when that epoch began, seconds since 1970
    + moved: when the address came or went last, seconds since 1970; None: not known
    + proven: of the primary: it is known that the standby was not promoted, and this host was MASTER ever since
    + decision: its last one, with the reason and the time, for people; None before the first
    + values: storage.conf, where that was asked for
    """

    started: bool = False
    right: bool = False
    carp: CarpState | None = None
    claim: int | None = None
    ready: bool | None = False
    reason: str = "there is no f3s_storage"
    fsid_number: int | None = None
    hold: str | None = None
    returning: bool = False
    floor: int | None = None
    epoch: int = 0
    writer: str = ""
    since: int = 0
    moved: int | None = None
    proven: bool = False
    decision: str | None = None
    values: Values | None = None


_YES = {"yes": True, "no": False}
_STATES = {"none": None, **{state.value: state for state in CarpState}}
_KNOWN = """
    status started right carp vhid claim ready reason fsid fsid_number hold returning floor epoch writer since moved
    proven decision decided_since
""".split()


def parse_status(lines: Iterable[str]) -> Status:
    """Read `key=value` lines; raises UnknownOutput on another version and on keys and values that it does not know."""
    pairs = [(name, value) for name, _, value in (line.partition("=") for line in lines)]
    said = dict(pairs)
    strange = [name for name in said if name not in _KNOWN]
    if pairs[:1] != [("status", "3")] or len(said) != len(pairs) or strange:
        raise UnknownOutput(f"the status of f3s_storage {OTHER_VERSION}; it has {strange or pairs[:1]}")
    try:
        return Status(
            started=_YES[said["started"]],
            right=_YES[said["right"]],
            carp=_STATES[said["carp"]],
            claim=number(said["claim"], "advskew") if said["claim"] else None,
            ready={**_YES, "unknown": None}[said["ready"]],
            reason=said["reason"],
            fsid_number=None if said["fsid"] == "none" else number(said["fsid_number"], "number of the nullfs mount"),
            hold=said.get("hold"),
            returning=_YES[said.get("returning", "no")],
            floor=number(said["floor"], "createtxg of the newest snapshot") if said.get("floor") else None,
            epoch=number(said["epoch"], "epoch") if said["writer"] else 0,
            writer=said["writer"],
            since=number(said["since"], "time of the epoch") if said["writer"] else 0,
            moved=number(said["moved"], "time of the last move") if said.get("moved") else None,
            proven=_YES[said["proven"]],
            decision=f"{said['decision']} since {said['decided_since']}" if "decision" in said else None,
        )
    except KeyError as error:
        raise UnknownOutput(f"the status of f3s_storage {OTHER_VERSION}; {error} is missing or not known") from error


def parse_controller(lines: Iterable[str]) -> Status:
    """Read the sections `status` and `values`, or nothing where the host has no f3s_storage."""
    found = sections(lines)
    if found == {"absent": []}:
        return Status()
    if found.keys() != {"status", "values"}:
        raise UnknownOutput(f"sections of f3s_storage: {sorted(found)}")
    return replace(parse_status(found["status"]), values=parse_values(found["values"]))
