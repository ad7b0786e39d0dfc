"""Rocky Linux hosts without a server: packages, SELinux, units, timers, journal, timeout, boot."""

from __future__ import annotations

import pytest

from lab.rc import boot
from tests.lab.cluster import Cluster

pytestmark = pytest.mark.lab

COUNT = """\
cat > /usr/local/bin/count <<'END'
#!/bin/bash
date +%s >> /root/runs
echo "<6>chatter"
echo "<5>run $(wc -l < /root/runs)"
END
chmod 755 /usr/local/bin/count
cat > /etc/systemd/system/count.service <<'END'
[Service]
Type=oneshot
ExecStart=/usr/local/bin/count
SyslogIdentifier=counter
LogLevelMax=notice
END
cat > /etc/systemd/system/count.timer <<'END'
[Timer]
OnBootSec=10
OnUnitActiveSec=10
AccuracySec=1
[Install]
WantedBy=timers.target
END
"""
SHOW = "systemctl show -p LoadState,ActiveState,UnitFileState,NeedDaemonReload -- "


def shown(lab: Cluster, unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lab.sh("r0", SHOW + unit).splitlines())


def test_packages_bring_their_programs(lab: Cluster) -> None:
    assert lab.attempt("r0", "mount.nfs4").rc == 127
    query = "rpm --queryformat '%{NAME} %{VERSION}-%{RELEASE}\\n' -qa"
    assert "stunnel" not in lab.sh("r0", query)
    lab.sh("r0", "dnf install -y stunnel nfs-utils")
    assert "\nstunnel 5.71-2.el9\n" in lab.sh("r0", query)
    assert lab.sh("r0", "command -v mount.nfs4; test -f /etc/idmapd.conf; test -d /etc/stunnel") == (
        "/usr/sbin/mount.nfs4\n"
    )


def test_sudo_looks_in_its_secure_path_only(lab: Cluster) -> None:
    lab.sh("r0", "printf '#!/bin/sh\\necho it\\n' > /usr/local/bin/ours; chmod 755 /usr/local/bin/ours")
    assert lab.sh("r0", "ours") == "it\n"
    ran = lab.attempt("r0", "sudo -n ours")
    assert (ran.rc, ran.err) == (1, "sudo: ours: command not found\n")
    assert lab.sh("r0", "sudo /usr/local/bin/ours; sudo sh -c 'echo $PATH'") == "it\n/sbin:/bin:/usr/sbin:/usr/bin\n"


def test_selinux_enforces_and_labels_a_port_once(lab: Cluster) -> None:
    assert lab.sh("r0", "getenforce") == "Enforcing\n"
    lab.sh("r0", "dnf install -y policycoreutils-python-utils")
    lab.sh("r0", "semanage port -a -t stunnel_port_t -p tcp 2323")
    assert "stunnel_port_t                 tcp      2323\n" in lab.sh("r0", "semanage port -l -n")
    ran = lab.attempt("r0", "semanage port -a -t stunnel_port_t -p tcp 2323")
    assert (ran.rc, ran.err) == (1, "ValueError: Port tcp/2323 already defined\n")


def test_units_are_what_their_files_say_when_systemd_read_them(lab: Cluster) -> None:
    assert shown(lab, "count.timer") == {
        "LoadState": "not-found",
        "ActiveState": "inactive",
        "UnitFileState": "",
        "NeedDaemonReload": "no",
    }
    lab.sh("r0", COUNT)
    assert shown(lab, "count.timer")["UnitFileState"] == "disabled"
    lab.sh("r0", "systemctl enable count.timer; systemctl start count.timer")
    assert shown(lab, "count.timer") == {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
    }
    lab.sh("r0", "sed -i s/=10/=20/ /etc/systemd/system/count.timer")
    assert shown(lab, "count.timer")["NeedDaemonReload"] == "yes"
    lab.sh("r0", "systemctl daemon-reload")
    assert shown(lab, "count.timer")["NeedDaemonReload"] == "no"


def test_mount_units_come_from_fstab_with_daemon_reload(lab: Cluster) -> None:
    unit = "data-nfs-k3s\\\\x2dvolumes.mount"
    lab.sh("r0", "echo '127.0.0.1:/a /data/nfs/k3s-volumes nfs4 _netdev,nofail 0 0' >> /etc/fstab")
    assert shown(lab, unit)["LoadState"] == "not-found"
    lab.sh("r0", "systemctl daemon-reload")
    assert shown(lab, unit)["LoadState"] == "loaded"
    lab.sh("r0", "echo '# x' >> /etc/fstab")
    assert shown(lab, unit)["NeedDaemonReload"] == "yes"


