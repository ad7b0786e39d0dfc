"""``python -m lab``: play with the simulated cluster by hand."""

from __future__ import annotations

import argparse
import os
import sys

from lab import build, clock, plans
from lab.core import LabError, Store


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="make the lab unless it is there already")
    commands.add_parser("reset", help="make the lab anew; everything in it is lost")
    shell = commands.add_parser("shell", help="a shell on a host, or one command")
    shell.add_argument("host")
    shell.add_argument("argv", nargs=argparse.REMAINDER)
    tick = commands.add_parser("tick", help="let virtual time pass")
    tick.add_argument("seconds", type=float)
    args = parser.parse_args(argv)
    store = Store()
    try:
        if args.command == "reset" or (args.command == "up" and not store.exists()):
            build.up(store, plans.plans(plans.site()))
        elif args.command == "shell":
            host = store.read().host(args.host).name
            words = args.argv or ["/bin/sh", "-i"]
            line = [*clock.command_line(store, host), *words]
            os.execv(line[0], line)
        elif args.command == "tick":
            clock.advance(store, args.seconds)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
