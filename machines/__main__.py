"""Virtual machines with real FreeBSD and Linux, to play with by hand; they run until ``down``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import time

from machines import site, switch
from machines.cluster import LAN, Cluster, alone
from machines.programs import MachinesError
from scenarios.stage import REPOSITORY, pyinfra_words

WHOLE = ("up", "reset", "down", "freeze", "thaw")
"""Commands that concern all machines; a run of scenarios must not have them."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m machines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, what: str, *words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=what)
        for word in words:
            made.add_argument(word)
        return made

    for name, what in (
        ("up", "make the machines unless they are there, and switch them on"),
        ("reset", "make them anew"),
    ):
        command(name, what).add_argument("names", nargs="*", help=f"which hosts of the site ({' '.join(site.PLAYERS)})")
    command("down", "stop everything; the disks stay")
    command("status", "one line about each machine")
    command("ssh", "a command as root", "host").add_argument("argv", nargs=argparse.REMAINDER)
    command("power-cut", "the machine is off at once", "host")
    command("boot", "switch a machine on and wait until it answers", "host")
    command("shutdown", "shut it down", "host")
    command("cable", "the cable to the clients' network", "host").add_argument("state", choices=["in", "out"])
    states = ["in", "out", "blank", "unreadable"]
    command("stick", "what is in the USB port", "host").add_argument("state", choices=states)
    command("part", "two machines no longer reach each other on the clients' network", "one", "other")
    command("join", "end that", "one", "other")
    command("blank-disk", "put a blank disk into a machine that is off", "host", "disk")
    command("freeze", "keep the state of all machines under a name", "name")
    command("thaw", "go back to it", "name")
    command("pyinfra", "run pyinfra on the machines: pyinfra deploy.py -y").add_argument(
        "argv", nargs=argparse.REMAINDER
    )
    return parser


def _run(args: argparse.Namespace, cluster: Cluster) -> int:
    match args.command:
        case "up" | "reset":
            if args.command == "reset" or not cluster.exists():
                cluster.make(args.names or site.PLAYERS, site.images(cluster.site), site.cache())
            begin = time.monotonic()
            try:
                cluster.start()
            except BaseException:
                cluster.down()
                raise
            print(f"up after {time.monotonic() - begin:.0f} s")
        case "down":
            cluster.down()
        case "status":
            for name, machine in cluster.machines.items():
                print(f"{name:<4}{'on' if machine.pid() else 'off':<4} ssh port {machine.port}")
        case "ssh":
            ran = cluster.ssh(
                args.host, shlex.join(args.argv) if len(args.argv) > 1 else "".join(args.argv), timeout=3600
            )
            print(ran.output, end="")
            return ran.rc
        case "power-cut":
            cluster.machine(args.host).kill()
        case "boot":
            cluster.boot(args.host)
        case "shutdown":
            cluster.shutdown(args.host)
        case "cable":
            cluster.machine(args.host).cable(LAN, plugged=args.state == "in")
        case "stick":
            cluster.stick(args.host, args.state)
        case "part" | "join":
            switch.control(cluster.folder / LAN, "cut" if args.command == "part" else "join", args.one, args.other)
        case "blank-disk":
            cluster.blank_disk(args.host, args.disk)
        case "freeze":
            cluster.freeze(args.name)
        case "thaw":
            cluster.thaw(args.name)
        case "pyinfra":
            words = pyinfra_words(site.INVENTORY, *args.argv)
            return subprocess.run(words, cwd=REPOSITORY, env=cluster.environment, check=False).returncode
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    args = _parser().parse_args(argv)
    os.environ["MACHINES_STATE"] = str(site.folder())
    try:
        cluster = site.cluster(orphans=True)
        with alone(cluster.folder) if args.command in WHOLE else contextlib.nullcontext():
            return _run(args, cluster)
    except MachinesError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
