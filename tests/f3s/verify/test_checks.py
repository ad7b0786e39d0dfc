"""Each check when all is right, when something is wrong, and when the answer is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from f3s.carp import CarpState, CarpView
from f3s.clock import Offset
from f3s.fstab import Entry
from f3s.keycheck import KeyCheck
from f3s.keys import KeyFile
from f3s.monitor import MountState
from f3s.mounts import Mount, MountTable
from f3s.parsing import NoAnswer
from f3s.pki.certificates import Finding
from f3s.pki.certificates import State as PkiState
from f3s.secretfile import ABSENT
from f3s.verify.certificates import RENEW
from f3s.verify.model import CLUSTER, CONTROLLER, ClusterView, State
from f3s.verify.report import absent_rows, all_right, rows
from f3s.verify.storage import BLOCK_SIZE, RUN, key_tests, wanted_keys, wanted_mounts
from f3s.verify.tls import Fault, Outcome, TlsAnswer
from f3s.zfs import MIGRATION, Dataset, Marks, Property, Snapshot
from tests.f3s.settings_data import FREEBSD, TANK, build, change, good, with_backup
from tests.f3s.verify.world import (
    BHYVE_KEY,
    DISK,
    DISK_REPLICA,
    F0,
    F1,
    F2,
    FEDORA,
    FEDORA_REPLICA,
    NFS,
    NOW,
    R0,
    REPLICA,
    SECONDS,
    SERVER,
    carp,
    changed,
    dataset,
    not_right,
    one,
    pool,
    right_cluster,
    stick,
    with_dataset,
)

POINT = "/data/nfs/k3svolumes"
BHYVE = "zroot/bhyve"
CLUSTER_RIGHT = right_cluster()
NFS_JOB = "f0_to_f1_nfsdata"


def test_all_right() -> None:
    found = rows(CLUSTER_RIGHT)
    assert not_right(CLUSTER_RIGHT) == {}
    assert all_right(found)
    assert not [row for row in found if row.next_step]
    wanted = {
        f"replica of {NFS_JOB}",
        f"replica of {NFS_JOB} untouched",
        f"mount {POINT}",
        "certificate ca",
        "one MASTER",
    }
    wanted |= set("stick pools keys mounts encryption zrepl CARP services TLS".split())
    assert wanted <= {row.check for row in found}


def of(name: str) -> Any:
    return CLUSTER_RIGHT.hosts[name]


def case(host: str, check: str, says: str, at: str = "", step: str = "", **values: Any) -> Any:
    """A change of one host's answers, what the row `check` of `at` (that host) says then, and how its step ends."""
    return pytest.param(host, values, check, at or host, says, step, id=f"{check}: {says}")


def with_properties(found: Dataset, **properties: str) -> Dataset:
    """The dataset with other local properties."""
    return replace(found, properties={**found.properties, **{k: Property(v, "local") for k, v in properties.items()}})


def datasets(host: str, name: str, root: str | None = "", **properties: str) -> Any:
    """Those of a host with other properties of one; root: which has another encryption root, or none."""
    found = with_properties(of(host).datasets[name], **properties) if root == "" else dataset(name, root)
    return {**of(host).datasets, name: found}


def keys_of(name: str, **values: Any) -> Any:
    """A stick with one key changed."""
    good = stick()
    assert good.keys is not None
    return replace(good, keys={**good.keys, name: replace(good.keys[name], **values)})


NO_KEYS = replace(stick(), mount=None, keys=None)
FIRST = f"{F0}:bhyve"
WITHOUT_FIRST = replace(stick(), keys={name: key for name, key in (stick().keys or {}).items() if name != FIRST})
F0_JOBS = of(F0).jobs
WRITABLE = Mount("ufs/F3S_KEYS", "/keys", "ufs", frozenset())
PLAIN = MountTable((Mount("zdata", "/data/nfs", "zfs", frozenset()),), {})
CHILD = Mount(f"{NFS}/media", "/data/nfs/media", "zfs", frozenset())
LATER = SECONDS + 3600
ENDING = NOW + timedelta(days=20)

SERVER_PEM, CRL_PEM = (f"/usr/local/etc/stunnel/{name}.pem" for name in ("server", "crl"))
CLIENT_PEM = "/etc/stunnel/client.pem"
NOT_READY = {"ready": False, "reason": "the key of zdata is not loaded", "decision": "not ready since 10:00:00"}
FAILING = "One or more devices has experienced an unrecoverable error. An attempt was made to correct the error."
RESILVERING = "One or more devices is currently being resilvered. The pool will continue to function"
SCRUB = "scrub repaired 0B in 00:10:13 with {} errors on Sun Nov 22 08:56:58 2026"
SCRUBBED = "scrub repaired 0B in 00:10:13 with 0 errors on Thu Jan {} 08:56:58 2026"
FEATURES = "Some supported and requested features are not enabled on the pool. The pool can still be used"


UNCLAIMED = carp(CarpState.BACKUP, claim=254)
OURS = carp(CarpState.MASTER)
TO_ONE = replace(OURS, virtual_hosts={1: replace(OURS.virtual_hosts[1], peer="192.168.1.131")})
STANDBY_CLAIMS = carp(CarpState.BACKUP, CLUSTER_RIGHT.site.standby, claim=20)
FROZEN = MountTable(
    tuple(replace(each, options=frozenset({"ro"})) if each.device == NFS else each for each in of(F0).mounts.mounts), {}
)


TAKEN = frozenset({*of(F0).rivals.holders, "52:54:00:00:00:99"})


def with_pool(name: str, **status: Any) -> Any:
    return {**of(F0).pools, name: pool(name, **status)}


def status(host: str, **values: Any) -> Any:
    """The controller of a host, when it says something else."""
    return replace(of(host).controller, **values)


def file_of(host: str, path: str, **values: str) -> Any:
    return {**of(host).secrets, path: replace(of(host).secrets[path], **values)}


def received(name: str, age: int) -> Snapshot:
    """A snapshot of the replica that the source did not name."""
    return Snapshot(f"{REPLICA}@{name}", f"guid of {name}", SECONDS + 1, SECONDS - age)


AND_MANUAL, AND_LATE = ((*of(F1).snapshots, each) for each in (received("manual", -3600), received("zrepl_1", 1)))

VM_JOB = "f0_to_f1_fedora"
KEYS = f"/keys/{F0}"
WITHOUT_DISK = tuple(each for each in of(F1).snapshots if each.dataset != DISK_REPLICA)
WRITTEN_DISK = {**of(F1).written, DISK_REPLICA: 1}
DISK_MANUAL = (*of(F1).snapshots, Snapshot(f"{DISK_REPLICA}@manual", "manual", SECONDS + 1, SECONDS))
DISK_PROMOTED = (*of(F1).snapshots, Snapshot(f"{DISK_REPLICA}@f3s_promoted", "promoted", SECONDS + 1, SECONDS))
OLD_KEY = {**of(F1).key_checks, DISK_REPLICA: KeyCheck.WRONG}
UNNAMED = {**of(F1).datasets, DISK_REPLICA: dataset(DISK_REPLICA, DISK_REPLICA, "prompt", keystatus="unavailable")}
WRITABLE_DISK = {**of(F1).datasets, DISK_REPLICA: dataset(DISK_REPLICA, DISK_REPLICA, BHYVE_KEY, readonly="off")}
SILENT = NoAnswer("the stick F3S_KEYS (da0) did not answer within 60 s", "pull it out")
NOT_SENT_YET = replace(of(F0).snapshots[0], guid="not sent yet", creation=SECONDS, createtxg=SECONDS)
NO_FILES = dict.fromkeys(of(F1).key_checks, KeyCheck.NO_FILE)

