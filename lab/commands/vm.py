"""vm-bhyve as far as a deploy meets it: virtual machines are the folders and files of its dataset.

Options and wording of vm-bhyve 1.8-devel (lib/vm-base, lib/vm-core, lib/vm-datastore, lib/vm-run, lib/vm-zfs). A
machine that runs has a process, /dev/vmm/NAME and a run.lock, and keeps its file system and volumes busy. On an ACPI
shutdown it is gone `SHUTDOWN_SECONDS` later; one with ``acpi_ignored="yes"`` in its configuration (an option of the
lab) never is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import clock
from lab.core import CommandError, Context, Event, Host, Store, part
from lab.rc.scripts import is_yes, new_pids, rc_conf
from lab.zfs.model import Node

COMMAND = "/usr/local/sbin/vm"
SHUTDOWN_SECONDS = 12.0
HEADINGS = ("NAME", "DATASTORE", "LOADER", "CPU", "MEMORY", "VNC", "AUTO", "STATE", "TAGS")


@dataclass(frozen=True)
class Datastore:
    """Where machines are; dataset: empty for a plain folder."""

    name: str
    folder: Path
    dataset: str


def running(host: Host) -> dict[str, int]:
    """Process ids of the virtual machines that run, by name."""
    return part(host, "vm", dict[str, int])


def main(ctx: Context) -> int:
    """The vm command."""
    verb, *names = ctx.args or ["usage"]
    settings = rc_conf(["vm_enable", "vm_dir", "vm_list"])
    if not ctx.env.get("rc_force") and not is_yes(settings["vm_enable"]):
        raise _error("$vm_enable is not enabled in /etc/rc.conf!")
    if not part(ctx.host(ctx.store.read()), "virtualization", lambda: True):
        raise _error("virtualization is not supported or is disabled")
    folder = _folder(ctx, settings["vm_dir"])
    for name in (".config", ".templates", ".iso", ".img"):
        try:
            (folder / name).mkdir(exist_ok=True)
        except OSError as error:
            ctx.err(f"mkdir: {folder / name}: {error.strerror}\n")
    autostart = settings["vm_list"].split()
    stores = list(_stores(ctx, folder, settings["vm_dir"]))
    match verb, names:
        case "init", []:
            return 0
        case "list", []:
            return _list(ctx, stores, autostart)
        case "datastore", ["add", name, spec]:
            return _add_store(ctx, folder, name, spec)
        case "datastore", ["remove", name]:
            return _remove_store(folder, name)
        case "start", [_, *_]:
            return sum(_start(ctx, stores, name) for name in names)
        case "startall", []:
            return sum(_start(ctx, stores, name) for name in autostart)
        case "stop", [_, *_]:
            for name in names:
                store = _found(stores, name) or stores[0]
                saved = store.folder / name / f"{name}.save"
                if _stop(ctx, store.folder, name) and saved.exists():
                    saved.unlink()
                    break  # core::discard ends all of vm
            return 0
        case "stopall", [] | ["-f"]:
            for name in list(running(ctx.host(ctx.store.read()))):
                _stop(ctx, (_found(stores, name) or stores[0]).folder, name)
            clock.advance(ctx.store, SHUTDOWN_SECONDS)
            return 0
    raise ctx.not_simulated()


def boot(ctx: Context) -> bool:
    """What rc.d/vm does at boot: vm init, vm startall."""
    return all(main(Context([COMMAND, verb], ctx.store, ctx.host_name)) == 0 for verb in ("init", "startall"))


def shut_down(ctx: Context) -> None:
    """What rc.d/vm does at shutdown."""
    main(Context([COMMAND, "stopall"], ctx.store, ctx.host_name))


def _error(text: str) -> CommandError:
    return CommandError(f"{COMMAND}: ERROR: {text}")


def _folder(ctx: Context, vm_dir: str) -> Path:
    """Where the machines are; a dataset must be mounted."""
    if vm_dir.startswith("zfs:"):
        dataset = vm_dir.removeprefix("zfs:")
        found = _mounted(ctx, dataset)
        if found is None:
            raise _error(f"unable to locate mountpoint for ZFS dataset {dataset}")
        return found
    if not vm_dir or not Path(vm_dir).is_dir():
        raise _error("$vm_dir has not been configured or is not a valid directory")
    return Path(vm_dir)


def _mounted(ctx: Context, dataset: str) -> Path | None:
    mounts = ctx.host(ctx.store.read()).mounts
    return next((Path(m.target) for m in mounts if m.fstype == "zfs" and m.device == dataset), None)


def _core(folder: Path) -> dict[str, str]:
    """The settings of vm-bhyve itself that are no variables of rc.conf."""
    file = folder / ".config" / "system.conf"
    return dict(re.findall(r'^([a-z0-9_]+)="([^"\n]*)"$', file.read_text(), re.MULTILINE)) if file.exists() else {}


def _set_core(folder: Path, settings: dict[str, str]) -> None:
    text = "".join(f'{name}="{value}"\n' for name, value in settings.items())
    (folder / ".config" / "system.conf").write_text(text)


def _stores(ctx: Context, folder: Path, vm_dir: str) -> Iterator[Datastore]:
    """The first is vm_dir; another one whose dataset is not mounted is passed over."""
    yield Datastore("default", folder, vm_dir.removeprefix("zfs:") if vm_dir.startswith("zfs:") else "")
    settings = _core(folder)
    for name in settings.get("datastore_list", "").split():
        dataset = settings[f"path_{name}"].removeprefix("zfs:")
        if (place := _mounted(ctx, dataset)) is not None:
            yield Datastore(name, place, dataset)


def _add_store(ctx: Context, folder: Path, name: str, spec: str) -> int:
    settings = _core(folder)
    names = settings.get("datastore_list", "").split()
    if not spec.startswith("zfs:"):
        raise ctx.not_simulated()
    if name in ("default", *names):
        raise _error(f"datstore '{name}' already exists!")
    if _mounted(ctx, spec.removeprefix("zfs:")) is None:
        raise _error(f"{spec} doesn't seem to be a valid, mounted dataset")
    _set_core(folder, settings | {"datastore_list": " ".join([*names, name]), f"path_{name}": spec})
    return 0


def _remove_store(folder: Path, name: str) -> int:
    settings = _core(folder)
    names = settings.get("datastore_list", "").split()
    if name not in names:
        raise _error("unable to locate the specified dataset")
    del settings[f"path_{name}"]
    _set_core(folder, settings | {"datastore_list": " ".join(each for each in names if each != name)})
    return 0


def _found(stores: list[Datastore], name: str) -> Datastore | None:
    """The first that has the machine."""
    return next((each for each in stores if (each.folder / name / f"{name}.conf").exists()), None)


def _config(folder: Path, name: str) -> dict[str, str] | None:
    """The settings of a machine's configuration file; None where there is no such machine."""
    file = folder / name / f"{name}.conf"
    if not file.exists():
        return None
    pairs = re.findall(r'^([a-z0-9_]+)="?([^"\n]*)"?$', file.read_text(), re.MULTILINE)
    return dict(pairs)


