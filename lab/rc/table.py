"""The services that the lab plays, with the headers that put them in the observed boot order (rcorder(8))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.core import Cluster, Context, Host, Store


@dataclass(frozen=True)
class Service:
    """A daemon whose rc.d script is played; scripts without a daemon are in lab/rootfiles/rc.d.

    :param switch: the variable of rc.conf, if it is not NAME_enable
    :param processes: how many it consists of
    :param needs: services that are started with it (rc.subr's force_depend)
    :param pid_file: what it writes when it starts
    :param reload: whether the script has ``reload`` in extra_commands; others refuse the verb
    """

    name: str
    require: str = ""
    before: str = ""
    keyword: str = "shutdown"
    switch: str = ""
    processes: int = 1
    needs: tuple[str, ...] = ()
    folder: str = "/etc/rc.d"
    pid_file: str = ""
    reload: bool = False

    @property
    def rcvar(self) -> str:
        return self.switch or f"{self.name}_enable"

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
    :param started: run as it counts as started, in one edit: what is due at once finds it there
    """

    start: Callable[[Context], bool] | None = None
    stop: Callable[[Context], object] | None = None
    hangup: Callable[[Context], object] | None = None
    started: Callable[[Store, Cluster, Host], None] | None = None


ACTIONS: dict[str, Actions] = {}
"""By the service's name; `lab.catalog` registers all of them."""

BASE = [
    Service("devd", "netif", keyword="", pid_file="/var/run/devd.pid"),
    Service("nfsuserd", "NETWORKING", keyword="", processes=5),
    Service("syslogd", "NETWORKING", keyword="", pid_file="/var/run/syslog.pid"),
    Service("rpcbind", "NETWORKING", keyword=""),
    Service(
        "mountd", "NETWORKING rpcbind quota mountlate", needs=("rpcbind",), pid_file="/var/run/mountd.pid", reload=True
    ),
    Service(
        "nfsd",
        "mountcritremote mountd hostname gssd nfsuserd",
        switch="nfs_server_enable",
        processes=2,
        needs=("rpcbind", "mountd"),
    ),
    Service("sshd", "LOGIN", keyword="", pid_file="/var/run/sshd.pid"),
    Service("cron", "LOGIN nfsd", "securelevel", pid_file="/var/run/cron.pid"),
]
LOCAL = "/usr/local/etc/rc.d"
PACKAGED = {
    "stunnel": [Service("stunnel", "NETWORKING SERVERS", "DAEMON", folder=LOCAL)],
    "zrepl": [Service("zrepl", "LOGIN", folder=LOCAL)],
    # its place in the recorded order
    "vm-bhyve": [Service("vm", "NETWORKING SERVERS DAEMON", "LOGIN", keyword="shutdown nojail", folder=LOCAL)],
}
"""Services that come with a package."""


def find(path: str) -> Service:
    """The service of an rc.d script.

    :raises KeyError: none is played there
    """
    return {service.path: service for services in (BASE, *PACKAGED.values()) for service in services}[path]