WRONG = [
    case(F0, f"replica of {NFS_JOB}", "zrepl says: connection refused", at=F1,
         now=LATER, jobs={**F0_JOBS, NFS_JOB: "connection refused"}),
    case(F0, "stick", "no stick with the label F3S_KEYS", stick=replace(NO_KEYS, disk=None)),
    case(F0, "stick", "not mounted instead of on /keys", stick=NO_KEYS),
    case(F0, "stick", "/keys is writable", stick=replace(stick(), mount=WRITABLE)),
    case(F0, "stick", f"without {FIRST}", stick=WITHOUT_FIRST),
    case(F0, "stick", "cannot be read", stick=keys_of(FIRST, sha256=None)),
    case(F0, "stick", "has 31 bytes instead of 32", stick=keys_of(FIRST, size=31)),
    case(F0, "stick", "is root:wheel 644 instead of root:wheel 400", stick=keys_of(FIRST, mode="644")),
    case(F0, "stick", f"is not the one of {F1}", stick=keys_of(FIRST, sha256="f" * 64)),
    case(F0, "stick", f"is not the one of {F0}", at=F2, stick=keys_of(FIRST, sha256="f" * 64)),
    case(F0, "stick", "left over", stick=replace(stick(), unfinished=(".x.key.new",))),
    case(F0, "pools", "zroot is DEGRADED", pools={"zroot": pool("zroot", "DEGRADED")}),
    case(F0, "pools", "there is no pool zdata", pools={}),
    case(F0, "pools", "zroot: 2 data errors", pools=with_pool("zroot", errors="2 data errors, use '-v' for a list")),
    case(F0, "pools", "zdata: One or more devices has", pools=with_pool("zdata", status=FAILING)),
    case(F0, "pools", "being resilvered", pools=with_pool("zdata", status=RESILVERING)),
    case(F0, "pools", "zdata: scrub repaired 0B", pools=with_pool("zdata", scans=(SCRUB.format(10),))),
    case(F0, "space", "zdata is more than 90 % full", pools={"zdata": replace(pool("zdata"), size=1000, free=99)}),
    case(F0, "scrub", "the last scrub of zdata was 38 d ago", pools=with_pool("zdata", scans=(SCRUBBED.format(22),))),
    case(F0, "keys", f"does not open {NFS}", key_checks={**of(F0).key_checks, NFS: KeyCheck.WRONG}),
    case(F0, "keys", f"there is no dataset {NFS}", datasets={k: v for k, v in of(F0).datasets.items() if k != NFS}),
    case(F0, "mounts", f"{NFS} is not mounted on /data/nfs", mounts=MountTable((), {})),
    case(F0, "mounts", "zdata is mounted on /data/nfs", mounts=PLAIN),
    case(F0, "mounts", f"{NFS}/media on /data/nfs/media: a client",
         mounts=MountTable((*of(F0).mounts.mounts, CHILD), {})),
    case(F1, "mounts", "mounted writable", mounts=MountTable((Mount(REPLICA, "/data/nfs", "zfs", frozenset()),), {})),
    case(F0, "mounts", f"{NFS} is read-only, although nothing holds it", mounts=FROZEN),
    case(F0, "writer", "the record of f0.lan.buetow.org is damaged", at=CLUSTER, controller=status(F0, writer="")),
    case(F0, "writer", "f0 does not know whether f1 was promoted", at=CLUSTER, controller=status(F0, proven=False)),
    case(F0, "writer", "the hosts differ", at=CLUSTER, controller=status(F0, epoch=2)),
    case(F1, "writer", "both hosts took the same epoch", at=CLUSTER, controller=status(F1, writer="f1")),
    case(F0, "mounts", "nfs.DO_NOT_REMOVE is missing", entries={"nfs.DO_NOT_REMOVE": "absent"}),
    case(F0, "zrepl", "zrepl is not running", running={**of(F0).running, "zrepl": False}),
    case(F0, "zrepl", "zrepl is not installed", running={"nfsd": True}),
    case(F0, f"replica of {NFS_JOB}", "3620 s old, at most 180 s", at=F1, now=LATER),
    case(F1, f"replica of {NFS_JOB}", "no snapshot of", snapshots=()),
    case(F0, f"replica of {NFS_JOB}", "there is no dataset", at=F1, datasets={}),
    case(F1, f"replica of {NFS_JOB} untouched", "has diverged: 8192 bytes", written={REPLICA: 8192}),
    case(F1, f"replica of {NFS_JOB} untouched", "there is no dataset", datasets={}),
    case(F1, f"replica of {NFS_JOB} untouched", "f0.lan.buetow.org has no snapshot manual", snapshots=AND_MANUAL),
    # one that the source had when it was asked; not `zfs rollback -r`: a hold would stop it half-way
    case(F1, f"replica of {NFS_JOB} untouched", "f0.lan.buetow.org has no snapshot zrepl_1", snapshots=AND_LATE,
         step="""tasks/zrepl.py --data 'zrepl_rollback_replicas=["f0_to_f1_nfsdata"]'"""),
    case(F1, f"replica of {VM_JOB}", f"no snapshot of {DISK} has arrived in {DISK_REPLICA}", snapshots=WITHOUT_DISK),
    case(F1, f"replica of {VM_JOB} untouched", f"{DISK_REPLICA} has diverged: 1 bytes", written=WRITTEN_DISK),
    case(F1, f"replica of {VM_JOB} untouched", f"{F0} has no snapshot manual", snapshots=DISK_MANUAL),
    case(F1, f"replica of {VM_JOB} untouched", f"{DISK_REPLICA} is not read-only", datasets=WRITABLE_DISK),
    # while it returns it is read-only: nobody is told to drop what the machine wrote, nor to close its disks under it
    case(F1, f"replica of {VM_JOB} untouched", f"{DISK_REPLICA} was promoted", snapshots=DISK_PROMOTED,
         step="tasks/return_vm.py brings it back"),
    case(F1, f"replica of {VM_JOB} untouched", f"{DISK_REPLICA} was promoted", snapshots=DISK_PROMOTED,
         datasets=WRITABLE_DISK, step="tasks/return_vm.py brings it back"),
    case(F0, f"replica of {NFS_JOB}", "is 7180 s in the future of f0's clock", at=F1, now=SECONDS - 7200),
    case(F0, f"replica of {NFS_JOB}", "and zrepl takes no snapshot until", at=F1, now=SECONDS - 60),
    case(F1, "replica keys", f"{KEYS}:bhyve.key does not open {DISK_REPLICA}: the key is not", key_checks=OLD_KEY,
         step="wait for that, and keep a copy of the old key until then (docs/runbook.md, Key not loaded)"),
    case(F1, "replica keys", f"{DISK_REPLICA} takes its key from prompt instead of", step="tasks/zrepl.py",
         datasets=UNNAMED),
    case(F1, "keys", f"does not open {REPLICA}", key_checks={**of(F1).key_checks, REPLICA: KeyCheck.WRONG}),
    case(F0, "clock", "7100 s behind the controller's and 7100 s behind f1's", clock=Offset(-7100, 1)),
    case(F1, "clock", "40 s ahead of the controller's", clock=Offset(40, 1)),
    case(R0, "clock", "3600 s ahead of the controller's; no NTP daemon runs", clock=Offset(3600, 1)),
    case(F0, "CARP", "re0 has no 192.168.1.138 in vhid 1", carp=CarpView({}, (), 0, 1)),
    case(F0, "CARP", "it advertises to 192.168.1.131 instead of 224.0.0.18", carp=TO_ONE),
    case(F0, "CARP", "is INIT", carp=carp(CarpState.INIT)),
    case(F0, "CARP", "preempt is not 1", carp=carp(CarpState.MASTER, preempt=0)),
    case(F0, "CARP", "demotion is 240", carp=carp(CarpState.MASTER, demotion=240)),
    case(F0, "CARP", "advskew 254 instead of 10 or 60", carp=carp(CarpState.MASTER, claim=254)),
    case(F0, "CARP", "advskew 10 instead of 60", carp=carp(CarpState.BACKUP, claim=10)),
    case(F1, "CARP", "advskew 20 instead of 100", carp=STANDBY_CLAIMS),
    case(F1, "CARP", "advskew 100 instead of 200", controller=status(F1, hold="since noon")),
    case(F1, "CARP", "advskew 100 instead of 254", controller=status(F1, started=False)),
    case(F0, "CARP", "advskew 10 instead of 254", controller=status(F0, **NOT_READY)),
    case(F0, "CARP", "instead of 60", carp=carp(CarpState.INIT, claim=0), controller=None),
    *(case(name, "services", f"not ready: {NOT_READY['reason']}; last decision: not",
         controller=status(name, **NOT_READY)) for name in (F0, F1)),
    case(F1, "tunnel files", f"{SERVER_PEM} is missing", secrets={**of(F1).secrets, SERVER_PEM: ABSENT}),
    case(F1, "tunnel files", f"{CRL_PEM} is not crl.pem of the secrets", secrets=file_of(F1, CRL_PEM, sha256="0" * 64)),
    case(F1, "tunnel files", f"{SERVER_PEM} is open to others", secrets=file_of(F1, SERVER_PEM, mode="440")),
    case(F0, "tunnel files", f"stunnel has not read {CRL_PEM}", stale=(CRL_PEM,)),
    case(F0, "tunnel files", "crl.pem for connections from before", stale=(f"{CRL_PEM} for connections from before",)),
    case(R0, f"below {POINT}", "takes files: not there",
         mount_states=(MountState(POINT, "healthy", 3, 0, "", False, ("not there",)),)),
    case(R0, f"below {POINT}", "which nobody sees while it is mounted: a.txt",
         mount_states=(MountState(POINT, "healthy", 3, below=("a.txt",)),)),
    case(R0, "tunnel port", "every local user may connect", port_is_open=True),
    case(R0, "tunnel files", "client.pem is not client-r0", secrets=file_of(R0, CLIENT_PEM, sha256="0" * 64)),
    case(F1, "one MASTER", "both are MASTER", at=CLUSTER, carp=carp(CarpState.MASTER)),
    case(F1, "one MASTER", "hear each other; ipfw on f1 blocks packets",
         at=CLUSTER, carp=carp(CarpState.MASTER), rivals=replace(of(F1).rivals, firewalls=("ipfw",))),
    case(F0, "one MASTER", "nobody is MASTER", at=CLUSTER, step=f"carp master on {F0}", carp=carp(CarpState.BACKUP)),
    case(F0, "one MASTER", "nobody is MASTER", at=CLUSTER, carp=CarpView({}, (), 0, 1)),
    case(F1, "services", "not installed: stunnel", running=dict.fromkeys(("rpcbind", "mountd", "nfsd"), True)),
    case(F0, "services", "f3s_storage is not started", controller=status(F0, started=False)),
    case(R0, "tunnel files", f"stunnel has not read {CLIENT_PEM}", stale=(CLIENT_PEM,)),
    case(R0, "tunnel files", "stunnel.service is not running", running={"stunnel.service": False}),
    case(R0, "TLS", "nothing answers", tls=TlsAnswer(Outcome.UNREACHABLE, Outcome.UNREACHABLE)),
    case(R0, "TLS", "lets in anybody", tls=replace(of(R0).tls, stranger=Outcome.ACCEPTED)),
    case(R0, "TLS", "ends in 20 days", tls=TlsAnswer(Outcome.ACCEPTED, Outcome.REFUSED, "", SERVER, ENDING)),
    case(R0, "TLS", "not the one in the secrets folder", tls=replace(of(R0).tls, sha256="cd" * 32)),
    case(R0, f"mount {POINT}", "nothing is mounted there", linux_mounts=()),
    case(R0, f"mount {POINT}", "/dev/sda is mounted there", linux_mounts=(Entry("/dev/sda", POINT, "xfs", ("rw",)),)),
    case(R0, f"mount {POINT}", "does not know this mount", mount_states=()),
    case(R0, f"mount {POINT}", "stale (gone), 3 failed", mount_states=(MountState(POINT, "stale", 5, 3, "gone"),)),
    case(R0, f"mount {POINT}", "read-only although", mount_states=(MountState(POINT, "readonly", 5),)),
    case(F0, "keys", f"the key of {NFS} is not loaded", datasets=datasets(F0, NFS, keystatus="unavailable")),
    case(F1, "keys", "from prompt instead of file:///keys/f0", datasets=datasets(F1, REPLICA, keylocation="prompt")),
    case(F0, "encryption", f"{NFS} is not encrypted", datasets=datasets(F0, NFS, None)),
    case(F1, "encryption", f"{REPLICA} is not encrypted", datasets=datasets(F1, REPLICA, None)),
    case(F2, "encryption", "zroot/bhyve is not encrypted", datasets=datasets(F2, BHYVE, None)),
    case(F0, "encryption", "is not an encryption root", datasets=datasets(F0, NFS, "zdata/enc")),
]  # fmt: skip
UNKNOWN = [
    case(F0, "stick", "could not be examined", stick=None),
    case(F0, "pools", "could not be listed", pools=None),
    case(F0, "pools", "does not say whether data of zdata", pools=with_pool("zdata", errors=None)),
    case(F0, "keys", "could not be read", datasets=None),
    case(F0, "keys", "not tested", key_checks=None),
    case(F1, "keys", "the stick is not mounted, so the keys of", key_checks=NO_FILES, stick=NO_KEYS),
    case(F1, "replica keys", f"the keys of {FEDORA_REPLICA}, {DISK_REPLICA}", key_checks=NO_FILES, stick=NO_KEYS),
    case(F1, "replica keys", "not tested: the key files of", key_checks=None),
    case(F1, "replica keys", "the stick does not answer, so", key_checks=None, stick=None, stick_silent=SILENT),
    case(F0, "keys", "the stick does not answer, so the keys of", key_checks=None, stick=None, stick_silent=SILENT),
    case(F0, "stick", "did not answer within 60 s", key_checks=None, stick=None, stick_silent=SILENT),
    case(F0, "clock", "could not be asked", clock=None),
    case(F0, "clock", "took too long to compare it with the controller's", clock=Offset(0, 31)),
    case(F0, "mounts", "could not be listed", mounts=None),
    case(F0, "mounts", "could not be examined", entries=None),
    case(F0, "mounts", "could not be examined", entries=False),
    case(F0, "encryption", "could not be read", datasets=None),
    case(F0, "zrepl", "could not be listed", running=None),
    case(F0, f"replica of {NFS_JOB}", f"nothing is known of {F0}", at=F1, snapshots=None),
    case(F0, f"replica of {NFS_JOB}", f"nothing is known of {F0}", at=F1, now=None),
    case(F1, f"replica of {NFS_JOB}", f"nothing is known of {F1}", snapshots=None),
    case(F1, f"replica of {NFS_JOB} untouched", "nothing is known", written=None),
    case(F0, "CARP", "could not be read", carp=None),
    case(F1, "one MASTER", "f0 MASTER, f1 not known", at=CLUSTER, carp=None),
    case(F0, f"replica of {NFS_JOB} untouched", f"of the snapshots on {F0}", at=F1, snapshots=None),
    case(F0, f"replica of {NFS_JOB} untouched", f"of the snapshots on {F0}", at=F1, now=None),
    case(F1, "CARP", "254 instead of 100, and it is not known why", carp=UNCLAIMED, controller=None),
    case(F1, "services", "not known whether it is ready: slow", controller=status(F1, ready=None, reason="slow")),
    case(F1, "tunnel files", "could not be examined", secrets=None),
    case(F1, "tunnel files", "not known whether the running stunnel", stale=None),
    case(R0, "tunnel files", "could not be examined", secrets=None),
    case(R0, "tunnel files", "not known whether the running stunnel", stale=None),
    case(F0, "services", "could not be listed", running=None),
    case(F0, "services", "f3s_storage did not say what it does, or its programs", controller=None),
    case(R0, "TLS", "could not be asked", tls=None),
    case(R0, "TLS", "not known whether it refuses", tls=replace(of(R0).tls, stranger=Outcome.UNREACHABLE)),
    case(R0, f"mount {POINT}", "could not be listed", linux_mounts=None),
    case(R0, "tunnel port", "could not be tried", port_is_open=None),
    case(R0, f"mount {POINT}", "the monitor does not answer", mount_states=None),
    case(R0, f"mount {POINT}", "not checked yet", mount_states=(MountState(POINT, "unknown"),)),
    case(R0, f"mount {POINT}", "the last check is 121 s old", mount_states=(MountState(POINT, "healthy", 121),)),
]  # fmt: skip
RIGHT = [
    case(F0, "encryption", "the plain zroot/bhyve_old is still there",
         datasets={**of(F0).datasets, "zroot/bhyve_old": dataset("zroot/bhyve_old", None)}),
    # of both sides
    case(F0, f"replica of {NFS_JOB}", "20 s behind", at=F1, snapshots=(*of(F0).snapshots, NOT_SENT_YET)),
    case(F0, "space", "zroot 0%", pools={"zroot": pool("zroot"), "zdata": replace(pool("zdata"), size=0, free=0)}),
    case(F0, "space", "zdata 81%; zdata is more than 80 % full",
         pools={"zdata": replace(pool("zdata"), size=100, free=19)}),
    case(F0, "scrub", "zdata 36 d ago, zroot never yet", pools=with_pool("zdata", scans=(SCRUBBED.format(24),))),
    case(F0, "pools", "zroot ONLINE, zdata ONLINE",
         pools=with_pool("zdata", status=FEATURES, scans=(SCRUB.format(0),))),
    case(F0, "pools", "zdata ONLINE (its blocks are smaller than the disk's: slower, and only a new pool",
         pools=with_pool("zdata", status=f"{BLOCK_SIZE} Expected reduced performance.")),
    # sent after the source had said what it has
    case(F1, f"replica of {NFS_JOB} untouched", "as it was received",
         snapshots=(*of(F1).snapshots, received("zrepl_1", 0))),
    case(F1, "CARP", "held since noon",
         carp=carp(CarpState.BACKUP, claim=200), controller=status(F1, hold="since noon")),
    case(F1, "CARP", "BACKUP, claim (advskew) 254", carp=UNCLAIMED, controller=status(F1, **NOT_READY)),
    case(F1, "CARP", "BACKUP, claim (advskew) 254", carp=UNCLAIMED, controller=status(F1, ready=None)),
    case(F1, "CARP", "BACKUP, claim (advskew) 100", controller=None),
    case(F0, "CARP", "not known whether another machine uses", rivals=None),
    case(F0, "CARP", "7 advertisements with another password since its boot",
         rivals=replace(of(F0).rivals, discarded=7)),
    case(F1, "CARP", "192.168.1.138 was at 52:54:00:00:00:99, neither host",
         rivals=replace(of(F1).rivals, holders=TAKEN)),
    case(F1, "CARP", "pf blocks packets, and no rule of it names CARP",
         rivals=replace(of(F1).rivals, firewalls=("pf",))),
    case(F0, "CARP", "re0 is a member of vm-public, and", carp=replace(OURS, bridge="vm-public")),
    # after a power cut the primary takes an address that nobody has, without a claim of its own
    case(F0, "CARP", "MASTER, claim (advskew) 60", carp=carp(CarpState.MASTER, claim=60)),
    case(F0, "services", "ready: rpcbind, mountd, nfsd, stunnel run and answer"),
    case(F1, "services", "the fsid of mount 17 since its boot instead of 16", controller=status(F1, fsid_number=17)),
    case(F1, "services", "ready: rpcbind, mountd, nfsd, stunnel run and answer"),
    case(F1, "tunnel files", "server.pem, ca-cert.pem, crl.pem as in the secrets folder"),
    case(R0, "tunnel files", "client-r0.lan.buetow.org.pem, ca-cert.pem as in the secrets folder"),
]  # fmt: skip