def _list(ctx: Context, stores: list[Datastore], autostart: list[str]) -> int:
    pids = running(ctx.host(ctx.store.read()))
    rows: list[tuple[str, ...]] = [HEADINGS]
    places = [(store, path.name) for store in stores for path in sorted(store.folder.iterdir())]
    for store, name in places:
        folder = store.folder
        config = _config(folder, name)
        if config is None:
            continue
        lock = folder / name / "run.lock"
        if name in pids:
            state = f"Running ({pids[name]})"
        else:
            state = "Suspended" if (folder / name / f"{name}.save").exists() else "Stopped"
            if state == "Stopped" and lock.exists():
                state = f"Locked ({lock.read_text().strip()})"
        auto = f"Yes [{autostart.index(name) + 1}]" if name in autostart else "No"
        cpu, memory = config.get("cpu", ""), config.get("memory", "")
        tags = ",".join(config.get("tags", "").split()) or "-"
        rows.append((name, store.name, config.get("loader", "none"), cpu, memory, "-", auto, state, tags))
    # column(1) -t leaves empty cells out, and the ones behind move to the left
    rows = [tuple(cell for cell in row if cell) for row in rows]
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        ctx.out("  ".join([*cells[:-1], row[-1]]) + "\n")
    return 0


def _start(ctx: Context, stores: list[Datastore], name: str) -> int:
    """Starts one machine; 1 where it is not started."""
    ctx.out(f"Starting {name}\n")
    store = _found(stores, name)
    config = _config(store.folder, name) if store else None
    if store is None or config is None:
        ctx.out(f"  ! {name} does not seem to be a valid virtual machine\n")
        return 1
    folder, dataset = store.folder, store.dataset
    ctx.out(f"  * found guest in {folder / name}\n")
    lock = folder / name / "run.lock"
    if name in running(ctx.host(ctx.store.read())) or (
        lock.exists() and lock.read_text().strip() != ctx.host(ctx.store.read()).name
    ):
        ctx.out("  ! guest appears to be running already\n")
        return 1
    if not config.get("cpu") or not config.get("memory"):
        ctx.out("  ! incomplete virtual machine configuration\n")
        return 1
    ctx.out("  * booting...\n")
    kind, disk = config.get("disk0_dev", "file"), config.get("disk0_name", "")
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        place = Path("/dev/zvol", dataset, name, disk) if kind.endswith("zvol") else folder / name / disk
        closed = any(each.target == str(folder / name) and each.read_only for each in host.mounts)
        if not disk or not place.exists() or closed:
            # bhyve itself ends at once, in the background; only its log tells
            return 0
        runs(Node(ctx.store, cluster, host), str(folder), dataset, name, disk if kind.endswith("zvol") else "")
    return 0


