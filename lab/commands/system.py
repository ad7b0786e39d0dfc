"""sysrc, sysctl, kldload, logger, crontab, pkg: what a deploy configures a FreeBSD host with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from lab import rootfs
from lab.commands import sysctls
from lab.commands.options import parse
from lab.core import CommandError, Context, Host, Store, part
from lab.net import model
from lab.rc import table

DEFAULTS = "/etc/defaults/rc.conf"
_ASSIGNMENT = re.compile(r'^([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s"\'#]*)')


def _value(name: str, files: list[str]) -> str | None:
    """A variable's value after sourcing the files; None if it is not set."""
    script = "for f; do [ -r $f ] && . $f; done; "
    if files == [DEFAULTS]:
        script = f". {DEFAULTS}; source_rc_confs; "
    script += f'[ -n "${{{name}+x}}" ] && printf "=%s" "${name}"; :'
    output = subprocess.run(["/bin/sh", "-c", script, "sh", *files], capture_output=True, text=True, check=True).stdout
    return output[1:] if output.startswith("=") else None


def _assign(file: str, name: str, value: str | None) -> None:
    """Changes the variable's last line in the file, adds one, or (None) takes all of them out."""
    lines = Path(file).read_text().splitlines() if os.path.exists(file) else []
    mine = [i for i, line in enumerate(lines) if (m := _ASSIGNMENT.match(line)) and m.group(1) == name]
    if value is None:
        lines = [line for i, line in enumerate(lines) if i not in mine]
    else:
        quoted = re.sub(r'([\\"$`])', r"\\\1", value)
        text = f'{name}="{quoted}"'
        if mine:
            lines[mine[-1]] = text
        else:
            lines.append(text)
    fresh = f"{file}.{os.getpid()}"
    with open(fresh, "w") as out:
        out.write("".join(f"{line}\n" for line in lines))
    if os.path.exists(file):
        os.chmod(fresh, os.stat(file).st_mode & 0o7777)
    os.rename(fresh, file)


def sysrc(ctx: Context) -> int:
    """sysrc(8) with -f FILE -i -n -q -x and NAME, NAME=VALUE, NAME+=VALUE, NAME-=VALUE."""
    options, names = parse(ctx, "f:inqx")
    if not names:
        raise ctx.not_simulated()
    files = [options["f"]] if "f" in options else [DEFAULTS]
    target = options.get("f", "/etc/rc.conf")
    rc = 0
    for word in names:
        match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)(?:([+-]?)=(.*))?", word, re.DOTALL)
        if match is None:
            raise CommandError(f"sysrc: {word}: name contains characters not allowed in shell")
        name, operator, value = match.group(1), match.group(2), match.group(3)
        old = _value(name, files)
        if "x" in options:
            if old is None and "i" not in options:
                raise CommandError(f"sysrc: unknown variable '{name}'")
            _assign(target, name, None)
        elif value is None:
            if old is None:
                rc = 1
                if "i" not in options:
                    ctx.err(f"sysrc: unknown variable '{name}'\n")
            else:
                ctx.out(f"{old}\n" if "n" in options else f"{name}: {old}\n")
        else:
            if operator:
                words = (old or "").split()
                words = [w for w in words if w != value] + ([value] if operator == "+" else [])
                value = " ".join(words)
            _assign(target, name, value)
            new = _value(name, files) or ""
            ctx.out(f"{new}\n" if "n" in options else f"{name}: {old or ''} -> {new}\n")
    return rc


