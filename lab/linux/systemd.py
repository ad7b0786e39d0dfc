"""What systemd does: starts and stops units, runs oneshot services for real, and their timers on the virtual clock."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import time
from pathlib import Path

from lab import clock
from lab.core import Cluster, CommandError, Context, Event, Host, NotSimulatedError, Store
from lab.linux import journal, nfs, tunnel, units
from lab.rc.scripts import processes

QUIET_SECONDS = 60.0
"""A timer's service that changed nothing in the present state of the host is run at least this often (see `_idle`)."""
SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


def start(ctx: Context, unit: str) -> bool:
    """Starts a unit; False: it failed, and the journal says why.

    :raises CommandError: there is no such unit
    """
    root = ctx.store.root(ctx.host_name)
    host = ctx.host(ctx.store.read())
    sections = units.definition(root, host, unit)
    if unit in units.TARGETS:
        return True
    if unit in units.manager(host).generated:
        raise ctx.not_simulated(f"start {unit}: mount it with mount(8)")
    if sections is None:
        raise CommandError(f"Failed to start {unit}: Unit {unit} not found.", 5)
    if unit in units.manager(host).active:
        return True
    if unit == "stunnel.service":
        return _start_tunnel(ctx, root, unit)
    if unit.endswith(".timer"):
        with ctx.cluster() as cluster:
            activate(root, ctx.host(cluster), unit)
            _arm(cluster, ctx.host(cluster), root, unit)
        return True
    if units.last(sections, "Service", "Type") == "oneshot":
        run_oneshot(ctx.store, ctx.host_name, unit)
        with ctx.cluster() as cluster:
            host = ctx.host(cluster)
            good = unit not in units.manager(host).failed
            if good and units.last(sections, "Service", "RemainAfterExit") == "yes":
                activate(root, host, unit)
        return good
    raise ctx.not_simulated(f"start {unit}: only stunnel, oneshot services and timers are played")


def _start_tunnel(ctx: Context, root: Path, unit: str) -> bool:
    problem = ""
    try:
        tunnel.start(ctx)
    except CommandError as error:
        problem = error.message
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        if problem:
            units.manager(host).failed.add(unit)
        else:
            activate(root, host, unit)
    if problem:
        journal.write(ctx.store, ctx.host_name, "stunnel", 3, problem, unit)
    return not problem


def activate(root: Path, host: Host, unit: str) -> None:
    """A unit is active from now on."""
    state = units.manager(host)
    state.active[unit] = time.time()
    state.failed.discard(unit)
    units.remember(root, host, unit)
    if unit.endswith(".timer"):
        units.remember(root, host, _service_of(root, host, unit))


def stop(ctx: Context, unit: str) -> None:
    """Stops a unit; one that does not run is stopped already.

    :raises CommandError: there is no such unit
    """
    root = ctx.store.root(ctx.host_name)
    if units.definition(root, ctx.host(ctx.store.read()), unit) is None:
        raise CommandError(f"Failed to stop {unit}: Unit {unit} not loaded.", 5)
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        units.manager(host).active.pop(unit, None)
        units.manager(host).failed.discard(unit)
        if unit == "stunnel.service":
            tunnel.stop(host)
        if unit.endswith(".timer"):
            clock.cancel(
                cluster, lambda e: (e.kind, e.host, e.payload.get("unit")) != ("systemd timer", host.name, unit)
            )
        units.forget_unused(root, host)


def _service_of(root: Path, host: Host, timer: str) -> str:
    sections = units.definition(root, host, timer) or {}
    return units.last(sections, "Timer", "Unit", timer.removesuffix(".timer") + ".service")


_TIMER_KEYS = {"OnBootSec", "OnUnitActiveSec", "AccuracySec", "Unit"}


def _arm(cluster: Cluster, host: Host, root: Path, timer: str) -> None:
    """Awaits a timer's next time: the first of its settings (systemd.timer(5), "OnBootSec=")."""
    settings = (units.definition(root, host, timer) or {}).get("Timer", {})
    if unknown := settings.keys() - _TIMER_KEYS:
        raise NotSimulatedError(f"systemd: {', '.join(sorted(unknown))} in {timer}")
    ran = units.manager(host).triggered.get(timer)
    if ran is not None:
        bases = [ran + units.seconds(span) for span in settings.get("OnUnitActiveSec", [])]
    else:
        # a time since the boot that has passed already when the timer starts is due at once
        bases = [host.boot_time + units.seconds(span) for span in settings.get("OnBootSec", [])]
    if bases:
        after = max(0.0, min(bases) - cluster.now)
        clock.schedule(cluster, after, "systemd timer", host.name, lane=f"{host.name} {timer}", unit=timer)


def timer(store: Store, event: Event) -> None:
    """A timer is due: its service runs, then the next time is awaited."""
    name, root = event.payload["unit"], store.root(event.host)
    with store.edit() as cluster:
        host = cluster.hosts[event.host]
        if not host.up or name not in units.manager(host).active:
            return
        units.manager(host).triggered[name] = cluster.now
        service = _service_of(root, host, name)
        booted = host.boot_time
        nfs.refresh(store, cluster, host)
        before = _inputs(root, cluster, host, service)
        idle = _idle(cluster, host, service, before)
    if not idle:
        printed = _journal_size(root)
        quiet = run_oneshot(store, event.host, service) == 0 and printed == _journal_size(root)
    with store.edit() as cluster:
        host = cluster.hosts[event.host]
        if not host.up or host.boot_time != booted or name not in units.manager(host).active:
            return
        if not idle:
            nfs.refresh(store, cluster, host)
            same = quiet and before == _inputs(root, cluster, host, service)
            host.parts.setdefault("idle", {})[service] = (before, cluster.now) if same else None
        _arm(cluster, host, root, name)