def runs(node: Node, folder: str, dataset: str, name: str, volume: str) -> None:
    """A machine runs from now on.

    :param dataset: of all machines
    :param volume: what is its disk, below its own dataset; empty where that is a file
    """
    running(node.host)[name] = new_pids(node.host, 1)[0]
    for device in (f"{dataset}/{name}", *([f"{dataset}/{name}/{volume}"] if volume else [])):
        node.state.busy[device] = f"vm {name}"
    node.file("/dev/vmm").mkdir(exist_ok=True)
    node.file(f"/dev/vmm/{name}").touch()
    node.file(f"{folder}/{name}/run.lock").write_text(f"{node.host.name}\n")


def _stop(ctx: Context, folder: Path, name: str) -> bool:
    """Asks one machine to shut down; whether it runs."""
    if name not in running(ctx.host(ctx.store.read())):
        ctx.err(f"{COMMAND}: WARNING: {name} doesn't appear to be a running virtual machine\n")
        return False
    ctx.out(f"Sending ACPI shutdown to {name}\n")
    clock.advance(ctx.store, 1)  # it sends the signal twice
    if not is_yes((_config(folder, name) or {}).get("acpi_ignored", "")):
        with ctx.cluster() as cluster:
            clock.schedule(cluster, SHUTDOWN_SECONDS, "vm off", ctx.host_name, vm=name, folder=str(folder))
    return True


def power_off(store: Store, event: Event) -> None:
    """A guest has shut down: its process ends and vm-bhyve cleans up behind it."""
    name, folder = event.payload["vm"], event.payload["folder"]
    with store.edit() as cluster:
        host = cluster.hosts[event.host]
        if running(host).pop(name, None) is None:
            return
        node = Node(store, cluster, host)
        busy = node.state.busy
        for device in [device for device, what in busy.items() if what == f"vm {name}"]:
            del busy[device]
        for path in (f"/dev/vmm/{name}", f"{folder}/{name}/run.lock"):
            node.file(path).unlink(missing_ok=True)