CASES = [
    pytest.param(state, *each.values, id=f"{state.value}, {each.id}")
    for state, cases in ((State.WRONG, WRONG), (State.UNKNOWN, UNKNOWN), (State.RIGHT, RIGHT))
    for each in cases
]


@pytest.mark.parametrize(("state", "host", "values", "check", "at", "says", "step"), CASES)
def test_a_row(state: State, host: str, values: Any, check: str, at: str, says: str, step: str) -> None:
    cluster = changed(CLUSTER_RIGHT, host, **values)
    row = one(cluster, check, at)
    assert (row.state, says in row.reason, bool(row.next_step)) == (state, True, state is not State.RIGHT), row
    assert row.next_step.endswith(step)
    assert state is State.RIGHT or not all_right(rows(cluster))


def test_every_closed_dataset_that_the_stick_opens_is_named_with_its_command() -> None:
    closed = CLUSTER_RIGHT
    for name in ("zdata/enc", NFS):
        closed = with_dataset(closed, F0, name, lambda found: with_properties(found, keystatus="unavailable"))
    both = f"doas zfs load-key zdata/enc; doas zfs load-key {NFS}; doas zfs mount -a"
    assert one(closed, "keys", F0).next_step == both
    moved = with_dataset(closed, F0, NFS, lambda found: with_properties(found, keylocation="prompt"))
    location = f"file:///keys/{F0}:zdata.key"
    assert f"doas zfs load-key -L {location} {NFS}; " in one(moved, "keys", F0).next_step
    checks = dict(of(F0).key_checks)
    for bad in (KeyCheck.WRONG, KeyCheck.NO_FILE, KeyCheck.NOT_A_KEY):
        locked = changed(closed, F0, key_checks={**checks, "zdata/enc": bad})
        assert one(locked, "keys", F0).next_step == f"doas zfs load-key {NFS}; doas zfs mount -a"
        locked = changed(closed, F0, key_checks={**checks, "zdata/enc": bad, NFS: bad})
        assert one(locked, "keys", F0).next_step == "docs/runbook.md, key not loaded"


