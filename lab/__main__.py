"""Play with the simulated cluster by hand."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from lab import actions, build, clock, disks
from lab.core import LabError, Store
from lab.rc import boot


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="make the lab unless it is there already")
    commands.add_parser("reset", help="make the lab anew; everything in it is lost")
    commands.add_parser("status", help="one line about each host")
    commands.add_parser("demo", help="the whole tour: plan, run, second run, state")
    tick = commands.add_parser("tick", help="let virtual time pass")
    tick.add_argument("seconds", type=float)
    shell = commands.add_parser("shell", help="a shell on a host, or one command: shell f0 zfs list")
    shell.add_argument("host")
    shell.add_argument("argv", nargs=argparse.REMAINDER)
    for name, what in (
        ("reboot", "shut down in order and boot"),
        ("crash", "power cut; the host stays down"),
        ("boot", "switch on a host that is down"),
        ("isolate", "cut off a host from the network"),
        ("rejoin", "end that"),
    ):
        commands.add_parser(name, help=what).add_argument("host")
    for name, what in (("unplug", "pull out the USB stick, or another disk"), ("plug", "put it back")):
        command = commands.add_parser(name, help=what)
        command.add_argument("host")
        command.add_argument("slot", nargs="?", default="", help="device name, e.g. ada1 (default: the stick)")
    setting = commands.add_parser("clock", help="set a host's clock forward (60), or back (-60)")
    setting.add_argument("host")
    setting.add_argument("seconds", type=float)
    unreadable = commands.add_parser("unreadable", help="the USB stick, or another disk, cannot be read any more")
    unreadable.add_argument("host")
    unreadable.add_argument("how", nargs="?", default="hangs", choices=disks.HOW, help="what each read does")
    unreadable.add_argument("slot", nargs="?", default="", help="device name, e.g. ada1 (default: the stick)")
    swap = commands.add_parser("swap", help="put a blank disk into a slot; the old one is gone")
    swap.add_argument("host")
    swap.add_argument("slot", help="device name, e.g. da0")
    return parser


def _run(args: argparse.Namespace, store: Store) -> int:
    match args.command:
        case "up" | "reset":
            if args.command == "reset" or not store.exists():
                from lab import plans  # with pyinfra, which takes a second to import

                build.up(store, plans.plans(plans.site()))
        case "status":
            cluster = store.read()
            print(clock.text(cluster.now))
            print(actions.status(store, cluster), end="")
        case "tick":
            store.read()
            clock.tick(store, args.seconds)
        case "shell":
            host = store.read().host(args.host)
            if not host.up:
                raise LabError(f"{host.name} is down")
            if args.argv:
                return clock.run(store, host.name, args.argv).returncode
            # The zygote waits as long as somebody is connected: for what events start while the shell is open.
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.connect(str(clock.zygote_socket()))
            link.set_inheritable(True)
            # a terminal belongs to a session, which the zygote is not in
            sandbox = str(Path(__file__).resolve().with_name("sandbox.py"))
            os.execv(sys.executable, [sys.executable, sandbox, str(store.folder), host.name, "--", "/bin/sh", "-i"])
        case "reboot":
            boot.reboot(store, args.host)
        case "crash":
            boot.crash(store, args.host)
        case "boot":
            boot.boot(store, args.host)
        case "isolate" | "rejoin":
            actions.cut_off(store, args.host, away=args.command == "isolate")
        case "unplug":
            actions.unplug(store, args.host, args.slot)
        case "plug":
            actions.plug(store, args.host, args.slot)
        case "clock":
            actions.set_clock(store, args.host, args.seconds)
        case "unreadable":
            actions.unreadable(store, args.host, args.how, args.slot)
        case "swap":
            actions.swap(store, args.host, args.slot)
        case "demo":
            from lab import demo  # with pyinfra, as above

            return demo.main(store)
    return 0


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    store = Store()
    try:
        rc = _run(args, store)
        store.tell()
        return rc
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
