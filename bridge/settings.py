"""Pyinfra's inventory as checked settings, and what the controller itself holds: secrets and templates."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import click
import gevent
from pyinfra import host
from pyinfra.api.arguments import all_global_arguments
from pyinfra.api.exceptions import DeployError, InventoryError, PyinfraError
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.api.util import get_template
from pyinfra.context import ctx_inventory, ctx_state

from f3s.pki.credentials import Credentials
from f3s.pki.plan import PkiError
from f3s.settings import HostData, HostSettings, Problem, SettingsError, Site, build_site, unknown_name
from f3s.settings.problems import HIDDEN

# An operation that refuses raises in a greenlet of its own. pyinfra prints its message; the traceback that gevent would
# print above it as well helps nobody who reads "what, where, what to do".
_hub = gevent.get_hub()
_hub.NOT_ERROR = (*_hub.NOT_ERROR, PyinfraError)

REPOSITORY = Path(__file__).resolve().parent.parent


def site() -> Site:
    """The settings of all hosts of the inventory, whatever --limit selects; checked once a run.

    Raises pyinfra's InventoryError with every problem of the data, --data and --group-data included.
    """
    return site_of(ctx_inventory.get())


def this_host() -> HostSettings:
    """The settings of the host that the task runs for."""
    return site().host(host.name)


def secrets_folder(settings: Site) -> Path:
    """The folder of certificates.py: ``pki_directory``, from the top of the repository where it is relative."""
    return REPOSITORY / settings.primary.pki.directory


def credentials() -> Credentials:
    """Certificates, keys and the CARP password that hosts may have.

    Raises pyinfra's DeployError where they were not made yet.
    """
    made = Credentials(secrets_folder(site()), DeployError)
    try:
        made.ca_certificate()
    except PkiError as error:
        raise DeployError(str(error)) from None
    return made


def rendered(template: str, values: Mapping[str, object]) -> StringIO:
    """A file of templates/, filled in, for ``files.put``.

    ``files.template`` would take values that are called user, group or mode for arguments of its own.

    Raises jinja2's UndefinedError for a value that is missing.
    """
    return StringIO(get_template(str(REPOSITORY / "templates" / template)).render(dict(values)))


def load_inventory(inventory_file: str) -> Inventory:
    """The hosts of an inventory file with their data, outside of a pyinfra run; group_data/ is looked for as there.

    It loads pyinfra's command line, which patches the whole interpreter for gevent: no test does it in its own process.

    Raises pyinfra's InventoryError where the file refuses its data, FileNotFoundError without such a file.
    """
    from pyinfra_cli.inventory import make_inventory

    path = Path(inventory_file).resolve(strict=True)
    with ctx_state.use(State()):  # pyinfra notes in it which file it runs
        inventory: Inventory = make_inventory(str(path), cwd=os.getcwd())
    return inventory


def load_site(inventory_file: str) -> Site:
    """The settings of the hosts of an inventory file, outside of a pyinfra run.

    Raises pyinfra's InventoryError with every problem of the data, FileNotFoundError without such a file.
    """
    return site_of(load_inventory(inventory_file))


@functools.lru_cache(maxsize=1)  # one inventory a run; compared by identity
def site_of(inventory: Inventory, found: tuple[Problem, ...] = ()) -> Site:
    """The settings of an inventory's hosts, or an InventoryError with every problem of the data."""
    data = {each.name: HostData(frozenset(each.groups), each.data.dict()) for each in inventory}
    arguments = {name for name, _ in all_global_arguments()}
    found += tuple(
        unknown_name(each, name, HIDDEN if "pass" in name else repr(value), name, arguments)
        for each, given in data.items()
        for name, value in given.data.items()
        if name.startswith("_") and name not in arguments
    )
    try:
        return build_site(data, found)
    except SettingsError as error:
        raise InventoryError(str(error)) from None


def check_inventory(inventory_file: str, variables: Mapping[str, Any]) -> None:
    """Refuse wrong data before any host is contacted; the last line of inventory.py calls this.

    pyinfra loads the inventory file, then group_data, then connects, and only then runs a deploy: by then it
    would be too late. So this puts the inventory together as pyinfra_cli.inventory.make_inventory_from_files
    is about to do (3.10.0, whose own functions are used for it): the same folders in the same order, and what
    the command line says with --group-data and --data.

    + inventory_file: path of the inventory file
    + variables: its global variables, of which the lists are groups

    Raises pyinfra's InventoryError with every problem.
    """
    # not at the top of this file: the import patches the whole interpreter for gevent, which no test run survives
    from pyinfra_cli.inventory import _get_group_data, _is_inventory_group
    from pyinfra_cli.util import parse_cli_arg

    groups: dict[str, tuple[list[Any], dict[str, Any]]] = {
        name: (value, {}) for name, value in variables.items() if _is_inventory_group(name, value)
    }
    if wrong := [each for name, (members, _) in groups.items() for each in _no_hosts(inventory_file, name, members)]:
        raise InventoryError(str(SettingsError(wrong)))
    names = dict.fromkeys(_name(member) for members, _ in groups.values() for member in members)
    folders = list(dict.fromkeys([Path.cwd(), Path(inventory_file).parent.resolve()]))
    options = _command_line()
    known = ("all", *groups)
    strays = []
    for folder in [*(str(folder / "group_data") for folder in folders), *options.get("group_data", ())]:
        for group, data in _get_group_data(os.fspath(folder)).items():
            if group not in known:
                strays.append(unknown_name(os.fspath(folder), "group", f"'{group}'", group, known))
            groups.setdefault(group, ([], {}))[1].update(data)
    all_data = groups.pop("all", ([], {}))[1]
    overrides = dict(item.split("=", 1) for item in options.get("data", ()))
    site_of(
        Inventory(
            (list(names), all_data),
            override_data={name: parse_cli_arg(value) for name, value in overrides.items()},
            **groups,
        ),
        tuple(strays),
    )


def _no_hosts(file: str, group: str, members: object) -> Iterator[Problem]:
    """What is in the place of a group, or of a host, such as a host without the brackets around it."""
    if not isinstance(members, list):
        yield Problem(file, group, f"a {type(members).__name__}", "is no list of hosts", "[HOST, ...]")
        return
    for each in members:
        if isinstance(each, tuple) and [*map(type, each)] != [str, dict]:
            yield Problem(file, group, repr(each[:1]), "is no host", "'NAME', or ('NAME', {'VARIABLE': value})")


def _name(member: str | tuple[str, dict[str, Any]]) -> str:
    return member[0] if isinstance(member, tuple) else member


def _command_line() -> Mapping[str, Any]:
    """The options of the running pyinfra command; none where the inventory is loaded by something else."""
    context = click.get_current_context(silent=True)
    return context.params if context is not None else {}