def test_the_dataset_that_is_behind_most_counts() -> None:
    old = tuple(each for each in of(F1).snapshots if each.dataset != DISK_REPLICA or each.short_name == "zrepl_120")
    cluster = changed(changed(CLUSTER_RIGHT, F1, snapshots=old), F0, now=SECONDS + 1200)
    assert f"{DISK_REPLICA} is 1320 s old" in one(cluster, f"replica of {VM_JOB}", F1).reason


def test_every_replica_is_tested_with_the_key_that_it_names() -> None:
    other = f"file:///keys/{F2}:bhyve.key"
    renamed = {**of(F1).datasets, DISK_REPLICA: dataset(DISK_REPLICA, DISK_REPLICA, other)}
    tests = key_tests(CLUSTER_RIGHT.site, CLUSTER_RIGHT.site.standby, renamed, of(F1).snapshots)
    assert tests == {
        "zdata/enc": f"file:///keys/{F1}:zdata.key",
        BHYVE: f"file:///keys/{F1}:bhyve.key",
        REPLICA: f"file:///keys/{F0}:zdata.key",
        FEDORA_REPLICA: f"file:///keys/{F0}:bhyve.key",
        DISK_REPLICA: other,
    }
    # one that has not wholly arrived, and what others encrypted with keys of their own
    renamed["zroot/theirs"] = dataset("zroot/theirs", "zroot/theirs", "file:///root/theirs.key")
    late = key_tests(CLUSTER_RIGHT.site, CLUSTER_RIGHT.site.standby, renamed, WITHOUT_DISK)
    assert late == {name: key for name, key in tests.items() if name != DISK_REPLICA}