def sysctl(ctx: Context) -> int:
    """sysctl(8) with -n -i -q: names, subtrees and NAME=VALUE. The status is the number of those that failed."""
    options, names = parse(ctx, "inq")
    if not names:
        raise ctx.not_simulated()
    rc = 0
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        for word in names:
            name, sign, value = word.partition("=")
            found = sysctls.find(ctx, host, name)
            if not found:
                if "i" not in options:
                    ctx.err(f"sysctl: unknown oid '{name}'\n")
                    rc += 1
                continue
            if not sign:
                for oid, current in found.items():
                    ctx.out(f"{current}\n" if "n" in options else f"{oid}: {current}\n")
                continue
            old = found[name] if list(found) == [name] else None
            if old is not None and name == "net.inet.carp.demotion":  # what is written is added (carp(4))
                model.demote(ctx.store, cluster, host, int(value), "sysctl")
                value = sysctls.find(ctx, host, name)[name]
            elif old is None or not sysctls.change(host, name, value):
                ctx.err(f"sysctl: oid '{name}' is read only\n")
                rc += 1
                continue
            if "q" not in options:
                ctx.out(f"{value}\n" if "n" in options else f"{name}: {old} -> {value}\n")
        model.settle(ctx.store, cluster)  # preempt may be another
    return rc


def kldload(ctx: Context) -> int:
    """kldload(8) with -n."""
    options, names = parse(ctx, "n")
    if not names:
        raise ctx.not_simulated()
    rc = 0
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        modules = part(host, "modules", sysctls.boot_modules)
        for word in names:
            name = word.removesuffix(".ko")
            if name not in sysctls.MODULES:
                ctx.err(f"kldload: can't load {word}: No such file or directory\n")
                rc = 1
            elif name in modules:
                if "n" not in options:
                    ctx.err(f"kldload: can't load {word}: module already loaded or in kernel\n")
                    rc = 1
            else:
                modules.append(name)
    return rc


def logger(ctx: Context) -> int:
    """logger(1) with -t TAG -p PRIORITY: a line in /var/log/messages, at the virtual time."""
    options, words = parse(ctx, "t:p:")
    text = " ".join(words) if words else sys.stdin.read().rstrip("\n")
    cluster = ctx.store.read()
    for line in text.splitlines():
        ctx.store.syslog(cluster, ctx.host(cluster), options.get("t", "root"), line)
    return 0


def crontab(ctx: Context) -> int:
    """crontab(1): -l, -u USER, a file or ``-``."""
    options, names = parse(ctx, "lu:")
    user = options.get("u", "root")
    file = f"/var/cron/tabs/{user}"
    if "l" in options:
        if not os.path.exists(file):
            raise CommandError(f"crontab: no crontab for {user}")
        ctx.out(Path(file).read_text())
        return 0
    if len(names) != 1:
        raise ctx.not_simulated()
    text = sys.stdin.read() if names[0] == "-" else Path(names[0]).read_text()
    if text and not text.endswith("\n"):
        raise CommandError("crontab: new crontab file is missing newline before EOF, can't install")
    with open(file, "w") as tab:
        tab.write(text)
    os.chmod(file, 0o600)
    return 0


VERSIONS = {"stunnel": "5.75,1", "zrepl": "0.6.1_9", "vm-bhyve": "1.5.0", "doas": "6.3p9_1"}


def pkg(ctx: Context) -> int:
    """pkg(8): -N, info -e NAME, query of all names and versions, install -y NAME..."""
    match ctx.args:
        case ["-N"]:
            return 0
        case ["info", "-e", name]:
            return 0 if name in ctx.host(ctx.store.read()).packages else 1
        case ["query", "%n %v"]:
            ctx.out("".join(f"{name} {VERSIONS[name]}\n" for name in sorted(ctx.host(ctx.store.read()).packages)))
            return 0
        case ["install", "-y", *names]:
            for name in names:
                install_package(ctx, name)
            return 0
    raise ctx.not_simulated()


def put_package(store: Store, host: Host, name: str) -> None:
    """A package's programs, services and folders on a host."""
    host.packages.add(name)
    root = store.root(host.name)
    rootfs.install_played(root, rootfs.PACKAGES.get(("freebsd", name), {}))
    for service in table.PACKAGED.get(name, []):
        rootfs.write(root, service.path, f"#!/.lab/bin/play\n{service.header}", 0o755)
    for folder in rootfs.PACKAGE_FOLDERS.get(name, ()):
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)


def install_package(ctx: Context, name: str) -> None:
    """Puts a package's programs and rc.d scripts on the host."""
    if name not in VERSIONS:
        raise ctx.not_simulated()
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        if name not in host.packages:
            put_package(ctx.store, host, name)
