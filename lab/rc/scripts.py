"""A played rc.d script: verbs, switches and wording of rc.subr(8), processes in the host's process table."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from lab.core import INSIDE, Context, Host, part
from lab.linux import waiting
from lab.rc import table

FIRST_PID = 600


def processes(host: Host) -> dict[str, list[int]]:
    """Process ids of the running daemons by program name."""
    return part(host, "processes", dict[str, list[int]])


def stopped(host: Host) -> dict[str, str]:
    """The daemons that have got SIGSTOP, with the signal that waits until they go on."""
    return part(host, "stopped", dict[str, str])


def is_stopped(host: Host, name: str) -> bool:
    return name in stopped(host)


def new_pids(host: Host, count: int) -> list[int]:
    """Process ids that no running program has."""
    last = part(host, "last pid", lambda: [FIRST_PID])
    last[0] += count
    return list(range(last[0] - count + 1, last[0] + 1))


def pid_files(host: Host) -> dict[str, str]:
    """Where daemons write their process ids that were told so by their configuration, by program name."""
    return part(host, "pid files", dict[str, str])


def last_pid(host: Host) -> int:
    """The process id that was given to a program last."""
    return part(host, "last pid", lambda: [FIRST_PID])[0]


def rc_conf(names: list[str]) -> dict[str, str]:
    """Values of rc.conf variables on the host this runs on; unset ones are empty."""
    script = ". /etc/defaults/rc.conf; source_rc_confs; " + "".join(f'printf "%s\\0" "${{{n}-}}";' for n in names)
    output = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, output.split("\0"), strict=False))


def keep_output() -> None:
    """A daemon stays behind with the output of whoever started it, as daemon(8) without -f leaves it; the connector
    looks whether that was its own."""
    with open(INSIDE / "kept-output", "a") as kept:
        kept.writelines(f"{os.fstat(stream).st_ino}\n" for stream in (1, 2))


def is_yes(value: str) -> bool:
    """rc.subr's checkyesno."""
    return value.lower() in ("yes", "true", "on", "1")


def main(ctx: Context) -> int:
    """One verb of one script."""
    service = table.find(ctx.argv[0])
    if (more := Path("/etc/rc.conf.d", service.name)).is_file():  # rc.subr, load_rc_config
        subprocess.run(["/bin/sh", more], check=True)
    match = re.fullmatch(r"(one|force|fast|quiet)?(start|stop|restart|status|reload)", " ".join(ctx.args))
    if match is None or (match[2] == "reload" and not service.reload):
        raise ctx.not_simulated()
    forced, quiet, verb = match[1] in ("one", "force"), match[1] in ("fast", "quiet"), match[2]
    on = is_yes(rc_conf([service.rcvar])[service.rcvar])
    pids = processes(ctx.host(ctx.store.read())).get(service.name, [])
    if not forced and not on and not pids:
        if not quiet:
            word = f"Cannot '{verb}' {service.name}. Set {service.rcvar} to YES in /etc/rc.conf or use "
            ctx.out(f"{word}'one{verb}' instead of '{verb}'.\n")
        return 0
    if verb == "restart":
        if pids:
            stop(ctx, service)
        return start(ctx, service)
    if verb == "reload":
        return _reload(ctx, service, pids)
    if verb == "status":
        return _status(ctx, service, pids)
    return start(ctx, service) if verb == "start" else stop(ctx, service)


def _status(ctx: Context, service: table.Service, pids: list[int]) -> int:
    if pids and pid_file_says(service, pids):
        ctx.out(f"{service.name} is running as pid {' '.join(map(str, pids))}.\n")
        return 0
    ctx.out(f"{service.name} is not running.\n")
    return 1


def _reload(ctx: Context, service: table.Service, pids: list[int]) -> int:
    if not pids:
        ctx.err(f"{service.name} not running? (check {service.pid_file}).\n")
        return 1
    hangup = table.ACTIONS[service.name].hangup
    assert hangup is not None, service
    hangup(ctx)
    return 0


def pid_file_says(service: table.Service, pids: list[int]) -> bool:
    """Whether rc.subr would find the running daemon: stunnel is looked up by its pid file, the others by name."""
    if service.name != "stunnel":
        return True
    file = Path(_stunnel_pid_file())
    return file.exists() and int(file.read_text()) in pids


def _stunnel_pid_file() -> str:
    return rc_conf(["stunnel_pidfile"])["stunnel_pidfile"] or "/var/run/stunnel.pid"


def start(ctx: Context, service: table.Service) -> int:
    """Starts a service and what it needs."""
    pids = processes(ctx.host(ctx.store.read())).get(service.name, [])
    if pids and pid_file_says(service, pids):
        ctx.err(f"{service.name} already running?  (pid={' '.join(map(str, pids))}).\n")
        return 1
    for needed in service.needs:
        if not processes(ctx.host(ctx.store.read())).get(needed):
            start(ctx, next(each for each in table.BASE if each.name == needed))
    ctx.out(f"Starting {service.name}.\n")
    actions = table.ACTIONS[service.name]
    if actions.start and not actions.start(ctx):
        warning = f"{service.path}: WARNING: failed to start {service.name}"
        ctx.err(f"{warning}\n")
        with ctx.cluster() as cluster:
            host = ctx.host(cluster)
            # rc.subr's warn calls logger(1), whose tag is the user's name (seen in the section nfs)
            ctx.store.syslog(cluster, host, f"root[{new_pids(host, 1)[0]}]", warning)
        return 1
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        pids = processes(host)[service.name] = new_pids(host, service.processes)
        if service.name == "rpcbind":
            host.parts["rpcbind flags"] = rc_conf(["rpcbind_flags"])["rpcbind_flags"].split()
        if actions.started:
            actions.started(ctx.store, cluster, host)
        pid_file = service.pid_file or pid_files(host).get(service.name)
    if pid_file:
        Path(pid_file).write_text(f"{pids[0]}\n")
    return 0


def stop(ctx: Context, service: table.Service) -> int:
    """Stops a daemon; one that is not running is an error, as with rc.subr."""
    pids = processes(ctx.host(ctx.store.read())).get(service.name, [])
    if not pids or not pid_file_says(service, pids):
        hint = f" (check {_stunnel_pid_file()})." if service.name == "stunnel" else ""
        ctx.err(f"{service.name} not running?{hint}\n")
        return 1
    ctx.out(f"Stopping {service.name}.\nWaiting for PIDS: {pids[-1]}")
    if is_stopped(ctx.host(ctx.store.read()), service.name):
        with ctx.cluster() as cluster:
            stopped(ctx.host(cluster))[service.name] = "TERM"  # nfsd's is USR1: it ends it as well
        ctx.stdout.flush()

        def over() -> bool:
            return not processes(ctx.host(ctx.store.read())).get(service.name)

        waiting.wait(ctx, None, over, f"{service.path} stop")
        ctx.out(".\n")
        return 0
    ctx.out(".\n")
    if end := table.ACTIONS[service.name].stop:
        end(ctx)
    with ctx.cluster() as cluster:
        del processes(ctx.host(cluster))[service.name]
    if service.pid_file:
        Path(service.pid_file).unlink(missing_ok=True)
    return 0