def test_a_machine_of_the_hosts_own_with_another_key_is_tested_too() -> None:
    own = dataset(FEDORA, FEDORA, f"file:///keys/{F2}:bhyve.key")
    cluster = changed(CLUSTER_RIGHT, F0, datasets={**of(F0).datasets, FEDORA: own})
    assert one(cluster, "keys", F0).reason == f"not tested: the key files of {FEDORA}"
    checks = {**of(F0).key_checks, FEDORA: KeyCheck.WRONG}
    row = one(changed(cluster, F0, key_checks=checks), "keys", F0)
    assert f"/keys/{F2}:bhyve.key does not open {FEDORA}" in row.reason


def test_a_dataset_that_was_made_since_the_last_snapshots_is_told_and_not_counted() -> None:
    new = f"{FEDORA}/disk1"
    cluster = changed(CLUSTER_RIGHT, F0, datasets={**of(F0).datasets, new: dataset(new, BHYVE)})
    row = one(cluster, f"replica of {VM_JOB}", F1)
    assert (row.state, f"not replicated yet, new since the last snapshots: {new}" in row.reason) == (State.RIGHT, True)
    failing = {**F0_JOBS, VM_JOB: "one or more snapshots could not be created"}
    row = one(changed(cluster, F0, jobs=failing), f"replica of {VM_JOB}", F1)
    assert (row.state, f"no snapshot of {new} has arrived" in row.reason) == (State.WRONG, True)


def test_a_snapshot_that_came_while_the_hosts_answered_is_neither_late_nor_from_the_future() -> None:
    row = one(changed(CLUSTER_RIGHT, F0, now=SECONDS - 25), f"replica of {NFS_JOB}", F1)
    assert (row.state, row.reason[:10]) == (State.RIGHT, "0 s behind")
    # but a clock that was set back excuses no snapshot that the source does not have
    foreign = (*of(F1).snapshots, received("zrepl_x", -7000))
    row = one(changed(CLUSTER_RIGHT, F1, snapshots=foreign), f"replica of {NFS_JOB} untouched", F1)
    assert (row.state, "has no snapshot zrepl_x" in row.reason) == (State.WRONG, True)


def test_of_three_clocks_that_which_stands_alone_is_wrong() -> None:
    """The controller's is off: both storage hosts say that they agree."""
    cluster = CLUSTER_RIGHT
    for host in (F0, F1):
        cluster = changed(cluster, host, clock=Offset(-100, 1), time_keeper="ntpd")
    assert (
        one(cluster, "clock", F0).reason
        == "more than 30 s off: 100 s behind the controller's; right by f1's; kept by ntpd"
    )


def failed_over(hold: str | None) -> ClusterView:
    """f1 serves, with f0's last write; hold: since when that is planned."""
    cluster = changed(
        CLUSTER_RIGHT,
        F0,
        carp=carp(CarpState.BACKUP, claim=200 if hold else 60),
        controller=status(F0, carp=CarpState.BACKUP, hold=hold, floor=SECONDS - 100),
        mounts=FROZEN if hold else of(F0).mounts,
    )
    serves = {"carp": carp(CarpState.MASTER, cluster.site.standby), "controller": status(F1, carp=CarpState.MASTER)}
    cluster = changed(cluster, F1, **serves)
    for client in CLUSTER_RIGHT.site.clients:
        cluster = changed(cluster, client.name, mount_states=(MountState(POINT, "readonly", 3),))
    return cluster


@pytest.mark.parametrize(
    ("name", "value"), [("replication_job", "old_name"), ("failback_max_age", 60), ("snapshot_prefix", "old_")]
)
def test_a_failback_that_waits_for_the_proof_of_another_job(name: str, value: object) -> None:
    """A renamed job with only tasks/zrepl.py run (seen): the primary never came back, and verify said that it would."""
    cluster = failed_over(None)
    back = one(cluster, "one MASTER", "cluster").next_step
    assert back.startswith("it comes back by itself")
    assert back.endswith("tasks/failback.py")
    controller = cluster.hosts[F0].controller
    assert controller is not None
    assert controller.values is not None
    told = controller.values.model_copy(update={name: value})
    cluster = changed(cluster, F0, controller=replace(controller, values=told))
    for check, host in (("one MASTER", "cluster"), ("services", F0)):
        row = one(cluster, check, host)
        assert row.state is State.WRONG
        assert f"f3s_storage goes by another job than {NFS_JOB} (" in row.reason
        assert f"F3S_{name.upper()}={value}" in row.reason
        assert row.next_step.startswith("pyinfra inventory.py tasks/zrepl.py")
    told = controller.values.model_copy(update={"jobs": f"{NFS_JOB} zdata/enc/nfsdata 180"})
    row = one(changed(cluster, F0, controller=replace(controller, values=told)), "services", F0)
    assert row.state is State.RIGHT
    assert row.reason.endswith(
        "its report watches other jobs than those of zrepl_jobs: pyinfra inventory.py tasks/zrepl.py"
    )


GUID = "54fe0d84ea1b4e1c"


def test_what_zrepl_keeps_for_a_job_that_is_gone_is_named_with_the_command_that_releases_it() -> None:
    bookmarks = tuple(f"{NFS}#zrepl_{kind}_G_{GUID}_J_{job}" for kind in ("CURSOR", "STEP") for job in ("old", NFS_JOB))
    by_hand = f"{NFS}#zrepl_of_mine_J_x"
    holds = {f"{NFS}@zrepl_1": ("zrepl_STEP_J_old",), f"{NFS}@zrepl_2": (f"zrepl_STEP_J_{NFS_JOB}", "mine")}
    row = one(changed(CLUSTER_RIGHT, F0, marks=Marks((*bookmarks, by_hand), holds)), "zrepl", F0)
    assert row.state is State.WRONG
    assert row.reason == (
        f"history is kept by {NFS}#zrepl_CURSOR_G_{GUID}_J_old, {NFS}#zrepl_STEP_G_{GUID}_J_old, {NFS}@zrepl_1 of the "
        "job old, which zrepl.yml does not have"
    )
    assert row.next_step == "doas zrepl zfs-abstraction release-all --job old"
    theirs = Marks((), {f"{REPLICA}@zrepl_1": ("zrepl_last_received_J_sink",)})
    assert one(changed(CLUSTER_RIGHT, F1, marks=theirs), "zrepl", F1).state is State.RIGHT
    # a host that has no job (any more)
    assert ("zrepl", F2) not in {(row.check, row.host) for row in rows(CLUSTER_RIGHT)}
    assert one(changed(CLUSTER_RIGHT, F2, marks=theirs), "zrepl", F2).state is State.WRONG
    for unknown in ({"marks": None}, {"configured_jobs": None}):
        assert one(changed(CLUSTER_RIGHT, F0, **unknown), "zrepl", F0).state is State.UNKNOWN


