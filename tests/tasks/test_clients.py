"""The plan of tasks/clients.py for a Rocky host that has nothing yet, and for hosts of other kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pyinfra.facts import files, rpm, server

from f3s.secretfile import ABSENT
from f3s.selinux import PortLabel, Selinux
from f3s.units import Unit, Units
from facts.clients import HostName, SelinuxState
from facts.fstab import Fstab, LinuxMounts
from facts.secrets import SecretFile
from facts.units import UnitStates
from tests.tasks.plan import Planned, plan

SECRET = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n"
NEW = Unit(exists=False, active=False, enabled=False, stale=False, since=None)


class FakeCredentials:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def client(self, name: str) -> str:
        assert name == "r0.lan.buetow.org"
        return SECRET

    def ca_certificate(self) -> str:
        return "-----BEGIN CERTIFICATE-----\n"


def facts(selinux: str = "Enforcing") -> dict[type, Any]:
    none = dict.fromkeys([files.File, files.Directory, files.Sha1File, files.Sha256File, files.Md5File], None)
    return {
        **none,
        files.FindInFile: [],
        server.TmpDir: "/tmp",
        rpm.RpmPackages: {},
        rpm.RpmPackageProvides: None,
        HostName: "r0.lan.buetow.org",
        SelinuxState: Selinux(selinux, (PortLabel("unreserved_port_t", 1024, 32767),)),
        SecretFile: ABSENT,
        Fstab: "/dev/vda4 / xfs defaults 0 0\n",
        LinuxMounts: (),
        UnitStates: lambda names, files=(), **_: Units(dict.fromkeys(names, NEW), {}),
    }


def client_plan(selinux: str = "Enforcing", **data: Any) -> list[Planned]:
    with patch("bridge.settings.Credentials", FakeCredentials):
        return plan("clients", "r0.lan.buetow.org", facts(selinux), **data)


def test_the_whole_plan_of_a_new_host() -> None:
    planned = client_plan()
    titles = [each.title.removeprefix("clients: ") for each in planned]
    assert titles == [
        "a host name of its own",
        "packages",
        "hosts: names of the virtual IP",
        "key and certificate",
        "certificate of the CA",
        "stunnel.conf",
        "SELinux lets stunnel listen",
        "stunnel runs",
        "directory /data/nfs/k3svolumes",
        "/data/nfs/k3svolumes in /etc/fstab",
        "check-nfs-mount.sh",
        "directory of the metrics",
        "settings of the monitor",
        "nfs-mount-monitor.service",
        "nfs-mount-monitor.timer",
        "systemd reads the units and /etc/fstab",
        "/etc/f3s/nfs-mount.conf is not needed any more",
        "/usr/local/bin/nfs-null-call.sh is not needed any more",
        "mounted, if the server answers",
        "the monitor's timer runs",
    ]
    idle = [each.title.removeprefix("clients: ") for each in planned if not each.commands]
    assert idle == ["a host name of its own", *(title for title in titles if "any more" in title)]
    text = "\n".join(command for each in planned for command in each.commands)
    for part in (
        "dnf install -y stunnel nfs-utils openssl policycoreutils-python-utils",
        "192.168.1.138 f3s-storage-ha f3s-storage-ha.lan f3s-storage-ha.lan.buetow.org",
        "semanage port -a -t stunnel_port_t -p tcp 2323",
        "systemctl enable stunnel.service\nsystemctl start stunnel.service",
        "systemctl enable nfs-mount-monitor.timer\nsystemctl start nfs-mount-monitor.timer",
        "put /etc/f3s/nfs-mount.json",
        "put /usr/local/bin/check-nfs-mount.sh",
    ):
        assert part in text
    assert "PRIVATE KEY" not in text
    assert "idmapd" not in text, "numeric owners are the default"


@pytest.mark.parametrize("mode", ["Permissive", "absent"])
def test_without_selinux_nothing_of_it_is_touched(mode: str) -> None:
    text = "\n".join(command for each in client_plan(selinux=mode) for command in each.commands)
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
    hooks = [each for each in planned if "put /usr/local/bin/cordon-node.sh" in "\n".join(each.commands)]
    assert [each.title for each in hooks] == (["clients: cordon-node.sh"] if installed else [])


def test_other_hosts_have_no_plan() -> None:
    assert plan("clients", "f0.lan.buetow.org", {}) == []