def test_a_timer_runs_its_service_on_the_virtual_clock_and_the_journal_has_it(lab: Cluster) -> None:
    lab.tick(60)
    lab.sh("r0", f"{COUNT}systemctl start count.timer")
    lab.tick(25)
    first, second, third = map(int, lab.sh("r0", "cat /root/runs").split())
    assert (second - first, third - second) == (10, 10)
    assert lab.sh("r0", "journalctl -t counter -o cat") == "run 1\nrun 2\nrun 3\n"  # what is below notice is not kept
    lab.sh("r0", "systemctl stop count.timer")
    lab.tick(30)
    assert lab.sh("r0", "wc -l < /root/runs") == "3\n"


def test_after_a_reboot_only_what_is_enabled_starts(lab: Cluster) -> None:
    lab.sh("r0", f"{COUNT}systemctl start count.timer; touch /run/left")
    lab.tick(5)
    boot.reboot(lab.store, "r0")
    assert shown(lab, "count.timer")["ActiveState"] == "inactive"
    assert lab.attempt("r0", "ls /run/left").rc != 0
    lab.sh("r0", "rm -f /root/runs; systemctl enable count.timer")
    boot.reboot(lab.store, "r0")
    booted = lab.hosts.host("r0").boot_time
    lab.tick(12)
    assert int(lab.sh("r0", "head -n 1 /root/runs")) == int(booted) + 10


def test_a_failed_service_is_in_the_journal(lab: Cluster) -> None:
    lab.sh("r0", f"{COUNT}printf '#!/bin/sh\\necho no >&2\\nexit 3\\n' > /usr/local/bin/count")
    ran = lab.attempt("r0", "systemctl start count.service")
    assert (ran.rc, ran.err.splitlines()[0]) == (
        1,
        "Job for count.service failed because the control process exited with error code.",
    )
    assert shown(lab, "count.service")["ActiveState"] == "failed"
    assert "status=3" in lab.sh("r0", "journalctl -u count -o cat")


def test_timeout_counts_virtual_seconds(lab: Cluster) -> None:
    start = lab.hosts.now
    ran = lab.attempt("r0", "timeout 5 sleep 3; echo $?; timeout 2 sh -c 'sleep 1; sleep 100'; echo $?")
    assert ran.out == "0\n124\n"
    assert lab.hosts.now == pytest.approx(start + 5)


def test_a_restart_of_stunnel_waits_for_its_port(site: Cluster) -> None:
    again = "systemctl restart stunnel && systemctl show -p ActiveState stunnel"
    lines = site.sh("r0", f"for i in 1 2 3 4 5 6 7 8; do {again}; done").splitlines()
    assert lines == ["ActiveState=active"] * 8
    assert site.attempt("r0", "systemctl stop stunnel; bash -c 'exec 3<>/dev/tcp/127.0.0.1/2323'").rc == 1


def test_stunnel_needs_a_key_beside_its_certificate(lab: Cluster) -> None:
    lab.sh("r0", "dnf install -y stunnel")
    assert lab.attempt("r0", "systemctl start stunnel").rc == 1
    conf = "client = yes\\n[n]\\naccept = 127.0.0.1:2323\\nconnect = 192.168.1.138:2323\\ncert = /etc/stunnel/c.pem\\n"
    lab.sh("r0", f"printf '{conf}' > /etc/stunnel/stunnel.conf; echo -----BEGIN CERTIFICATE----- > /etc/stunnel/c.pem")
    assert lab.attempt("r0", "systemctl start stunnel").rc == 1
    assert "no start line" in lab.sh("r0", "journalctl -u stunnel -o cat")
    lab.sh("r0", "echo -----BEGIN PRIVATE KEY----- >> /etc/stunnel/c.pem; systemctl enable stunnel")
    lab.sh("r0", "systemctl start stunnel")
    # a real port: a connection is accepted, and closed as nobody is at the other end
    assert lab.sh("r0", "bash -c 'exec 3<>/dev/tcp/127.0.0.1/2323; cat <&3'") == ""
    boot.reboot(lab.store, "r0")
    assert shown(lab, "stunnel")["ActiveState"] == "active"
    lab.sh("r0", "systemctl stop stunnel")
    assert lab.attempt("r0", "bash -c 'exec 3<>/dev/tcp/127.0.0.1/2323'").rc == 1