@pytest.mark.parametrize(("host", "dataset"), [(F0, NFS), (F1, REPLICA)])
def test_snapshots_of_another_tool_are_told(host: str, dataset: str) -> None:
    tool = [Snapshot(f"{name}@autosnap_{n}", "1", n, n) for name in (dataset, "zroot/tmp") for n in range(3)]
    row = one(changed(CLUSTER_RIGHT, host, snapshots=(*(of(host).snapshots or ()), *tool)), "zrepl", host)
    told = f"running; 3 snapshots of {dataset} are not zrepl's, which deletes none of them (autosnap_2)"
    assert (row.state, row.reason) == (State.RIGHT, told)
    assert one(CLUSTER_RIGHT, "zrepl", host).reason == "running"


@pytest.mark.parametrize(("host", "dataset"), [(F0, NFS), (F1, REPLICA)])
def test_snapshots_that_zrepl_does_not_prune_are_told(host: str, dataset: str) -> None:
    ages = [30, *range(200 * 86400, 200 * 86400 + 150)]  # 14 days of the grid are over; 10 are the last
    old = [Snapshot(f"{dataset}@zrepl_20250101_{n % 10**6:06}_000", "1", SECONDS - n, SECONDS - n) for n in ages]
    row = one(changed(CLUSTER_RIGHT, host, snapshots=(*(of(host).snapshots or ()), *old)), "zrepl", host)
    assert row.state is State.WRONG
    assert row.reason == f"141 snapshots of {dataset} are there which no rule of {NFS_JOB} keeps any more"


def test_a_writable_backup_on_a_third_host_is_no_promoted_standby() -> None:
    inventory = with_backup(good(), first=True)
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"][0]["replica_mountpoint"] = "/data/backup"
    copied = {REPLICA: dataset(REPLICA, REPLICA, readonly="off")}
    cluster = changed(replace(failed_over(None), site=build(inventory)), F2, datasets=copied)
    assert "promoted" not in one(cluster, "one MASTER", CLUSTER).reason


def test_a_standby_with_a_pool_of_another_name() -> None:
    site = build(change(good(), (F1,), **TANK))
    cluster, replica = ClusterView(site, {}, NOW), "tank/sink/f0/zdata/enc/nfsdata"
    assert wanted_mounts(cluster, site.standby) == {"/data/enc": ("tank/enc", False), "/data/nfs": (replica, True)}
    assert wanted_keys(site, site.standby, {}) == {
        "tank/enc": f"file:///keys/{F1}:zdata.key",
        replica: f"file:///keys/{F0}:zdata.key",
    }
    assert site.standby.key_of("tank/enc") == f"{F1}:zdata"
    pools = replace(CLUSTER_RIGHT, site=site)
    assert one(pools, "pools", F1).reason == "there is no pool tank"
    assert one(pools, "pools", F0).state is State.RIGHT


def test_a_planned_failover_is_right_and_told_and_an_unplanned_one_is_wrong() -> None:
    cluster = failed_over("since 2026-03-01 11:00:00")
    assert not_right(cluster) == {}
    assert "planned failover since 2026-03-01" in one(cluster, "one MASTER", CLUSTER).reason
    assert one(cluster, f"mount {POINT}", R0).reason == "mounted, read-only while f1 serves"
    assert not_right(failed_over(None)) == {("one MASTER", CLUSTER): State.WRONG}


def test_a_master_that_is_held_is_wrong() -> None:
    since = "since 2026-03-01 11:00:00"
    left = changed(CLUSTER_RIGHT, F0, controller=status(F0, hold=since), carp=carp(CarpState.MASTER, claim=200))
    planned = failed_over(since)
    both = changed(planned, F1, controller=status(F1, hold=since), carp=carp(CarpState.MASTER, claim=200))
    for cluster, host in ((left, F0), (both, F1)):
        assert not_right(cluster) == {("one MASTER", CLUSTER): State.WRONG}
        row = one(cluster, "one MASTER", CLUSTER)
        assert f"is MASTER although carp backup holds it ({since})" in row.reason
        assert row.next_step == f"doas carp master on {host}"


BLOCKED = {"nfs.DO_NOT_REMOVE": "file", "nfs.NO_AUTO_FAILBACK": "file"}


def test_failback_that_is_off_is_told_before_it_is_missed() -> None:
    on = f"doas carp auto-failback enable on {F0}"
    before = changed(CLUSTER_RIGHT, F0, entries=BLOCKED)
    assert not_right(before) == {}
    assert f"automatic failback is off: after a failover clients could only read until {on}" in (
        one(before, "one MASTER", CLUSTER).reason
    )
    row = one(changed(failed_over(None), F0, entries=BLOCKED), "one MASTER", CLUSTER)
    assert row.reason.endswith("clients cannot write, and automatic failback is off")
    assert row.next_step.startswith(f"{on}; ")


def test_what_stays_is_not_told_to_come_back_by_itself() -> None:
    row = one(changed(failed_over(None), F0, controller=status(F0, **NOT_READY)), "one MASTER", CLUSTER)
    assert (row.state, "by itself" in row.next_step) == (State.WRONG, False)
    assert row.next_step.startswith(f"see the row services of {F0}")


def test_a_promoted_standby_keeps_what_clients_wrote() -> None:
    promoted = with_dataset(failed_over(None), F1, REPLICA, lambda d: with_properties(d, readonly="off"))
    promoted = changed(
        promoted,
        F1,
        written={REPLICA: 8192},
        mounts=MountTable((*of(F1).mounts.mounts[:1], Mount(REPLICA, "/data/nfs", "zfs", frozenset())), {}),
        carp=carp(CarpState.MASTER, CLUSTER_RIGHT.site.standby, claim=0),
        controller=status(F1, epoch=1, writer="f1", proven=True),
    )
    out = status(F0, reason="f1 was promoted", ready=False, right=False, epoch=1, writer="f1", proven=False)
    promoted = changed(promoted, F0, controller=out)
    dead = replace(promoted, hosts={name: view for name, view in promoted.hosts.items() if name != F0})
    for cluster, state in ((promoted, State.WRONG), (dead, State.UNKNOWN)):
        row = one(cluster, f"replica of {NFS_JOB} untouched", F1)
        assert row.reason == f"{REPLICA} was promoted, and no replication is accepted"
        master = one(cluster, "one MASTER", CLUSTER)
        assert (master.state, one(cluster, "writer", CLUSTER).state) == (state, state)
        for each in (row, master, one(cluster, "writer", CLUSTER)):
            assert each.next_step.startswith("docs/runbook.md, host dead")
        assert (one(cluster, "mounts", F1).state, one(cluster, "CARP", F1).state) == (State.RIGHT, State.RIGHT)
        assert not [each for each in rows(cluster) if "rollback" in each.next_step]
    assert one(promoted, "writer", CLUSTER).reason == "f1 was promoted (epoch 1)"
    assert one(dead, "writer", CLUSTER).reason.endswith("who may write: f1: epoch 1, f1 writes")
    ends = status(F1, epoch=1, writer="f1", proven=True, returning=True)
    frozen = MountTable((*of(F1).mounts.mounts[:1], Mount(REPLICA, "/data/nfs", "zfs", frozenset({"ro"}))), {})
    ending = changed(promoted, F1, controller=ends, mounts=frozen)
    row = one(ending, "writer", CLUSTER)
    assert row.reason.endswith("under way, or was interrupted; clients only read")
    assert row.next_step == "pyinfra inventory.py tasks/return_primary.py --data return_to=f0"
    assert one(ending, "mounts", F1).state is State.RIGHT


