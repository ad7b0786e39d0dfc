"""stunnel's service: reads its configuration, binds its port, and has a pid file only if it was told where."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from lab import owners
from lab.core import Context, part
from lab.linux import tls
from lab.net import model

CONFIG = Path("/usr/local/etc/stunnel/stunnel.conf")


def settings(text: str) -> dict[str, str]:
    """The options of all sections, the last value of each."""
    return dict(re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))


def start(ctx: Context) -> bool:
    """stunnel starts if its files are there and its port is free."""
    if not CONFIG.exists():
        ctx.err(f"[!] Cannot open configuration file: {CONFIG}\n")
        return False
    options = settings(CONFIG.read_text())
    for option in ("cert", "key", "CAfile", "CRLfile"):
        if option in options and not Path(options[option]).is_file():
            ctx.err(f"[!] {option}: {options[option]}: No such file or directory\n")
            return False
    pem = Path(options.get("cert", "/nonexistent"))
    if not pem.is_file() or "BEGIN CERTIFICATE" not in pem.read_text():
        ctx.err("[!] error:0480006C:PEM routines::no start line\n")
        return False
    address, _, port = options.get("accept", "").rpartition(":")
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        own = [entry[0] for interface in model.interfaces(host).values() for entry in interface.addresses]
        if address and address not in own:
            ctx.err(f"[!] bind: Can't assign requested address (49): {address}:{port}\n")
            return False
        if part(host, "sockets", dict[str, tuple[str, int]]).get("stunnel"):
            ctx.err("[!] bind: Address already in use (48)\n")
            return False
        pid = options.get("pid", "")
        if pid:
            folder = os.path.dirname(pid)
            user = owners.owner(folder)[0] if os.path.isdir(folder) else ""
            if options.get("setuid", user) != user:
                # by then it has left the terminal: it tells syslog alone
                subprocess.run(["logger", "-t", "stunnel", f"LOG3[main]: Cannot create pid file {pid}"], check=True)
                return False
            Path(pid).write_text("0\n")
        part(host, "sockets", dict[str, tuple[str, int]])["stunnel"] = (address, int(port))
        host.parts["tls"] = tls.load(options)
    return True


def reload(ctx: Context) -> None:
    """SIGHUP: the files are read again; connections go on."""
    with ctx.cluster() as cluster:
        ctx.host(cluster).parts["tls"] = tls.load(settings(CONFIG.read_text()))


def stop(ctx: Context) -> bool:
    """stunnel ends: the port is free again, the pid file is gone."""
    options = settings(CONFIG.read_text()) if CONFIG.exists() else {}
    with ctx.cluster() as cluster:
        part(ctx.host(cluster), "sockets", dict[str, tuple[str, int]]).pop("stunnel", None)
    if options.get("pid"):
        Path(options["pid"]).unlink(missing_ok=True)
    return True
