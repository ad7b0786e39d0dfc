"""An NFSv4 client's mounts: what an access to one meets follows from the tunnel, the servers and their exports.

From observations.md, "NFS through stunnel" and the second round: a handle names the exported file system by its fsid,
and the file in it, not the server. A server on which they are others answers every access with a stale handle; one on
which they are the same goes on where the last one ended. A file system that mountd did not export can be looked up but
not listed; a hard mount of a server that does not answer waits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from lab.core import Cluster, Host, Mount, Store, part
from lab.linux import tls
from lab.mounts import is_read_only
from lab.net import model
from lab.rc.nfs import Root
from lab.rc.scripts import is_stopped, processes

FINE, STALE, UNLISTED, DEAD, GRACE = "fine", "stale", "unlisted", "dead", "grace"
SILENT, CLOSED = (DEAD,), (DEAD, GRACE)
"""In which nothing is answered, and in which no file can be opened, read or written; NFSv4 opens no directory."""
EXPORTED = "NFS exported"
STALE_HANDLE = "Stale file handle"
EPHEMERAL = 49152
"""The first port that FreeBSD and Linux give to an outgoing connection, more or less."""


@dataclass
class NfsMount(Mount):
    """A mount of a client; ``tree`` and ``read_only`` are those of the server's file system, as last seen.

    ``fsid`` is that of the server's file system when it was mounted.

    :param server: full name of the host that answered last
    :param path: folder in it
    :param condition: FINE, STALE, UNLISTED, DEAD or GRACE (nobody can open a file yet), as last seen
    :param number: tells it from another mount of the same share
    """

    server: str = ""
    path: str = "."
    condition: str = FINE
    number: int = 0

    @property
    def soft_limit(self) -> float | None:
        """Virtual seconds until a call on a soft mount fails (nfs(5)); None: a hard mount, which waits."""
        values = dict(word.partition("=")[::2] for word in self.options)
        if "soft" not in values:
            return None
        return float(values.get("timeo", "600")) / 10 * (int(values.get("retrans", "2")) + 1)


@dataclass(frozen=True)
class Place:
    """A folder of a server's file system."""

    server: Host
    entry: Mount
    path: str


class NoAnswer(Exception):
    """Nobody speaks NFS at the other end of the tunnel.

    :param why: for people
    :param silent: no packet came back at all; otherwise the connection was refused or closed at once
    :param refused: the local end of the tunnel is not there
    """

    def __init__(self, why: str, *, silent: bool = False, refused: bool = False) -> None:
        super().__init__(why)
        self.silent = silent
        self.refused = refused


class Refused(Exception):
    """The server answers a mount with an error; the text is mount.nfs4's."""


def answering(store: Store, cluster: Cluster, client: Host, port: int, *, kept: bool = False) -> Host:
    """The server that a client gets to through its local stunnel.

    :param port: of the local stunnel
    :param kept: by the connection that its mounts have, if that still stands: certificates were checked when it was
        made, and what is revoked later ends no connection
    :raises NoAnswer: with the first link of the chain that is broken
    """
    mine: tls.Loaded | None = client.parts.get("tls")
    listens = part(client, "sockets", dict[str, tuple[str, int]]).get("stunnel")
    if mine is None or not processes(client).get("stunnel") or not listens or listens[1] != port:
        raise NoAnswer("stunnel does not run on the client", refused=True)
    address, _, remote = mine.options.get("connect", "").rpartition(":")
    server = model.address_owner(cluster, client, address)
    if server is None:
        raise NoAnswer(f"nobody answers for {address}", silent=True)
    theirs = tls.answering(server, address, int(remote))
    if theirs is None:
        raise NoAnswer(f"no stunnel on {server.short} listens there")
    if is_stopped(server, "stunnel"):
        raise NoAnswer(f"stunnel on {server.short} stands still", silent=True)
    if not (kept and client.parts.get("connection") == _ends(client, server)):
        if tls.refusal(store, cluster, theirs, mine, purpose="sslclient"):
            raise NoAnswer(f"{server.short} refuses the client's certificate")
        if tls.refusal(store, cluster, mine, theirs, purpose="sslserver"):
            raise NoAnswer(f"the client refuses the certificate of {server.short}")
    if not processes(server).get("nfsd"):
        raise NoAnswer(f"no nfsd on {server.short}")
    if is_stopped(server, "nfsd"):
        raise NoAnswer(f"nfsd on {server.short} stands still", silent=True)
    return server


def _ends(client: Host, server: Host) -> tuple[object, ...]:
    """What a connection stands and falls with: the two stunnel processes."""
    return server.name, processes(server).get("stunnel"), processes(client).get("stunnel")


