"""The tunnel in front of the NFS server. f3s_storage starts and stops it; here it only gets to know its files."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.operation import operation
from pyinfra.context import host

from f3s.quoting import command
from facts.stunnel import Stunnel
from operations.base import Commands, known


@operation()
def reloaded(pid_file: str, stamp: str, files: Sequence[str]) -> Commands:
    """A running stunnel has read its files as they are now; its connections stay.

    The rc script of the package has no reload (security/stunnel/files/stunnel.in), so the daemon gets SIGHUP. It is
    found by its pid file: another stunnel of the host is none of our business. The age of the files tells what is to
    be done and not whether this run changed them, so that a run which was killed in between is made up for.

    + pid_file: its pid file
    + stamp: file that remembers the last reload, in a folder that only root writes to
    + files: what it reads at a reload

    **Example:** `stunnel.reloaded("/var/run/stunnel/stunnel.pid", "/var/run/f3s-stunnel", [CONFIG, CERT])`
    """
    state = known(Stunnel, pid_file=pid_file, stamp=stamp, files=tuple(files))
    if not state.running:
        host.noop("stunnel does not run here; it reads its files when it starts")
    elif not state.unread:
        host.noop("stunnel has read its files as they are")
    else:
        # the stamp is made first: a file that changes during the reload is then newer than it
        yield command(
            "touch {} && pkill -HUP -F {} -x stunnel && mv -f {} {}",
            f"{stamp}.new",
            pid_file,
            f"{stamp}.new",
            stamp,
        )
