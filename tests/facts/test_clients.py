from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.selinux import PortLabel, Selinux
from facts.base import END
from facts.clients import HostName, PortIsOpen, SelinuxState
from tests.files.tcp import server
from tests.shell import lines_of, shell

# `semanage port -l -n` prints lines of this form on Enterprise Linux 9
PORTS = """\
afs3_callback_port_t           tcp      7001
ephemeral_port_t               tcp      32768-60999
ephemeral_port_t               udp      32768-60999
http_port_t                    tcp      80, 81, 443, 488, 8008, 8009, 8443, 9000
mysqld_port_t                  tcp      1186, 3306, 63132-63164
unreserved_port_t              tcp      61001-65535, 1024-32767
unreserved_port_t              sctp     1024-65535""".splitlines()


def process(fact: Any, lines: list[str]) -> Any:
    return fact().process([*lines, END])


def test_host_name() -> None:
    assert process(HostName, ["r0.lan"]) == "r0.lan"
    for lines in ([], [""], ["a", "b"]):
        with pytest.raises(FactProcessError, match="the name of a host"):
            process(HostName, lines)


def test_selinux() -> None:
    state = process(SelinuxState, ["=== mode", "Enforcing", "=== ports", *PORTS])
    assert state.mode == "Enforcing"
    assert PortLabel("mysqld_port_t", 63132, 63164) in state.labels
    assert [state.type_of(port) for port in (2323, 443, 3306, 63140, 40000, 99)] == [
        "unreserved_port_t",
        "http_port_t",
        "mysqld_port_t",
        "mysqld_port_t",
        "ephemeral_port_t",
        None,
    ]
    labelled = process(SelinuxState, ["=== mode", "Enforcing", "=== ports", *PORTS, "stunnel_port_t  tcp  2323"])
    assert labelled.type_of(2323) == "stunnel_port_t"
    assert process(SelinuxState, ["=== mode", "absent"]) == Selinux("absent", None)
    with_k3s = process(SelinuxState, ["=== mode", "Enforcing", "=== containers", "virt_use_nfs --> off"])
    assert with_k3s == Selinux("Enforcing", None, containers_use_nfs=False)


def test_a_host_with_the_policy_of_k3s_and_without_selinux(tmp_path: Path) -> None:
    """k3s's install.sh brings the package, k3s-ansible turns SELinux off (its issue 240)."""
    said = lines_of(
        SelinuxState().command(),
        tmp_path,
        getenforce="echo Disabled",
        selinuxenabled="exit 1",
        semanage="exit 1",
        rpm="exit 0",
        getsebool="echo 'getsebool:  SELinux is disabled' >&2; exit 1",  # libselinux/utils/getsebool.c
    )
    assert SelinuxState().process(said) == Selinux("Disabled", None)


@pytest.mark.parametrize(
    "lines",
    [
        ["=== mode", "Confused"],
        ["=== mode"],
        ["=== ports"],
        ["=== mode", "Enforcing", "=== containers", "Error getting active value for virt_use_nfs"],
        ["=== mode", "Enforcing", "=== ports", "SELinux Port Type              Proto    Port Number"],
        ["=== mode", "Enforcing", "=== ports", "http_port_t tcp 80, x"],
    ],
)
def test_selinux_output_that_is_not_known(lines: list[str]) -> None:
    with pytest.raises(FactProcessError):
        process(SelinuxState, lines)


def test_another_users_attempt_to_connect(tmp_path: Path) -> None:
    """With the real bash, as the user who runs this."""

    def attempt(port: int, runuser: str = 'shift 3; exec "$@"') -> bool | None:
        return PortIsOpen().process(
            shell(PortIsOpen().command(port=port), tmp_path, runuser=runuser).stdout.splitlines()
        )

    with server(lambda connection: None) as port:
        assert attempt(port) is True
    assert attempt(port) is False
    with pytest.raises(FactProcessError, match="neither way"):
        attempt(port, "echo 'runuser: user nobody does not exist' >&2; exit 1")