@dataclass(frozen=True)
class Link:
    """A client's connection through the tunnel.

    :param accepted: address and port at the server's stunnel
    :param client: those of the client
    :param outgoing: those of the server's stunnel as nfsd sees them
    """

    server: Host
    accepted: str
    client: str
    outgoing: str


def connection(cluster: Cluster, client: Host) -> Link | None:
    """The connection that a client's mounts have, if it stands."""
    ends = client.parts.get("connection")
    if ends is None or not mounts(client):
        return None
    server = cluster.hosts[ends[0]]
    accepted = client.parts["tls"].options["connect"]
    own = next(a for i in model.interfaces(client).values() if i.ether for a, _, _ in i.addresses)
    number = EPHEMERAL + sum(ends[1] + ends[2]) % 4096  # made up; the same as long as the connection stands
    return Link(server, accepted, f"{own}:{number}", f"127.0.0.1:{number + 4096}")


def _tell(store: Store, cluster: Cluster, client: Host, *, opened: bool) -> None:
    """The server's stunnel tells syslog of a connection (as recorded); the bytes of one that ends are not counted.

    Less than it tells for real: nothing of one that a mount makes anew later.
    """
    link = connection(cluster, client)
    if link is None:
        return
    pid = processes(link.server)["stunnel"][0]
    count = part(link.server, "tunnel connections", dict[int, int])
    if opened:
        client.parts["connection number"] = count[pid] = count.get(pid, -1) + 1
    who, level = f"stunnel[{pid}]", f"LOG5[{client.parts.get('connection number', 0)}]"
    address, _, port = link.accepted.rpartition(":")
    end = tls.answering(link.server, address, int(port))
    service = f"Service [{end.service if end else ''}]"
    if opened:
        texts = [f"{service} accepted connection from {link.client}"]
        sessions, session = part(client, "tls sessions", list[tuple[object, ...]]), _ends(client, link.server)
        resumes = session in sessions and end is not None and end.options.get("sessionResume") != "no"
        sessions.append(session)
        if end and tls.checks_peer(end) and not resumes:
            texts.append(f"Certificate accepted at depth=0: {tls.subject(client.parts['tls'])}")
        texts.append(f"{service} connected remote server from {link.outgoing}")
    else:
        texts = ["Connection closed: 0 byte(s) sent to TLS, 0 byte(s) sent to socket"]
    for text in texts:
        store.syslog(cluster, link.server, who, f"{level}: {text}")


def dropped(store: Store, cluster: Cluster, client: Host) -> None:
    """A client's connection is ended by the server's kernel; the client comes back at its next access, if it may."""
    _tell(store, cluster, client, opened=False)
    client.parts.pop("connection")


def unmounted(store: Store, cluster: Cluster, client: Host, entry: NfsMount) -> None:
    """A mount is gone, and with the last one the connection."""
    refresh(store, cluster, client)
    if mounts(client) == [entry]:
        _tell(store, cluster, client, opened=False)
        client.parts.pop("connection", None)
    client.mounts.remove(entry)


def find(store: Store, server: Host, share: str) -> Place:
    """Where a path of the NFSv4 tree is on a server.

    :raises Refused: there is no such path, or the server does not speak NFSv4 with this client
    """
    _check_version(server)
    place = walk(store, server, share)
    if not os.path.isdir(os.path.join(store.folder, tree_of(place))):
        raise Refused("No such file or directory")
    return place


def _check_version(server: Host) -> None:
    sysctl = part(server, "sysctl", dict[str, str])
    if sysctl.get("vfs.nfsd.server_max_nfsvers") != "4":
        raise Refused("Protocol not supported")
    if sysctl.get("vfs.nfsd.nfs_privport", "0") != "0":
        raise Refused("Operation not permitted")


def walk(store: Store, server: Host, path: str) -> Place:
    """Where a path of the NFSv4 tree leads: from the root as mountd found it over what is mounted below it by now.

    :raises Refused: there is no root, its file system is not mounted any more, or nothing is there
    """
    root: Root | None = server.parts.get("v4 root")
    if root is None:
        raise Refused("No such file or directory")
    top = next((m for m in server.mounts if m.fsid == root.fsid), None)
    if top is None:
        raise Refused(STALE_HANDLE)
    full = os.path.normpath(f"{root.directory}/{path.lstrip('/')}")
    inner = root.directory.rstrip("/") + "/"
    below = [m for m in server.mounts if m.target.startswith(inner) and m.target != root.directory]
    crossed = [m for m in below if f"{full}/".startswith(m.target + "/") and m.fstype != "devfs"]
    entry = crossed[-1] if crossed else top
    place = Place(server, entry, os.path.relpath(full, entry.target))
    if not os.path.exists(os.path.join(store.folder, tree_of(place))):
        raise Refused("No such file or directory")
    return place


