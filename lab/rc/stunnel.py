"""stunnel's service: reads its configuration, binds its ports, and has a pid file only if it was told where.

What it says is as recorded (section nfs), of its errors alone: on the terminal when it does not start, else to syslog.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lab import owners
from lab.core import Cluster, Context, Host, part
from lab.linux import tls
from lab.net import model
from lab.rc.scripts import new_pids, pid_files, processes

CONFIG = Path("/usr/local/etc/stunnel/stunnel.conf")


def services(text: str) -> dict[str, dict[str, str]]:
    """The sections by name with their options, the last value of each; what is before the first is for all of them."""
    common, *rest = re.split(r"^\[(.*)\]", text, flags=re.MULTILINE)
    sections = dict(zip(rest[::2], rest[1::2], strict=True)) or {"stunnel": ""}
    return {name: _options(common) | _options(body) for name, body in sections.items()}


def _options(text: str) -> dict[str, str]:
    return dict(re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))


def start(ctx: Context) -> bool:
    """stunnel starts if its files are there and its ports are free."""
    if not CONFIG.exists():
        ctx.err(f"[!] Cannot open configuration file: {CONFIG}\n")
        return False
    sections = services(CONFIG.read_text())
    for options in sections.values():
        for option in ("cert", "key", "CAfile", "CRLfile"):
            if option in options and not Path(options[option]).is_file():
                ctx.err(f"[!] {option}: {options[option]}: No such file or directory\n")
                return False
        pem = Path(options.get("cert", "/nonexistent"))
        if not pem.is_file() or "BEGIN CERTIFICATE" not in pem.read_text():
            ctx.err("[!] error:0480006C:PEM routines::no start line\n")
            return False
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        for name, options in sections.items():
            if problem := _cannot_bind(host, name, options["accept"]):
                _unbind(host)
                ctx.err(f"[.] Binding service [{name}] to {problem}\n[!] Binding service [{name}] failed\n")
                return False
        if not _pid_file(ctx, cluster, host, options):
            _unbind(host)
            return False
        host.parts["tls"] = _loaded(sections)
    return True


def _loaded(sections: dict[str, dict[str, str]]) -> list[tls.Loaded]:
    return [tls.load(options, name) for name, options in sections.items()]


def _cannot_bind(host: Host, name: str, accept: str) -> str:
    """Binds a section's port: the address with the reason why that cannot be; empty if it is done."""
    address, _, port = accept.rpartition(":")
    own = [entry[0] for interface in model.interfaces(host).values() for entry in interface.addresses]
    if address and address not in own:
        return f"{accept}: Can't assign requested address (49)"
    bound = part(host, "sockets", dict[str, tuple[str, int]])
    if any(number == int(port) and (not address or other in ("", address)) for other, number in bound.values()):
        return f"{accept}: Address already in use (48)"
    bound[f"stunnel {name}"] = (address, int(port))
    return ""


def _unbind(host: Host) -> None:
    bound = part(host, "sockets", dict[str, tuple[str, int]])
    for name in [name for name in bound if name.startswith("stunnel ")]:
        del bound[name]


def _pid_file(ctx: Context, cluster: Cluster, host: Host, options: dict[str, str]) -> bool:
    """Whether stunnel can write its pid file, if one is configured: its user has to."""
    pid = pid_files(host)["stunnel"] = options.get("pid", "")
    if not pid:
        return True
    folder = os.path.dirname(pid)
    user = owners.owner(folder)[0] if os.path.isdir(folder) else ""
    if options.get("setuid", user) != user:
        who = f"stunnel[{new_pids(host, 1)[0]}]"  # the process that forks the daemon
        ctx.store.syslog(cluster, host, who, f"LOG3[main]: Cannot create pid file {pid}")
        return False
    return True


def reload(ctx: Context) -> None:
    """SIGHUP: the files are read again, and the ports bound anew; connections go on.

    It tells syslog as it was seen with 5.68 under Linux; the id is no longer `ui` once it is a daemon (src/ui_unix.c).
    """
    sections = services(CONFIG.read_text())
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        who = f"stunnel[{processes(host)['stunnel'][0]}]"
        ctx.store.syslog(cluster, host, who, "LOG5[main]: Configuration successful")
        _unbind(host)
        if any(_cannot_bind(host, name, options["accept"]) for name, options in sections.items()):
            raise ctx.not_simulated("a reload of a stunnel that cannot bind its ports")
        host.parts["tls"] = _loaded(sections)


def stop(ctx: Context) -> bool:
    """stunnel ends: the ports are free again, the pid file is gone."""
    with ctx.cluster() as cluster:
        _unbind(ctx.host(cluster))
    for options in services(CONFIG.read_text()).values() if CONFIG.exists() else ():
        if options.get("pid"):
            Path(options["pid"]).unlink(missing_ok=True)
    return True
