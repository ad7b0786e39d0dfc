"""One run of a push job: what has to be sent is found by GUIDs, sent raw, received, and remembered on both sides.

After zrepl 0.7.0, internal/replication/logic and internal/endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from f3s.pruning import selects
from lab.core import Cluster, CommandError, Host, Store
from lab.net import model as net
from lab.zfs import datasets, receive, snapshots, stream
from lab.zfs.model import Bookmark, Dataset, Node, Snapshot
from lab.zrepl.config import Push, Sink
from lab.zrepl.state import Filesystem, Run, sink_at

PLACEHOLDER = "zrepl:placeholder"


class ReplicationError(Exception):
    """What zrepl reports of a run or of a file system in it."""


@dataclass(frozen=True)
class Link:
    """Both ends of a job.

    :param root: dataset below which the client's datasets are received
    """

    push: Push
    sink: Sink
    sender: Node
    receiver: Node
    root: str

    def target(self, dataset: Dataset) -> str:
        return f"{self.root}/{dataset.name}"


def selected(push: Push, node: Node) -> list[Dataset]:
    """The file systems and volumes that a job's filter takes (daemon/filters)."""
    wanted = dict.fromkeys(push.filesystems, True)
    return [each for each in node.all() if selects(wanted, each.name) and each.props.get(PLACEHOLDER) != "on"]


def connect(store: Store, cluster: Cluster, source: Host, push: Push) -> Link:
    """Reaches the job's sink.

    :raises ReplicationError: it cannot be reached, or does not want this client
    """
    address, _, port = push.address.rpartition(":")
    owner = net.address_owner(cluster, source, address)
    sink = sink_at(owner, address, port) if owner else None
    if owner is None or sink is None:
        reason = "connect: connection refused" if owner else "i/o timeout"
        raise ReplicationError(
            'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: '
            f'dial tcp {push.address}: {reason}"'
        )
    own = [entry[0] for each in net.interfaces(source).values() for entry in each.addresses]
    identity = next((name for client, name in sink.clients.items() if client in own), None)
    if identity is None:
        raise ReplicationError('rpc error: code = Unavailable desc = connection error: desc = "transport: EOF"')
    receiver = Node(store, cluster, owner)
    if receiver.find(sink.root_fs) is None:
        raise ReplicationError("root_fs does not exist")
    return Link(push, sink, Node(store, cluster, source), receiver, f"{sink.root_fs}/{identity}")


def run(store: Store, cluster: Cluster, source: Host, push: Push, begun: Run | None = None) -> Run:
    """Replicates everything that a job is for; nothing is raised, failures are in the result.

    File systems come one after the other (replication.concurrency.steps is 1 by default), and a whole one takes its
    time: with it a run pauses, and goes on with what is left when it is given as `begun`.
    """
    result = begun or Run(cluster.now)
    result.paused = False
    try:
        link = connect(store, cluster, source, push)
    except ReplicationError as error:
        result.error = str(error)
        return result
    done = {each.name for each in result.filesystems}
    for dataset in selected(push, link.sender):
        if dataset.name in done:
            continue
        report = Filesystem(dataset.name)
        result.filesystems.append(report)
        above = [each for each in result.filesystems if dataset.name.startswith(f"{each.name}/") and each.error]
        try:
            if above and link.receiver.find(link.target(dataset)) is None:
                raise ReplicationError(f"parent(s) failed during initial replication: [{above[0].name}]")
            _replicate(link, dataset, report)
        except CommandError as error:
            report.error = f"zfs exited with error: exit status {error.rc}\nstderr:\n{error.message}\n"
        except ReplicationError as error:
            report.error = str(error)
        if report.whole:
            result.paused = True
            return result
    result.finished = cluster.now
    return result


def _replicate(link: Link, dataset: Dataset, report: Filesystem) -> None:
    existing = link.receiver.find(link.target(dataset))
    if existing is not None and existing.props.get(PLACEHOLDER) == "on":
        # zfs receive -F, which zrepl would use, does not replace it with an encrypted dataset
        raise ReplicationError(
            "cannot automatically replace placeholder filesystem with incoming send stream - "
            "please see receive-side log for details"
        )
    path = _path(dataset, existing)
    for start, snap in pairwise(path):
        assert isinstance(snap, Snapshot)
        _step(link, dataset, start, snap)
        report.whole |= start is None
        _remember(link, dataset, snap)
    if existing is not None and path[0] is not None and len(path) == 1:
        _remember(link, dataset, path[0])