def _journal_size(root: Path) -> int:
    file = root / ".lab/journal"
    return file.stat().st_size if file.exists() else 0


def _inputs(root: Path, cluster: Cluster, host: Host, service: str) -> str:
    """What a run of a timer's service can depend on: mounts and how they answer, daemons, settings and programs."""
    words = [service]
    words += [repr((m.device, m.target, m.options, m.read_only)) for m in host.mounts]
    words += [repr((m.server, m.fsid, m.condition)) for m in nfs.mounts(host)]
    words += [repr(sorted(processes(host).items())), repr(units.manager(host).failed)]
    for pattern in ("etc/f3s/*", "etc/fstab", "etc/systemd/system/*", "usr/local/bin/*", "run/*/state.json"):
        for file in sorted(root.glob(pattern)):
            status = file.stat()
            # a service's own record changes with every run; that it is there is what counts
            changed = 0 if pattern.startswith("run/") else status.st_mtime_ns
            words.append(f"{file} {status.st_mode} {changed}")
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _idle(cluster: Cluster, host: Host, service: str, inputs: str) -> bool:
    """Whether a run may be left out.

    Three hosts that check their mounts every 10 s would make an hour of virtual time take half an hour of ours. A run
    that found nothing wrong (status 0), wrote nothing to the journal and left the host as it found it would do the
    same again: it is left out, but not for longer than `QUIET_SECONDS`: the time of the last check that it records may
    be that much too old.
    """
    known: tuple[str, float] | None = host.parts.get("idle", {}).get(service)
    return known is not None and known[0] == inputs and cluster.now - known[1] < QUIET_SECONDS


def run_oneshot(store: Store, host_name: str, unit: str) -> int:
    """Runs the ExecStart of a oneshot service on its host; its output goes to the journal. Returns its exit status."""
    root = store.root(host_name)
    sections = units.definition(root, store.read().hosts[host_name], unit)
    if sections is None:
        journal.write(store, host_name, "systemd", 3, f"Failed to start {unit}: not found", unit)
        return 1
    service = sections.get("Service", {})
    unknown = service.keys() - {
        "Type", "ExecStart", "SuccessExitStatus", "TimeoutStartSec", "KillMode", "RuntimeDirectory",
        "RuntimeDirectoryPreserve", "RemainAfterExit", "ExecReload",
        "SyslogIdentifier", "LogLevelMax", "SyslogLevel",
    }  # fmt: skip
    if unknown or units.last(sections, "Service", "Type") != "oneshot" or len(service.get("ExecStart", [])) != 1:
        raise NotSimulatedError(f"systemd: {unit}: {', '.join(sorted(unknown)) or 'not one oneshot ExecStart'}")
    command = service["ExecStart"][0]
    if re.match(r"[-@:+!]", command) or re.search(r"%[a-zA-Z]|\$", command):
        raise NotSimulatedError(f"systemd: ExecStart={command}")
    environment = [f"PATH={SERVICE_PATH}", "LANG=C.UTF-8", "JOURNAL_STREAM=8:1"]
    folder = units.last(sections, "Service", "RuntimeDirectory")
    if folder:
        (root / "run" / folder).mkdir(mode=0o755, exist_ok=True)
        environment.append(f"RUNTIME_DIRECTORY=/run/{folder}")
    line = ["/usr/bin/env", "-i", *environment, "/bin/sh", "-c", 'cd /; exec 2>&1 </dev/null; exec "$@"', "sh"]
    done = clock.run(store, host_name, [*line, *shlex.split(command)])
    if folder and units.last(sections, "Service", "RuntimeDirectoryPreserve", "no") != "yes":
        shutil.rmtree(root / "run" / folder)
    _log_output(store, host_name, unit, sections, shlex.split(command)[0], done.stdout.decode(errors="replace"))
    good = done.returncode in (0, *map(int, units.last(sections, "Service", "SuccessExitStatus").split()))
    if not good:
        text = f"{unit}: Main process exited, code=exited, status={done.returncode}/n/a"
        journal.write(store, host_name, "systemd", 5, text, unit)
        journal.write(store, host_name, "systemd", 4, f"{unit}: Failed with result 'exit-code'.", unit)
    with store.edit() as cluster:
        failed = units.manager(cluster.hosts[host_name]).failed
        (failed.discard if good else failed.add)(unit)
    return done.returncode


def _log_output(store: Store, host: str, unit: str, sections: units.Sections, program: str, output: str) -> None:
    """A service's output in the journal: ``<N>`` before a line is its priority (sd-daemon(3))."""
    tag = units.last(sections, "Service", "SyslogIdentifier", program.rpartition("/")[2])
    most = journal.priority(units.last(sections, "Service", "LogLevelMax", "debug"))
    usual = journal.priority(units.last(sections, "Service", "SyslogLevel", "info"))
    for line in output.splitlines():
        match = re.fullmatch(r"(?:<([0-7])>)?(.*)", line, re.DOTALL)
        assert match
        level = int(match[1] or usual)
        if level <= most:
            journal.write(store, host, tag, level, match[2], unit)
