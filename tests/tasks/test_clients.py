"""The plan of tasks/clients.py for a Rocky host that has nothing yet, and for hosts of other kinds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pyinfra.api.exceptions import DeployError, OperationError
from pyinfra.facts import files, rpm, server

from f3s.monitor import OUTDATED
from f3s.secretfile import ABSENT
from f3s.selinux import PortLabel, Selinux
from f3s.textfile import TextFile
from f3s.units import Unit, Units
from facts.clients import HostName, SelinuxState
from facts.fstab import LinuxMounts
from facts.secrets import Certificates, SecretFile
from facts.sysctl import Sysctls
from facts.textfile import TextFileOf
from facts.units import UnitStates
from tests.operations.harness import text_file
from tests.tasks.plan import Planned, plan

SECRET = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n"
NEW = Unit(exists=False, active=False, enabled=False, stale=False, since=None)


class FakeCredentials:
    def __init__(self, folder: Path, refusal: type[Exception]) -> None:
        self.folder = folder

    def client(self, name: str) -> str:
        assert name == "r0.lan.buetow.org"
        return SECRET

    def client_end(self, name: str) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    def ca_certificate(self) -> str:
        return "-----BEGIN CERTIFICATE-----\n"


GENERIC = (PortLabel("unreserved_port_t", 1024, 32767),)


FSTAB = "/dev/vda4 / xfs defaults 0 0\n"


def present(path: str, **_: Any) -> TextFile:
    return text_file(FSTAB, group="root") if path == "/etc/fstab" else TextFile()


def facts() -> dict[type, Any]:
    none = dict.fromkeys([files.File, files.Directory, files.Sha1File, files.Sha256File, files.Md5File], None)
    return {
        **none,
        files.FindInFile: [],
        server.TmpDir: "/tmp",
        rpm.RpmPackages: {},
        rpm.RpmPackageProvides: None,
        HostName: "r0.lan.buetow.org",
        SelinuxState: Selinux("Enforcing", GENERIC),
        SecretFile: ABSENT,
        Certificates: {},
        Sysctls: {"net.ipv4.tcp_thin_linear_timeouts": "0"},
        TextFileOf: present,
        LinuxMounts: (),
        UnitStates: lambda names, files=(), **_: Units(dict.fromkeys(names, NEW), {}),
    }


def test_a_client_without_a_certificate_yet_is_told_what_to_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "ca-cert.pem").touch(0o600)
    with (
        patch("bridge.settings.secrets_folder", lambda _: tmp_path),
        pytest.raises(DeployError, match=r"client-r0\S+ is missing: run 'python certificates.py init'"),
    ):
        plan("clients", "r0.lan.buetow.org", facts())


def client_plan(there: dict[type, Any] | None = None, **data: Any) -> list[Planned]:
    with patch("bridge.settings.Credentials", FakeCredentials):
        return plan("clients", "r0.lan.buetow.org", facts() | (there or {}), **data)


def test_a_new_host_beyond_what_the_golden_plan_shows() -> None:
    """tests/golden/untouched/r0.txt has openssl, and a systemd that knows the new unit."""
    planned = {each.title.removeprefix("clients: "): each.commands for each in client_plan()}
    packages = "dnf install -y stunnel nfs-utils openssl nftables policycoreutils-python-utils"
    assert planned["packages"] == (packages,)
    assert planned["systemd reads f3s-tunnel-port.service"] == ("systemctl daemon-reload",)
    assert [title for title, commands in planned.items() if not commands] == [
        "a host name of its own",
        "no certificates of somebody else are in their place",
        "SELinux lets containers of k3s use NFS",
        *(f"{path} is not needed any more" for path in OUTDATED),
    ]


@pytest.mark.parametrize("mode", ["Permissive", "absent"])
def test_without_selinux_nothing_of_it_is_touched(mode: str) -> None:
    text = "\n".join(
        command for each in client_plan({SelinuxState: Selinux(mode, GENERIC)}) for command in each.commands
    )
    assert "semanage" not in text
    assert "policycoreutils" not in text


def test_a_domain_where_owners_are_names() -> None:
    [idmapd] = [each for each in client_plan(nfs_owners="names") if "domain" in each.title]
    assert "Domain = lan.buetow.org" in idmapd.commands[0]


def test_a_laptop_with_two_mounts() -> None:
    mounts = [{"share": "k3svolumes", "mountpoint": f"/srv/{name}"} for name in ("one", "two")]
    planned = client_plan(client_mount_preset="laptop", client_mounts=mounts, client_metrics_file=None)
    lines = [each for each in planned if each.title.endswith("in /etc/fstab")]
    assert [each.title for each in lines] == ["clients: /srv/one in /etc/fstab", "clients: /srv/two in /etc/fstab"]
    assert not [each for each in planned if "metrics" in each.title]


@pytest.mark.parametrize(
    ("program", "installed"), [("/usr/local/bin/cordon-node.sh", True), ("/opt/hook", False), (None, False)]
)
def test_the_hook_for_kubernetes_is_installed_where_it_is_asked_for(program: str | None, installed: bool) -> None:
    planned = client_plan(client_escalate_after=6 if program else 0, client_escalate_command=program)
    hooks = [each for each in planned if "/usr/local/bin/cordon-node.sh absent" in "\n".join(each.commands)]
    assert [each.title for each in hooks] == (["clients: cordon-node.sh"] if installed else [])


def test_units_of_a_monitor_that_was_made_by_hand_are_replaced_on_a_word_only() -> None:
    timer = "/etc/systemd/system/nfs-mount-monitor.timer"
    by_hand = text_file("[Timer]\n", group="root")
    there = {TextFileOf: lambda path, **_: by_hand if path == timer else present(path)}
    with pytest.raises(OperationError, match=f"{timer} is not of this deploy"):
        client_plan(there)
    planned = client_plan(there, replace_files=[timer])
    [command] = next(each.commands for each in planned if each.title == "clients: nfs-mount-monitor.timer")
    assert f"replace-file {timer} {by_hand.state.sha256} " in command
    assert " yes '' ''" in command, "it stays beside ours"


def test_other_hosts_have_no_plan() -> None:
    assert plan("clients", "f0.lan.buetow.org", {}) == []
