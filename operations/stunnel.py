"""The tunnel in front of the NFS server. f3s_storage starts and stops it; here it is only told to read its files."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.facts.files import File, FileContents

from f3s.connections import to_end
from f3s.controller import STARTED
from f3s.pki.certificates import Issued
from f3s.stunnel import merged
from facts.base import script
from facts.sockets import Listeners
from facts.stunnel import Passing, Stunnel, TunnelConnections
from operations.base import Commands, Shown, known, told
from operations.reasons import operation
from operations.textfile import two_owners, written


@operation()
def port_is_ours(addresses: Sequence[str], port: int, pid_file: str) -> Commands:
    """Only the daemon that the rc script knows, or nothing, listens on the tunnel's addresses. Changes nothing.

    A stunnel without a pid file keeps the port while `service stunnel stop` says "not running" (observed). The
    controller does not see it and could not start another, and both hosts would give the address away. It is not
    stopped here, as it may serve clients.

    + addresses, port: of the tunnel

    Raises OperationError if another process listens there.

    **Example:** `stunnel.port_is_ours(["192.168.1.138", "127.0.0.1"], 2323, "/var/run/stunnel/stunnel.pid")`
    """
    found = [each for each in known(Listeners) if any(each.takes(address, port) for address in addresses)]
    ours: list[str] = told(FileContents, path=pid_file) or []
    strangers = [each for each in found if [str(each.pid)] != [line.strip() for line in ours]]
    for stranger in strangers:
        if stranger.pid and known(Passing, pid=stranger.pid, pid_file=pid_file):
            continue
        end_it = f"`kill {stranger.pid}`" if stranger.pid else "end it"
        if told(File, path=STARTED):
            # or the controller would start it again, from the same configuration
            end_it = f"`service f3s_storage stop` and {end_it}"
        raise OperationError(
            f"{host.name}: {stranger.owner} listens on {stranger.address}:{port} and is not in {pid_file}, so "
            "f3s_storage could neither stop it nor start stunnel. Nothing of CARP and stunnel was changed. Run "
            f"{end_it} there, then this again at once: clients that it serves wait until then"
        )
    names = " and ".join(f"{address}:{port}" for address in addresses)
    host.noop(f"{names}: held by the stunnel of {pid_file}" if found else f"{names}: free")
    yield from ()


@operation()
def configuration(path: str, ours: str, replace: bool, group: str = "wheel") -> Generator[StringCommand]:
    """stunnel.conf has our options and services; those of the operator stay.

    + ours: as f3s.stunnel.merged takes it
    + replace: whether a file in which ours have no place may be replaced whole
    + group: root's own (wheel on FreeBSD, root on Rocky)

    **Example:** `stunnel.configuration("/usr/local/etc/stunnel/stunnel.conf", text, replace=False)`
    """
    found, text, whole = two_owners(path, lambda before: merged(before, ours), replace)
    yield from written(path, found, text, "0644", group=group, whole=whole)


@operation()
def reloaded(pid_file: str, stamp: str, files: Sequence[str]) -> Commands:
    """A running stunnel has read its files as they are now; its connections stay.

    The rc script of the package has no reload (security/stunnel/files/stunnel.in), so the daemon gets SIGHUP. It is
    found by its pid file, so that another stunnel of the host is left alone. The age of the files decides, not whether
    this run changed them: so the run after a killed one catches up.

    + stamp: file that remembers the last reload, in a folder that only root writes to
    + files: what it reads at a reload

    **Example:** `stunnel.reloaded("/var/run/stunnel/stunnel.pid", "/var/run/f3s-stunnel", [CONFIG, CERT])`
    """
    state = known(Stunnel, pid_file=pid_file, stamp=stamp, files=tuple(files))
    if not state.running:
        host.noop("stunnel does not run here; it reads its files when it starts")
    elif not state.stale:
        host.noop("stunnel has read its files as they are")
    else:
        yield script("reload-stunnel", pid_file, stamp)


@operation()
def refused_ended(
    pid_file: str,
    stamp: str,
    crl: str,
    listens: str,
    service: str,
    issued: Sequence[Issued],
    trusted: Collection[int],
) -> Generator[StringCommand]:
    """Connections that were made with a certificate which is revoked by now, or of a CA that was dropped, are ended,
    and nobody else's.

    The reload before only concerns who comes next. As there, the age of the file decides: a run that was killed between
    the two is made up for. A connection of which the log does not tell whose it is, because it was rotated away or does
    not come here at all, may be a revoked one. It is ended, too, and named: who may come back is back within seconds.

    + pid_file: the daemon's pid file
    + stamp: file that remembers the last look, in a folder that only root writes to
    + crl: the revocation list
    + listens, service: address with port, and name, of the service for clients
    + issued, trusted: as f3s.connections.to_end takes them

    **Example:** `stunnel.refused_ended(PID_FILE, ENDED_STAMP, CRL_FILE, "192.168.1.138:2323", "nfs", issued, {1})`
    """
    state = known(Stunnel, pid_file=pid_file, stamp=stamp, files=(crl,))
    if not state.running:
        host.noop("stunnel does not run here, so no connection is open")
    elif not state.stale:
        host.noop("no connection is older than the revocation list, or they were looked at since it came")
    else:
        connections = known(TunnelConnections, pid_file=pid_file, listens=listens, service=service)
        endings = to_end(connections, issued, trusted)
        address, _, port = listens.rpartition(":")
        words = [word for each in endings for word in (each.client, each.why)]
        yield Shown(script("end-connections", stamp, address, port, *words))