def test_a_move_of_machines_that_has_not_ended_is_wrong() -> None:
    old = dataset("zroot/bhyve_old", None)
    parent = dataset("zroot/bhyve", "zroot/bhyve", f"file:///keys/{F0}:bhyve.key")

    def seen(*trees: Dataset) -> ClusterView:
        others = {name: found for name, found in of(F0).datasets.items() if not name.startswith("zroot/bhyve")}
        return changed(CLUSTER_RIGHT, F0, datasets={**others, **{each.name: each for each in trees}})

    started, done = (with_properties(old, **{MIGRATION: mark}) for mark in ("started", "done"))
    copying = with_properties(parent, **{MIGRATION: "copying"})
    for trees in ((started,), (started, copying), (started, parent), (old,), (copying,)):
        row = one(seen(*trees), "encryption", F0)
        assert row.state is State.WRONG, trees
        assert "the move of zroot/bhyve_old to the encrypted zroot/bhyve has not ended" in row.reason
        assert row.next_step == "pyinfra inventory.py tasks/bhyve_migrate.py"
    assert one(seen(done, parent), "encryption", F0).state is State.RIGHT
    gone = one(seen(started, copying), "replica of f0_to_f1_fedora", F1)
    assert gone.reason == f"there is no dataset {FEDORA} on {F0}"
    assert gone.next_step == "pyinfra inventory.py tasks/bhyve_migrate.py"


@pytest.mark.parametrize("mark", ["verified", "opening", "-"])
def test_machines_that_the_deploy_would_open_are_told(mark: str) -> None:
    at = {"canmount": "on", "mountpoint": "/zroot/bhyve", MIGRATION: mark}
    open_tree = with_dataset(CLUSTER_RIGHT, F0, BHYVE, lambda d: with_properties(d, mounted="yes", **at))
    assert not_right(open_tree) == {}
    closed = with_dataset(CLUSTER_RIGHT, F0, BHYVE, lambda d: with_properties(d, mounted="no", **at))
    row = one(closed, "machines", F0)
    if mark == "-":
        assert (row.state, row.reason) == (State.RIGHT, f"3 datasets below {BHYVE}; not mounted: {BHYVE}")
    else:
        assert (row.state, row.reason) == (State.WRONG, f"not mounted, with the virtual machines in them: {BHYVE}")
        assert row.next_step == "pyinfra inventory.py tasks/bhyve_migrate.py"
    # one of them, which somebody unmounted: opened again only after a boot that could not
    at["mountpoint"] += "/fedora"
    child = with_dataset(open_tree, F0, FEDORA, lambda d: with_properties(d, mounted="no", **at))
    assert one(child, "machines", F0).state is (State.WRONG if mark == "opening" else State.RIGHT)
    assert FEDORA in one(child, "machines", F0).reason
    assert one(child, "mounts", F0).state is State.RIGHT  # which a planned move asks


def test_read_only_and_nobody_knows_who_serves() -> None:
    cluster = changed(CLUSTER_RIGHT, R0, mount_states=(MountState(POINT, "readonly", 3),))
    assert one(changed(cluster, F0, carp=None), f"mount {POINT}", R0).state is State.UNKNOWN


def test_options_that_are_not_in_force() -> None:
    old = Entry("127.0.0.1:/k3svolumes", POINT, "nfs4", ("rw", "soft", "timeo=50", "port=2323"))
    cluster = changed(CLUSTER_RIGHT, R0, linux_mounts=(old,))
    assert not_right(cluster) == {("NFS options", R0): State.WRONG}
    row = one(cluster, "NFS options", R0)
    assert row.reason == f"{POINT}: soft instead of hard"
    assert f"sudo umount {POINT}; sudo /usr/local/bin/check-nfs-mount.sh --once" in row.next_step
    nothing = changed(CLUSTER_RIGHT, R0, linux_mounts=())
    assert "NFS options" not in {row.check for row in rows(nothing) if row.host == R0}


def test_the_sealed_copy_of_the_keys() -> None:
    assert "escrow" not in {row.check for row in rows(CLUSTER_RIGHT)}, "none was made"
    stick = CLUSTER_RIGHT.hosts[F0].stick
    assert stick is not None
    keys = {name: key.sha256 or "" for name, key in (stick.keys or {}).items()}
    row = one(replace(CLUSTER_RIGHT, exported=keys), "escrow", CONTROLLER)
    assert (row.state, row.reason) == (State.RIGHT, f"the sealed copy has {len(keys)} keys")
    own = [KeyFile("own", 32, "400", "root:wheel", number * 64) for number in "12"]
    differ = CLUSTER_RIGHT
    for host, key in zip((F0, F1), own, strict=True):
        theirs = differ.hosts[host].stick
        assert theirs is not None
        differ = changed(differ, host, stick=replace(theirs, keys={**(theirs.keys or {}), "own": key}))
    assert one(replace(differ, exported=keys), "escrow", CONTROLLER).state is State.RIGHT, "each host has its own"
    (changed_key, *_), lacking = keys, dict(list(keys.items())[1:])
    for exported in (lacking, keys | {changed_key: "1" * 64}):
        row = one(replace(CLUSTER_RIGHT, exported=exported), "escrow", CONTROLLER)
        assert (row.state, row.reason) == (State.WRONG, f"it was made before a change of {changed_key}.key")
        assert "tasks/escrow.py" in row.next_step


def test_a_secrets_folder_that_cannot_be_read() -> None:
    row = one(replace(CLUSTER_RIGHT, findings=None, pki_problem="secrets is missing"), "certificates", CONTROLLER)
    assert (row.state, row.reason) == (State.UNKNOWN, "secrets is missing")


ENDS = f"until {ENDING:%Y-%m-%d} (20 days)"
TUNNEL = RUN.format("stunnel")


