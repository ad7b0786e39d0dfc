"""The stage on a real site: commands over ssh, and an operator who pulls plugs, cables and sticks."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from f3s.settings import Site
from scenarios.real import RealStage
from scenarios.stage import CannotError, Ran, StageError, Stick, cast, ran

CONNECT_SECONDS = 5
BOOT_SECONDS = 900
"""Real servers test their memory before they boot."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this stage."""
    parser.add_argument("--inventory", default="inventory.py", help="of the site (default: %(default)s)")


@contextlib.contextmanager
def opened(options: argparse.Namespace) -> Iterator[Callable[[str], AbstractContextManager[SiteStage]]]:
    """Asks whether this is the right site; gives the stage for each story.

    :raises CannotError: there is nobody to ask
    :raises StageError: the operator does not want it, or the inventory is wrong
    """
    stage = loaded(options.inventory)
    primary = stage.cast.primary
    print(
        f"The scenarios of this run are played on the site of {options.inventory}, on its real hosts: "
        f"{primary}, {stage.cast.standby}, {stage.cast.client}. Power, cables and sticks are pulled, hosts are "
        "rebooted, and each client of the storage may hang for minutes. Have a backup, and nobody at work."
    )
    if answered(f"Type the name of the primary to begin: {primary}? ") != primary:
        raise StageError("that is not the primary's name: nothing was done")

    @contextlib.contextmanager
    def story(_: str) -> Iterator[SiteStage]:
        yield stage

    yield story


def loaded(inventory: str) -> SiteStage:
    """The stage of an inventory.

    :raises pyinfra.api.exceptions.InventoryError: the data is wrong
    """
    from bridge.settings import load_inventory, site_of  # with pyinfra's command line, which changes the interpreter

    hosts: Any = load_inventory(inventory)
    return SiteStage(inventory, site_of(hosts), {host.name: host.data.dict() for host in hosts})


def answered(question: str) -> str:
    """What the operator types.

    :raises CannotError: there is no terminal
    """
    if not sys.stdin.isatty():
        raise CannotError(f"nobody is at a terminal to be asked: {question}")
    return input(question).strip()


@dataclass(frozen=True)
class Login:
    """How commands get to a host: the words of ssh, and how the user becomes root."""

    ssh: tuple[str, ...]
    become: tuple[str, ...]

    @classmethod
    def of(cls, name: str, data: Mapping[str, object]) -> Login:
        """From the values that pyinfra takes for its own connections."""
        target = f"{data.get('ssh_user') or getpass.getuser()}@{data.get('ssh_hostname') or name}"
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        # a host that lost power ends no connection
        options += ["-o", f"ServerAliveInterval={CONNECT_SECONDS}", "-o", "ServerAliveCountMax=2"]
        options += ["-p", str(data["ssh_port"])] if data.get("ssh_port") else []
        options += ["-i", str(data["ssh_key"])] if data.get("ssh_key") else []
        become = ("doas",) if data.get("_doas") else ("sudo",) if data.get("_sudo") else ()
        return cls(("ssh", *options, target), become)

    def words(self, script: str) -> list[str]:
        """The program that runs a shell line as root. The login shell may be csh, so it is one quoted word."""
        return [*self.ssh, shlex.join([*self.become, "sh", "-c", script])]


class SiteStage(RealStage):
    """The site of an inventory.

    :param inventory: file, as for pyinfra
    :param site: its settings
    :param data: each host's data, by its name in the inventory
    :ivar off: hosts whose power is off
    """

    name = "site"

    def __init__(self, inventory: str, site: Site, data: Mapping[str, Mapping[str, object]]) -> None:
        self.inventory = inventory
        self.cast = cast(site)
        self.logins = {site.host(name).short_name: Login.of(name, own) for name, own in data.items()}
        self.off: set[str] = set()

    # -- commands --

    def run(self, host: str, script: str, *, timeout: float = 60) -> Ran:
        return ran(self.logins[host].words(script), timeout=timeout)

    def pki(self, *words: str) -> Ran:
        raise CannotError("the certificates of a real site are not made anew by a drill")

    def settle(self) -> None:
        """Nothing to keep on a real site."""

    # -- the hardware --

    def is_up(self, host: str) -> bool:
        return host not in self.off

    def power_cut(self, host: str) -> None:
        self._asks(f"Cut the power of {host} now: pull its plug.")
        self.off.add(host)

    def boot(self, host: str) -> None:
        self._asks(f"Give {host} power and switch it on.")
        self._until(host, "answers", lambda: self.run(host, "true").rc == 0)
        self.off.discard(host)

    def shutdown(self, host: str) -> None:
        self.run(host, "shutdown -p now", timeout=30)
        self._until(host, "is off", lambda: self.run(host, "true").rc != 0)
        self._asks(f"{host} shuts down. Wait until it is off.")
        self.off.add(host)

    def cable(self, host: str, *, plugged: bool) -> None:
        self._asks(f"{'Plug in' if plugged else 'Pull out'} the cable between {host} and the clients' network.")

    def part(self, one: str, other: str) -> None:
        raise CannotError(f"there is no cable that separates only {one} and {other}")

    def join(self, one: str, other: str) -> None:
        raise CannotError(f"{one} and {other} were not parted")

    def stick(self, host: str, state: Stick) -> None:
        if state not in ("in", "out"):
            raise CannotError(f"there is no stick at hand that is {state}")
        self._asks(f"{'Plug the key stick into' if state == 'in' else 'Pull the key stick out of'} {host}.")

    def _asks(self, text: str) -> None:
        answered(f"    >> {text} Then press Enter. ")

    def _until(self, host: str, what: str, condition: Callable[[], bool]) -> None:
        end = self.now() + BOOT_SECONDS
        while not condition():
            if self.now() >= end:
                raise StageError(f"not within {BOOT_SECONDS} s: {host} {what}")
            self.wait(2)
