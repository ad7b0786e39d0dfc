"""A site as people build it by hand from a how-to, with things of their own in it: its scripts, and what is theirs.

The traps of the how-to are in it: a stick without a label in fstab, data that inherits its key, a replica that was
mounted before it was read-only, a stunnel without a pid file, a hook in devd.conf, a client's monitor with a lock file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from f3s.settings import HostSettings, Site

FOLDER = Path(__file__).parent
CONFIGS = {"exports": "/etc/exports", "stunnel.conf": "/usr/local/etc/stunnel/stunnel.conf"}
ZREPL = "/usr/local/etc/zrepl/zrepl.yml"
COPIED_CA = "$(ls /etc/stunnel/ca-cert.pem.20*)"
PASSWORD = "by.hand.4711"
MINE = {
    "zrepl": f"sed -n -e '/# the system itself/,/# that is all/p' -e '/# my laptop/,/nothing goes/p' {ZREPL}",
    "exports": "grep -e media -e 192.168.1.0 -e scans /etc/exports; cat /tank/media/film",
    "stunnel": "sed -n '/web interface/,/^connect/p' /usr/local/etc/stunnel/stunnel.conf",
    # with his word it is in the copy, as the deploy's takes its place
    "devd": "ls /etc/devd.conf* | tail -n 1 | xargs sed -n '/tell the phone/,/^}/p'",
    "data": "cat /data/nfs/k3svolumes/old",
}
"""What the operator looks at on both storage hosts: it must be the same, to the byte, before and after."""

_JOBS = {True: "system backup drawer", False: "laptop photos"}


def alive(site: Site, host: HostSettings) -> dict[str, tuple[str, str]]:
    """What has to work on a storage host afterwards: what -> the host (by its short name) that tries it, and how."""
    me, client = host.short_name, site.clients[0].short_name
    jobs = f'for job in {_JOBS[host.is_primary]}; do zrepl status --mode raw | grep "\\"$job\\"" || exit 1; done'
    server = f"-connect {host.lan.address}:4443 -CAfile {COPIED_CA}"
    ups = f"openssl s_client {server} -tls1_2 -verify_return_error </dev/null"
    return {
        "jobs": (me, jobs),
        "export": (me, "showmount -e localhost | grep '^/tank/media'"),
        # by the certificate that the deploy's took the place of
        "tunnel": (client, f"{ups} | grep 'BEGIN CERTIFICATE'"),
    }


def mounted(site: Site, host: HostSettings) -> tuple[str, str]:
    """The export of a storage host, used by the other one. The lab knows no NFSv3."""
    other = site.standby if host.is_primary else site.primary
    source = f"{host.lan.address}:/tank/media"
    return other.short_name, f"mount -t nfs -o nfsv3,ro,soft,retrycnt=1 {source} /mnt && cat /mnt/film && umount /mnt"


Run = Callable[[str, str], str]
"""A shell line on a host (by its short name) as root, with what it prints; raises an error if it fails."""


def build(site: Site, run: Run, wait: Callable[[str, Callable[[], bool]], object]) -> None:
    """Makes the site on blank hosts.

    :param wait: until something is so, within some minutes
    """
    primary, standby = site.primary, site.standby
    keepers = [host for host in site.hosts if host.is_freebsd]
    values = {"STICK": primary.usb.device, "DISK": primary.pool.disk or "", "INTERFACE": primary.carp.interface}
    values |= {"VIP": primary.vip.address, "PASSWORD": PASSWORD, "PRIMARY": primary.name}
    values |= {"DOMAIN": primary.nfs.idmap_domain, "CLIENT": site.clients[0].short_name}

    def script(host: str, name: str, **more: str) -> str:
        given = "".join(f"{key}={shlex.quote(value)}; " for key, value in {**values, **more}.items())
        return run(host, f"set -e; {given}\n{(FOLDER / name).read_text()}")

    def put(host: str, path: str, text: str) -> None:
        run(host, f"mkdir -p {path.rpartition('/')[0]} && cat >{path} <<'END'\n{text}END\n")

    for host in keepers:
        own = {"HOSTS": " ".join(each.name for each in keepers) if host is primary else ""}
        script(host.short_name, "stick.sh", HOST=host.name, **own)
    names = run(primary.short_name, "cd /keys && ls *:*.key").split()
    for name in names:
        key = run(primary.short_name, f"openssl base64 -A -in /keys/{name}").strip()
        for host in keepers:
            if host is not primary:
                run(host.short_name, f"echo {key} | openssl base64 -d -A -out /keys/{name}")
    for host in keepers:
        run(host.short_name, "chown root:wheel /keys/*.key && chmod 400 /keys/*.key")
    script(primary.short_name, "machines.sh", HOST=primary.name)
    for host, role in ((standby, "standby"), (primary, "primary")):
        put(host.short_name, ZREPL, (FOLDER / f"f{'01'[role == 'standby']}.zrepl.yml").read_text())
        script(host.short_name, "storage.sh", HOST=host.name, ROLE=role)
    replica = site.replica(site.served_job)

    def arrived() -> bool:
        return "@" in run(standby.short_name, f"zfs list -H -o name -t snapshot {replica} 2>/dev/null || true")

    wait("the first replication has arrived", arrived)
    script(standby.short_name, "replica.sh")
    script(primary.short_name, "authority.sh")
    for name in ("server-cert.pem", "server-key.pem", "ca/ca-cert.pem", "ca/ca-key.pem"):
        path = f"/usr/local/etc/stunnel/{name}"
        put(standby.short_name, path, run(primary.short_name, f"cat {path}"))
    for host, skew in ((primary, ""), (standby, "advskew 100")):
        for name, path in CONFIGS.items():
            put(host.short_name, path, (FOLDER / name).read_text())
        role = "standby" if skew else "primary"
        script(host.short_name, "serving.sh", HOST=host.name, ROLE=role, SKEW=skew)


def client(site: Site, host: str, run: Run) -> None:
    """Makes a client of the site."""
    values = {"VIP": site.primary.vip.address}
    given = "".join(f"{key}={shlex.quote(value)}; " for key, value in values.items())
    run(host, f"set -e; {given}\n{(FOLDER / 'client.sh').read_text()}")
    of = site.clients[0].short_name
    for name, to in ((f"{of}-key.pem", "client-key.pem"), ("ca/ca-cert.pem", "ca-cert.pem")):
        text = run(site.primary.short_name, f"cat /usr/local/etc/stunnel/{name}")
        run(host, f"cat >/etc/stunnel/{to} <<'END'\n{text}END\n")


def minimal_inventory(inventory: str) -> str:
    """What an operator has before tasks/survey.py: the hosts' names, and how they are reached.

    :param inventory: file of the stage's inventory, of which nothing else is taken
    """
    return f"""import runpy as _runpy

_all = _runpy.run_path({inventory!r})


def _reached(member):
    return member[0], {{k: v for k, v in member[1].items() if k.startswith(("ssh_", "_", "pki_directory"))}}


freebsd = [_reached(member) for member in _all["freebsd"]]
clients = [_reached(member) for member in _all["clients"]]
"""


def uncommented(text: str) -> str:
    """group_data/all.py of the survey, with the operator's word for what is replaced."""
    return re.sub(r"^# ?(replace_files = .*)$", r"\1", text, flags=re.MULTILINE)
