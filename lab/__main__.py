"""Play with the simulated cluster by hand."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lab import actions, build, clock, disks
from lab.core import LabError, Store
from lab.rc import boot

HOST: tuple[str, dict[str, Any]] = ("host", {})
SLOT = ("slot", {"nargs": "?", "default": "", "help": "device name, e.g. ada1 (default: the stick)"})
SECONDS = ("seconds", {"type": float})
HOW = ("how", {"nargs": "?", "default": "hangs", "choices": disks.HOW, "help": "what each read does"})


def _up(store: Store) -> None:
    if not store.exists():
        _reset(store)


def _reset(store: Store) -> None:
    from lab import plans  # with pyinfra, which takes a second to import

    build.up(store, plans.plans(plans.site()))


def _status(store: Store) -> None:
    cluster = store.read()
    print(clock.text(cluster.now))
    print(actions.status(store, cluster), end="")


def _demo(store: Store) -> int:
    from lab import demo  # with pyinfra, as above

    return demo.main(store)


def _tick(store: Store, seconds: float) -> None:
    store.read()
    clock.tick(store, seconds)


def _shell(store: Store, name: str, argv: list[str]) -> int:
    host = store.read().host(name)
    if not host.up:
        raise LabError(f"{host.name} is down")
    if argv:
        return clock.status(clock.start(store, host.name, argv, (0, 1, 2)))
    # The zygote waits as long as somebody is connected: for what events start while the shell is open.
    clock.zygote().set_inheritable(True)
    # a terminal belongs to a session, which the zygote is not in
    sandbox = str(Path(__file__).resolve().with_name("sandbox.py"))
    os.execv(sys.executable, [sys.executable, sandbox, str(store.folder), host.name, "--", "/bin/sh", "-i"])


COMMANDS: dict[str, tuple[str, Callable[..., int | None], tuple[tuple[str, dict[str, Any]], ...]]] = {
    "up": ("make the lab unless it is there already", _up, ()),
    "reset": ("make the lab anew; everything in it is lost", _reset, ()),
    "status": ("one line about each host", _status, ()),
    "demo": ("the whole tour: plan, run, second run, state", _demo, ()),
    "tick": ("let virtual time pass", _tick, (SECONDS,)),
    "shell": (
        "a shell on a host, or one command: shell f0 zfs list",
        _shell,
        (HOST, ("argv", {"nargs": argparse.REMAINDER})),
    ),
    "reboot": ("shut down in order and boot", boot.reboot, (HOST,)),
    "crash": ("power cut; the host stays down", boot.crash, (HOST,)),
    "boot": ("switch on a host that is down", boot.boot, (HOST,)),
    "isolate": ("cut off a host from the network", partial(actions.cut_off, away=True), (HOST,)),
    "rejoin": ("end that", partial(actions.cut_off, away=False), (HOST,)),
    "unplug": ("pull out the USB stick, or another disk", actions.unplug, (HOST, SLOT)),
    "plug": ("put it back", actions.plug, (HOST, SLOT)),
    "clock": ("set a host's clock forward (60), or back (-60)", actions.set_clock, (HOST, SECONDS)),
    "unreadable": ("the USB stick, or another disk, cannot be read any more", actions.unreadable, (HOST, HOW, SLOT)),
    "swap": ("put a blank disk into a slot; the old one is gone", actions.swap, (HOST, ("slot", {}))),
}


def main(argv: list[str] | None = None, store: Store | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (what, _, words) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        for word, more in words:
            command.add_argument(word, **more)
    given = vars(parser.parse_args(argv))
    _, run, _ = COMMANDS[given.pop("command")]
    store = store or Store()
    try:
        rc = run(store, *given.values()) or 0
        store.tell()
        return rc
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
