"""SELinux: labels of ports, and NFS for containers."""

from __future__ import annotations

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.quoting import command
from facts.clients import SelinuxState
from operations.base import Commands, executing, known
from operations.reasons import operation

_GENERIC = ("unreserved_port_t", "reserved_port_t", "ephemeral_port_t", "hi_reserved_port_t", "port_t")
"""Types of whole ranges, for ports that no service has to itself."""


@operation()
def stunnel_port(port: int) -> Commands:
    """Label the port on which stunnel listens as stunnel_port_t, if SELinux is enforcing.

    The policy of Fedora and of Enterprise Linux 9 lets stunnel_t bind and connect any port (stunnel.te:
    corenet_tcp_bind_all_ports, corenet_tcp_connect_all_ports); the reference policy lets it bind stunnel_port_t
    only. With the label it works under both, and `semanage port -l` says whose port it is. A port that has the label
    of another service keeps it.

    :raises OperationError: SELinux enforces and there is no semanage to ask
    """
    state = known(SelinuxState)
    if state.mode != "Enforcing":
        host.noop(f"SELinux is {state.mode.lower()}: TCP port {port} needs no label")
        return
    add = command("semanage port -a -t stunnel_port_t -p tcp {}", port)
    if state.labels is None:
        if executing():
            raise OperationError(
                f"{host.name}: SELinux enforces, but semanage is not there (policycoreutils-python-utils)"
            )
        yield add
        return
    label = state.type_of(port)
    if label == "stunnel_port_t":
        host.noop(f"TCP port {port} is stunnel_port_t")
    elif label is None or label in _GENERIC:
        yield add
    else:
        host.noop(f"TCP port {port} is {label}, of another service: left, as stunnel may listen on any port")


@operation()
def containers_use_nfs() -> Commands:
    """Containers of k3s may use NFS (virt_use_nfs), if SELinux is enforcing and k3s has its policy there.

    Their domain, container_t, may do so only with this boolean (container-selinux, container.te).
    """
    state = known(SelinuxState)
    if state.mode == "Enforcing" and state.containers_use_nfs is False:
        yield command("setsebool -P virt_use_nfs on")
    else:
        host.noop("SELinux keeps no container of k3s away from NFS")