@pytest.mark.parametrize(
    ("name", "state", "detail", "end", "says", "step"),
    [
        ("r0", PkiState.NEAR_END, "", ENDING, f"near its end, {ENDS}", RENEW),
        ("r0", PkiState.NEAR_END, "detail", ENDING, f"near its end: detail, {ENDS}", RENEW),
        ("r0", PkiState.EXPIRED, "", NOW, f"expired, until {NOW:%Y-%m-%d} (0 days)", RENEW),
        ("r0", PkiState.EXPIRED, "", NOW - timedelta(days=1), "expired, until 2026-02-28", RENEW),
        ("r0", PkiState.MISSING, "there is no certificate", None, "missing: there is no certificate", RENEW),
        ("r0", PkiState.REVOKED, "", ENDING, f"revoked, {ENDS}",
         "python certificates.py renew r0, or take it out of the inventory"),
        ("r0", PkiState.LEFT_OVER, "", ENDING, f"{PkiState.LEFT_OVER.value}, {ENDS}",
         f"python certificates.py revoke r0; then {TUNNEL}"),
        # the way to a new CA is told until its end
        *(case for name, command in (("new ca", "use-new-ca"), ("old ca", "drop-old-ca")) for case in (
            (name, PkiState.ON_ITS_WAY, "", ENDING, f"{PkiState.ON_ITS_WAY.value}, {ENDS}",
             f"{TUNNEL} and {RUN.format('clients')}; then {RUN.format('verify')}"),
            (name, PkiState.DUE, "", ENDING, f"{PkiState.DUE.value}, {ENDS}", f"python certificates.py {command}"),
        )),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_good(
    name: str, state: PkiState, detail: str, end: datetime | None, says: str, step: str
) -> None:
    [row] = [
        row
        for row in rows(replace(CLUSTER_RIGHT, findings=(Finding(name, state, detail, end),)))
        if row.host == CONTROLLER
    ]
    assert (row.check, row.state) == (f"certificate {name}" if end else name, State.WRONG)
    assert (row.reason, row.next_step) == (says, step)


DAY = timedelta(days=1)
CERT, LIST, FOREVER = (NOW - 10 * DAY, NOW + 10 * DAY), (NOW - 5 * DAY, NOW + 20 * DAY), (NOW - DAY, NOW + 90 * DAY)
SET_F0, SET_R0 = (f"set the clock of {name} " for name in (F0, R0))


def said(when: Any) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def clock_of(host: str, valid: datetime, clock: datetime, how: str = "until") -> str:
    return f"is valid {how} {said(valid)}, and the clock of {host} says {said(clock)}"


OWN, ALL = "this client: its certificate", "everybody: the revocation list"
ALERT = "this client's certificate (alert)"
EXPIRED, EARLY = Fault.EXPIRED, Fault.NOT_YET_VALID
AFTER, LATE, BEFORE, SOON = (NOW + days * DAY for days in (11, 21, -11, -6))


@pytest.mark.parametrize(
    ("fault", "own", "crl", "clock", "says", "step"),
    [
        (EXPIRED, (CERT[0], NOW), LIST, None, f"{OWN} expired {said(NOW)}", RENEW),
        (EXPIRED, CERT, (LIST[0], NOW), None, f"{ALL} expired {said(NOW)}", RENEW),
        (EXPIRED, CERT, LIST, AFTER, f"{OWN} {clock_of(F0, CERT[1], AFTER)}", SET_F0),
        (EXPIRED, FOREVER, LIST, LATE, f"{ALL} {clock_of(F0, LIST[1], LATE)}", SET_F0),
        (EARLY, CERT, LIST, BEFORE, f"{OWN} {clock_of(F0, CERT[0], BEFORE, 'from')}", SET_F0),
        (EARLY, CERT, LIST, SOON, f"{ALL} {clock_of(F0, LIST[0], SOON, 'from')}", SET_F0),
        (EARLY, (NOW + DAY, CERT[1]), LIST, NOW, f"{OWN} is not valid before {said(NOW + DAY)}", RENEW),
        # nothing explains it: another reason, or a clock that nobody could read
        (EXPIRED, CERT, LIST, NOW, ALERT, f"date here and on {F0}"),
        (EXPIRED, CERT, LIST, None, ALERT, f"date here and on {F0}"),
        (EARLY, CERT, LIST, NOW, ALERT, f"date here and on {F0}"),
        (None, (CERT[0], NOW), LIST, NOW, ALERT, "certificates.py status"),
    ],
)
def test_why_the_server_refuses_a_client(
    fault: Fault | None, own: Any, crl: Any, clock: Any, says: str, step: str
) -> None:
    answer = TlsAnswer(Outcome.REFUSED, Outcome.REFUSED, "alert", SERVER, ENDING, own, fault)
    cluster = replace(CLUSTER_RIGHT, findings=(Finding("crl", PkiState.GOOD, "", crl[1], crl[0]),))
    cluster = changed(changed(cluster, R0, tls=answer), F0, now=int(clock.timestamp()) if clock else None)
    row = one(cluster, "TLS", R0)
    assert row.state is State.WRONG
    assert row.reason == f"192.168.1.138:2323 refuses {says}"
    assert step in row.next_step


@pytest.mark.parametrize(
    ("fault", "named", "clock", "says", "step"),
    [
        (EXPIRED, NOW - DAY, NOW, f"that expired {said(NOW - DAY)}", RENEW),
        (EXPIRED, None, NOW, "that expired", RENEW),
        (EARLY, NOW + DAY, NOW, f"that is not valid before {said(NOW + DAY)}", RENEW),
        (EXPIRED, NOW + DAY, NOW + 2 * DAY, f"that {clock_of('this client', NOW + DAY, NOW + 2 * DAY)}", SET_R0),
        (EARLY, NOW - DAY, NOW - 2 * DAY, f"that {clock_of('this client', NOW - DAY, NOW - 2 * DAY, 'from')}", SET_R0),
        (None, None, NOW, "that is not the server's (verify error)", "somebody else answers"),
    ],
)
def test_why_a_client_does_not_take_the_server(
    fault: Fault | None, named: Any, clock: Any, says: str, step: str
) -> None:
    answer = TlsAnswer(Outcome.NOT_VERIFIED, Outcome.NOT_VERIFIED, "verify error", own=CERT, fault=fault, named=named)
    row = one(changed(CLUSTER_RIGHT, R0, tls=answer, now=int(clock.timestamp())), "TLS", R0)
    assert (row.state, row.reason) == (State.WRONG, f"192.168.1.138:2323 shows a certificate {says}")
    assert step in row.next_step


def test_a_host_that_is_down_is_one_row_and_what_needs_it_is_unknown() -> None:
    views = {name: view for name, view in CLUSTER_RIGHT.hosts.items() if name != F0}
    cluster = replace(CLUSTER_RIGHT, hosts=views, absent={F0: "no connection"})
    assert not_right(cluster) == {
        ("reachable", F0): State.WRONG,
        ("one MASTER", CLUSTER): State.UNKNOWN,
        ("writer", CLUSTER): State.UNKNOWN,
        (f"replica of {NFS_JOB}", F1): State.UNKNOWN,
        (f"replica of {NFS_JOB} untouched", F1): State.UNKNOWN,
        ("replica of f0_to_f1_fedora", F1): State.UNKNOWN,
        ("replica of f0_to_f1_fedora untouched", F1): State.UNKNOWN,
    }
    assert [row.check for row in rows(cluster) if row.host == F0] == ["reachable"]


def test_a_host_left_out_is_unknown() -> None:
    cluster = replace(CLUSTER_RIGHT, hosts={})
    assert {row.state for row in absent_rows(cluster)} == {State.UNKNOWN}
    assert len(list(absent_rows(cluster))) == 6
    assert not [row for row in rows(cluster) if row.state is State.RIGHT and row.host != CONTROLLER]


def test_the_cards_of_the_pair_are_not_taken_for_strangers() -> None:
    assert one(CLUSTER_RIGHT, "CARP", F0).reason == "MASTER, claim (advskew) 10"
    assert one(changed(CLUSTER_RIGHT, F1, rivals=None), "CARP", F0).reason == "MASTER, claim (advskew) 10"
    seen = {"rivals": replace(of(F0).rivals, holders=TAKEN), "carp": carp(CarpState.MASTER, preempt=0)}
    assert "52:54:00:00:00:99, neither" in one(changed(CLUSTER_RIGHT, F0, **seen), "CARP", F0).reason


def test_without_the_secrets_folder_nobody_knows_whether_the_files_are_right() -> None:
    for files in (None, {}):
        cluster = replace(CLUSTER_RIGHT, secrets=files)
        assert one(cluster, "tunnel files", F1).state is State.UNKNOWN
        assert one(cluster, "tunnel files", R0).state is State.UNKNOWN
