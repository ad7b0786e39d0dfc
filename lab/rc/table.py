"""The services that the lab plays, with the headers that put them in the observed boot order (rcorder(8))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.core import Context


@dataclass(frozen=True)
class Service:
    """A daemon whose rc.d script is played; scripts without a daemon are in lab/rootfiles/rc.d.

    :param rcvar: its switch in rc.conf
    :param processes: how many it consists of
    :param needs: services that are started with it (rc.subr's force_depend)
    :param pid_file: what it writes when it starts
    :param reload: whether the script has ``reload`` in extra_commands; others refuse the verb
    """

    name: str
    require: str = ""
    before: str = ""
    keyword: str = ""
    rcvar: str = ""
    processes: int = 1
    needs: tuple[str, ...] = ()
    folder: str = "/etc/rc.d"
    pid_file: str = ""
    reload: bool = False

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"

    @property
    def header(self) -> str:
        lines = [f"# PROVIDE: {self.name}"]
        for word, value in (("REQUIRE", self.require), ("BEFORE", self.before), ("KEYWORD", self.keyword)):
            if value:
                lines.append(f"# {word}: {value}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Actions:
    """What a daemon does, besides being there.

    :param start: run before it counts as started; False: it failed
    :param stop: run when it is stopped
    :param hangup: what it does on SIGHUP
    """

    start: Callable[[Context], bool] | None = None
    stop: Callable[[Context], object] | None = None
    hangup: Callable[[Context], object] | None = None


ACTIONS: dict[str, Actions] = {}
"""By the service's name; `lab.catalog` registers all of them."""

BASE = [
    Service("devd", "netif", rcvar="devd_enable", pid_file="/var/run/devd.pid"),
    Service("nfsuserd", "NETWORKING", rcvar="nfsuserd_enable", processes=5),
    Service("syslogd", "NETWORKING", rcvar="syslogd_enable", pid_file="/var/run/syslog.pid"),
    Service("rpcbind", "NETWORKING", rcvar="rpcbind_enable"),
    Service(
        "mountd",
        "NETWORKING rpcbind quota mountlate",
        rcvar="mountd_enable",
        needs=("rpcbind",),
        keyword="shutdown",
        pid_file="/var/run/mountd.pid",
        reload=True,
    ),
    Service(
        "nfsd",
        "mountcritremote mountd hostname gssd nfsuserd",
        rcvar="nfs_server_enable",
        processes=2,
        needs=("rpcbind", "mountd"),
        keyword="shutdown",
    ),
    Service("sshd", "LOGIN", rcvar="sshd_enable", pid_file="/var/run/sshd.pid"),
    Service(
        "cron",
        "LOGIN nfsd",
        "securelevel",
        keyword="shutdown",
        rcvar="cron_enable",
        pid_file="/var/run/cron.pid",
    ),
]

PACKAGED: dict[str, list[Service]] = {
    "stunnel": [
        Service(
            "stunnel",
            "NETWORKING SERVERS",
            "DAEMON",
            keyword="shutdown",
            rcvar="stunnel_enable",
            folder="/usr/local/etc/rc.d",
        )
    ],
    "zrepl": [
        Service(
            "zrepl",
            "LOGIN",
            keyword="shutdown",
            rcvar="zrepl_enable",
            folder="/usr/local/etc/rc.d",
        )
    ],
    "vm-bhyve": [
        Service(
            "vm",
            "NETWORKING SERVERS DAEMON",
            "LOGIN",  # its place in the recorded order
            keyword="shutdown nojail",
            rcvar="vm_enable",
            folder="/usr/local/etc/rc.d",
        )
    ],
}
"""Services that come with a package."""


def find(path: str) -> Service:
    """The service of an rc.d script.

    :raises KeyError: none is played there
    """
    return {service.path: service for services in (BASE, *PACKAGED.values()) for service in services}[path]