def _held(store: Store, server: Host, entry: NfsMount) -> Place:
    """What the handle that a mount has names on a server, whatever the root is there.

    :raises Refused: nothing
    """
    _check_version(server)
    found = next((m for m in server.mounts if m.fsid == entry.fsid), None)
    if found is not None:
        place = Place(server, found, entry.path)
        if os.path.isdir(os.path.join(store.folder, tree_of(place))):
            return place
    raise Refused(STALE_HANDLE)


def tree_of(place: Place) -> str:
    """Folder below the state folder."""
    tree = f"hosts/{place.server.name}/root" if place.entry.tree == "root" else place.entry.tree
    return os.path.normpath(os.path.join(tree, place.path))


def port_of(options: tuple[str, ...]) -> int:
    """The TCP port that a mount's options name."""
    return next((int(word.removeprefix("port=")) for word in options if word.startswith("port=")), 2049)


def look(store: Store, cluster: Cluster, client: Host, entry: NfsMount) -> None:
    """Brings what is known of a mount up to date."""
    try:
        server = answering(store, cluster, client, port_of(entry.options), kept=True)
        client.parts["connection"] = _ends(client, server)
        place = _held(store, server, entry)
    except NoAnswer:
        entry.condition = DEAD
        client.parts.pop("connection", None)
        return
    except Refused:
        entry.condition = STALE
        return
    entry.server = server.name
    entry.tree, entry.read_only = tree_of(place), is_read_only(server, place.entry) or "ro" in entry.options
    entry.condition = FINE if EXPORTED in place.entry.options else UNLISTED
    if entry.condition == FINE and server.parts.get("grace", 0.0) > cluster.now:
        entry.condition = GRACE
    server.parts["had clients"] = True  # /var/db/nfs-stablerestart; what is mounted has a monitor, which opens files


def mounts(host: Host) -> list[NfsMount]:
    """A client's NFS mounts, oldest first."""
    return [entry for entry in host.mounts if isinstance(entry, NfsMount)]


def refresh(store: Store, cluster: Cluster, client: Host) -> None:
    """Brings what is known of all of a client's mounts up to date."""
    for entry in mounts(client):
        look(store, cluster, client, entry)


def new_mount(store: Store, cluster: Cluster, client: Host, source: str, target: str, wanted: list[str]) -> NfsMount:
    """Mounts a share on a client.

    :param wanted: options of mount(8) or fstab(5)
    :raises NoAnswer: nobody to mount from
    :raises Refused: the server says no
    """
    options = kernel_options(wanted)
    server = answering(store, cluster, client, port_of(options), kept=bool(mounts(client)))
    place = find(store, server, source.partition(":")[2])
    entry = NfsMount(source, target, "nfs4", tree_of(place), False, options, server.name, place.path)
    entry.fsid = place.entry.fsid
    entry.number = cluster.next_id()
    known = client.parts.get("connection")
    look(store, cluster, client, entry)
    client.mounts.append(entry)
    if known != client.parts.get("connection"):
        _tell(store, cluster, client, opened=True)
    return entry


_USERLAND = ("_netdev", "nofail", "noauto", "auto", "defaults", "rw", "ro", "hard", "soft", "user", "nouser")


def kernel_options(wanted: list[str]) -> tuple[str, ...]:
    """What the kernel's table shows for these options (as seen with kernel 6.1), ``ro`` or ``rw`` first."""
    values = dict(word.partition("=")[::2] for word in wanted)
    version = values.get("vers", values.get("nfsvers", ""))
    shown = ["ro" if "ro" in values else "rw", "noatime" if "noatime" in values else "relatime"]
    shown.append(f"vers={version if '.' in version else '4.2'}")
    shown += ["rsize=131072", "wsize=131072", "namlen=255", "soft" if "soft" in values else "hard", "proto=tcp"]
    shown.append(f"port={values.get('port', '0')}")
    shown += [f"timeo={values.get('timeo', '600')}", f"retrans={values.get('retrans', '2')}", "sec=sys"]
    return (*shown, "clientaddr=127.0.0.1", "local_lock=none", "addr=127.0.0.1")


def unknown_options(wanted: list[str]) -> list[str]:
    """The options that this model does not know."""
    known = (*_USERLAND, "noatime", "port", "timeo", "retrans", "sec", "vers", "nfsvers", "proto")
    return [w for w in wanted if w.partition("=")[0] not in known and not w.startswith("x-systemd.")]
