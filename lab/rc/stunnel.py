"""stunnel's service: reads its configuration, binds its port, and has a pid file only if it was told where.

What it says is as recorded (section nfs) without the lines of its debug level: on the terminal when it does not start,
else to syslog.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lab import owners, syslog
from lab.core import Cluster, Context, Host, part
from lab.linux import tls
from lab.net import model
from lab.rc.scripts import new_pids, pid_files

CONFIG = Path("/usr/local/etc/stunnel/stunnel.conf")
HELLO = (
    "stunnel 5.75 on x86_64-unknown-freebsd13.2 platform",
    "Compiled/running with OpenSSL 1.1.1t-freebsd  7 Feb 2023",
    "Threading:PTHREAD Sockets:POLL,IPv6 TLS:ENGINE,OCSP,PSK,SNI",
    f"Reading configuration from file {CONFIG}",
    "UTF-8 byte order mark not detected",
)
GOOD = "Configuration successful"


def settings(text: str) -> dict[str, str]:
    """The options of all sections, the last value of each."""
    return dict(re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))


def service_name(text: str) -> str:
    """The name of the last section."""
    names: list[str] = re.findall(r"^\[(.*)\]", text, re.MULTILINE)
    return names[-1] if names else "stunnel"


def start(ctx: Context) -> bool:
    """stunnel starts if its files are there and its port is free."""
    hello = "".join(f"[.] {line}\n" for line in HELLO)
    if not CONFIG.exists():
        ctx.err(f"[!] Cannot open configuration file: {CONFIG}\n")
        return False
    text = CONFIG.read_text()
    options = settings(text)
    for option in ("cert", "key", "CAfile", "CRLfile"):
        if option in options and not Path(options[option]).is_file():
            ctx.err(f"{hello}[!] {option}: {options[option]}: No such file or directory\n")
            return False
    pem = Path(options.get("cert", "/nonexistent"))
    if not pem.is_file() or "BEGIN CERTIFICATE" not in pem.read_text():
        ctx.err(f"{hello}[!] error:0480006C:PEM routines::no start line\n")
        return False
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        if problem := _cannot_bind(host, options):
            name = service_name(text)
            ctx.err(f"{hello}[.] {GOOD}\n[.] Binding service [{name}] to {problem}\n")
            ctx.err(f"[!] Binding service [{name}] failed\n")
            return False
        # it has left the terminal by now; the process that says so is the one that forks the daemon
        who = f"stunnel[{new_pids(host, 1)[0]}]"
        for line in (*HELLO, GOOD):
            syslog.write(ctx.store, cluster, host, who, f"LOG5[ui]: {line}")
        if not _pid_file(ctx, cluster, host, options, who):
            return False
        address, _, port = options["accept"].rpartition(":")
        part(host, "sockets", dict[str, tuple[str, int]])["stunnel"] = (address, int(port))
        host.parts["tls"] = tls.load(options, service_name(text))
    return True


def _cannot_bind(host: Host, options: dict[str, str]) -> str:
    """The address with the reason why it cannot be bound; empty if it can."""
    accept = options.get("accept", "")
    address = accept.rpartition(":")[0]
    own = [entry[0] for interface in model.interfaces(host).values() for entry in interface.addresses]
    if address and address not in own:
        return f"{accept}: Can't assign requested address (49)"
    if part(host, "sockets", dict[str, tuple[str, int]]).get("stunnel"):
        return f"{accept}: Address already in use (48)"
    return ""


def _pid_file(ctx: Context, cluster: Cluster, host: Host, options: dict[str, str], who: str) -> bool:
    """Whether stunnel can write its pid file, if one is configured: its user has to."""
    pid = pid_files(host)["stunnel"] = options.get("pid", "")
    if not pid:
        return True
    folder = os.path.dirname(pid)
    user = owners.owner(folder)[0] if os.path.isdir(folder) else ""
    if options.get("setuid", user) != user:
        syslog.write(ctx.store, cluster, host, who, f"LOG3[main]: Cannot create pid file {pid}")
        return False
    return True


def reload(ctx: Context) -> None:
    """SIGHUP: the files are read again; connections go on."""
    text = CONFIG.read_text()
    with ctx.cluster() as cluster:
        ctx.host(cluster).parts["tls"] = tls.load(settings(text), service_name(text))


def stop(ctx: Context) -> bool:
    """stunnel ends: the port is free again, the pid file is gone."""
    options = settings(CONFIG.read_text()) if CONFIG.exists() else {}
    with ctx.cluster() as cluster:
        part(ctx.host(cluster), "sockets", dict[str, tuple[str, int]]).pop("stunnel", None)
    if options.get("pid"):
        Path(options["pid"]).unlink(missing_ok=True)
    return True
