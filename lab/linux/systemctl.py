"""systemctl(1): what a deploy, a monitor and people ask of it."""

from __future__ import annotations

import time

from f3s.fstab import mount_unit
from lab.commands.options import gnu
from lab.core import CommandError, Context, Host
from lab.linux import nfs, systemd, units

Options = dict[str, str]


def _properties(ctx: Context, host: Host, unit: str) -> dict[str, str]:
    """What `systemctl show` says of a unit."""
    root = ctx.store.root(host.name)
    state = units.manager(host)
    mount = state.generated.get(unit)
    mounted = {mount_unit(entry.target): entry.target for entry in nfs.mounts(host)}
    exists = unit in units.TARGETS or units.definition(root, host, unit) is not None or bool(mount or unit in mounted)
    active = unit in units.TARGETS or unit in state.active or unit in mounted
    since = state.active.get(unit)
    enabled = "generated" if mount else "static" if unit in units.TARGETS else units.enablement(root, unit)
    return {
        "Id": unit,
        "LoadState": "loaded" if exists else "not-found",
        "ActiveState": "active" if active else "failed" if unit in state.failed else "inactive",
        "UnitFileState": enabled,
        "NeedDaemonReload": "yes" if units.is_stale(root, host, unit) else "no",
        "ActiveEnterTimestamp": "" if since is None else time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(since)),
    }


def _show(ctx: Context, options: Options, names: list[str]) -> int:
    wanted = options.get("-p", "").split(",")
    if not names or (ctx.env.get("TZ") != "UTC" and "ActiveEnterTimestamp" in wanted):
        raise ctx.not_simulated()
    host = ctx.host(ctx.store.read())
    blocks = []
    for unit in names:
        found = _properties(ctx, host, unit)
        if missing := [name for name in wanted if name not in found]:
            raise ctx.not_simulated(f"show -p {','.join(missing)}")
        blocks.append("".join(f"{k}={v}\n" for k, v in found.items() if k in wanted))
    ctx.out("\n".join(blocks))
    return 0


def _enable(ctx: Context, options: Options, names: list[str]) -> int:
    root = ctx.store.root(ctx.host_name)
    for unit in names:
        file = units.file_of(root, unit)
        if file is None:
            raise CommandError(f"Failed to enable unit: Unit file {unit} does not exist.")
        target = f"/{file.relative_to(root)}"
        for link in units.wants(root, unit):
            if not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
                ctx.err(f"Created symlink /{link.relative_to(root)} → {target}.\n")
    return 0


def _start(ctx: Context, options: Options, names: list[str]) -> int:
    rc = 0
    for unit in names:
        if not systemd.start(ctx, unit):
            ctx.err(
                f"Job for {unit} failed because the control process exited with error code.\n"
                f'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.\n'
            )
            rc = 1
    return rc


def _stop(ctx: Context, options: Options, names: list[str]) -> int:
    for unit in names:
        systemd.stop(ctx, unit)
    return 0


def _restart(ctx: Context, options: Options, names: list[str]) -> int:
    host = ctx.host(ctx.store.read())
    root = ctx.store.root(ctx.host_name)
    for unit in names:
        if units.definition(root, host, unit) is None:
            raise CommandError(f"Failed to restart {unit}: Unit {unit} not found.", 5)
        systemd.stop(ctx, unit)
    return _start(ctx, options, names)


def _reload(ctx: Context, options: Options, names: list[str]) -> int:
    if names:
        raise CommandError("Too many arguments.")
    with ctx.cluster() as cluster:
        units.reload(ctx.store.root(ctx.host_name), ctx.host(cluster))
    return 0


VERBS = {
    "show": _show,
    "enable": _enable,
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "daemon-reload": _reload,
}


def main(ctx: Context) -> int:
    """systemctl [-p PROPERTIES] VERB UNIT..."""
    options, words = gnu(ctx, "p:")
    verb, *names = words or [""]
    if verb not in VERBS:
        raise ctx.not_simulated()
    return VERBS[verb](ctx, options, [units.full_name(name) for name in names])