def _relative(version: Bookmark) -> str:
    return ("@" if isinstance(version, Snapshot) else "#") + version.name


def _path(dataset: Dataset, existing: Dataset | None) -> list[Bookmark | None]:
    """The snapshots to send one after the other; the first element is where the target stands, None: it has nothing.

    :raises ReplicationError: there is no way from the one to the other
    """
    own: list[Bookmark] = [*dataset.bookmarks, *dataset.snapshots]
    own.sort(key=lambda version: (version.createtxg, isinstance(version, Snapshot)))
    if existing is None:
        if not dataset.snapshots:
            raise ReplicationError("no snapshots available on sender side")
        return [None, dataset.snapshots[-1]]
    theirs = existing.snapshots
    for place, snap in reversed(list(enumerate(theirs))):
        common = next((i for i in reversed(range(len(own))) if own[i].guid == snap.guid), None)
        if common is None:
            continue
        if place != len(theirs) - 1:
            raise ReplicationError(
                "the receiver's latest snapshot is not present on sender:\n"
                f"  last common: {_relative(own[common])}\n  sender-only:\n"
                + "".join(f"    {_relative(version)}\n" for version in own[common + 1 :])
                + "  receiver-only:\n"
                + "".join(f"    {_relative(version)}\n" for version in theirs[place + 1 :])
            )
        later = [v for v in own[common + 1 :] if isinstance(v, Snapshot) and v.guid != own[common].guid]
        return [own[common], *later]
    if not own:
        raise ReplicationError("no snapshots available on sender side")
    raise ReplicationError(
        "no common snapshot or suitable bookmark between sender and receiver:\n  sorted sender versions:\n"
        + "".join(f"    {_relative(version)}\n" for version in own)
        + "  sorted receiver versions:\n"
        + "".join(f"    {_relative(version)}\n" for version in theirs)
    )


def _step(link: Link, dataset: Dataset, start: Bookmark | None, snap: Snapshot) -> None:
    """Sends one snapshot.

    :raises ReplicationError: zrepl refuses
    """
    if dataset.crypt is None:
        raise ReplicationError(f'encrypted send mandated by policy, but filesystem "{dataset.name}" is not encrypted')
    if start is None:
        _placeholders(link, link.target(dataset))
    source = _relative(start) if start else None
    data = stream.encode(stream.plan(link.sender, f"{dataset.name}@{snap.name}", raw=True, source=source))
    wanted = receive.Options(resumable=True, override=link.sink.override)
    receive.receive(link.receiver, data, f"{link.target(dataset)}@{snap.name}", wanted, lambda _: None)


def _placeholders(link: Link, target: str) -> None:
    """Makes the parents that are missing, unencrypted."""
    parts = target.split("/")
    for length in range(2, len(parts)):
        name = "/".join(parts[:length])
        if link.receiver.find(name) is not None:
            continue
        given = {PLACEHOLDER: "on", "mountpoint": "none", "encryption": "off"}
        datasets.create(link.receiver, name, "filesystem", given, None)


def cursor(dataset: Dataset, job: str) -> Bookmark | None:
    """The bookmark of what a job replicated last."""
    mine = [b for b in dataset.bookmarks if b.name.startswith("zrepl_CURSOR_G_") and b.name.endswith(f"_J_{job}")]
    return max(mine, key=lambda bookmark: bookmark.createtxg, default=None)


def _remember(link: Link, dataset: Dataset, version: Bookmark) -> None:
    """The replication cursor on the source, the last-received hold on the target; the ones before them go."""
    name = f"zrepl_CURSOR_G_{version.guid:016x}_J_{link.push.name}"
    old = [b.name for b in dataset.bookmarks if b.name.endswith(f"_J_{link.push.name}") and b.name != name]
    if all(bookmark.name != name for bookmark in dataset.bookmarks):
        snapshots.bookmark(link.sender, f"{dataset.name}{_relative(version)}", f"{dataset.name}#{name}")
    for each in old:
        snapshots.destroy_bookmark(link.sender, f"{dataset.name}#{each}")
    received = link.receiver.dataset(link.target(dataset))
    tag = f"zrepl_last_received_J_{link.sink.name}"
    for snap in received.snapshots:
        full = f"{received.name}@{snap.name}"
        if (snap.guid == version.guid) != (tag in snap.holds):
            snapshots.hold(link.receiver, tag, full, release=tag in snap.holds)
