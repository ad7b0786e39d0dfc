"""What programs and the kernel of a FreeBSD host tell syslogd(8): lines of /var/log/messages at the virtual time."""

from __future__ import annotations

import time

from lab.core import Cluster, Host, Store


def write(store: Store, cluster: Cluster, host: Host, who: str, text: str) -> None:
    """Adds a line.

    :param who: the tag, with the process id in brackets where there is one
    """
    stamp = time.strftime("%b %e %H:%M:%S", time.gmtime(cluster.now))
    with open(store.root(host.name) / "var/log/messages", "a") as log:
        log.write(f"{stamp} {host.short} {who}: {text}\n")
