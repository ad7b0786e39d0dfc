"""What no deploy does to a host unless just that is permitted.

Each command of each run on the simulated cluster is held against `GUARDS`, with the data of the run and with what
really is on the disks. What is not permitted is refused, and whoever looks at the lab next is told (`Store.report`).
What people type on a host, and what a host does by itself, is their own business.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import disks
from lab.core import INSIDE, Cluster, CommandError, Context, Store
from lab.zfs import crypt
from lab.zfs.model import Node

OPTION = "--deploy="
"""Of `lab.sandbox`; the data of the run that `DATA` names follow, as JSON."""
DEPLOY = INSIDE / "ns" / "deploy"
"""These data, in the sandbox of a command of a run. A sandbox for anything else does not have the file."""
DATA = (
    *("usb_format_allow", "bhyve_destroy_old", "bhyve_old_dataset", "rotate_key", "return_vm"),
    *("zrepl_rollback_replicas", "zrepl_jobs", "zrepl_sink_root"),
)


@dataclass
class Asked:
    """A command of a run, before it is played.

    :param data: of the run, as the inventory has it
    """

    node: Node
    data: dict[str, Any]
    words: list[str]

    def names(self, switch: str) -> list[str]:
        """What a switch names: a list, or a single name."""
        value = self.data.get(switch) or []
        return [value] if isinstance(value, str) else value


def never(_: Asked) -> bool:
    """nothing permits it"""
    return False


def blank(asked: Asked) -> bool:
    """the disk is blank, and nobody has it open"""
    node = asked.node
    disk = disks.resolve(node.store, node.cluster, node.host, asked.words[-1])
    return disk is not None and disks.is_blank(node.store, node.cluster, node.host, disk)


def blank_or_allowed(asked: Asked) -> bool:
    """the disk is blank, or usb_format_allow names it and no tool recognises what is on it"""
    node, device = asked.node, asked.words[-1].removeprefix("/dev/")
    disk = disks.resolve(node.store, node.cluster, node.host, device)
    if disk is None or device not in asked.names("usb_format_allow"):
        return blank(asked)
    recognised = (disks.ufs_on(node.store, node.cluster, disk), disks.zfs_label(node.store, disk))
    return not any((*recognised, disks.has_gpt(node.store, disk), disks.has_fat(node.store, disk)))


def old_tree(asked: Asked) -> bool:
    """bhyve_destroy_old names the host, and it is bhyve_old_dataset or below it"""
    named = asked.node.host.name in asked.names("bhyve_destroy_old")
    return named and _is_within(asked.words[-1], asked.data["bhyve_old_dataset"])


def replica_given_up(asked: Asked) -> bool:
    """zrepl_rollback_replicas names the job whose replica it is"""
    return any(
        _is_within(asked.words[-1], f"{asked.data['zrepl_sink_root']}/{job['source'].split('.')[0]}/{job['dataset']}")
        for job in asked.data.get("zrepl_jobs") or []
        if job["name"] in asked.names("zrepl_rollback_replicas")
    )


def same_or_rotated(asked: Asked) -> bool:
    """it gets the key that it inherits, or of its new sender, return_vm names it, or rotate_key names the new key"""
    node, dataset = asked.node, asked.node.dataset(asked.words[-1])
    location = next((word.partition("=")[2] for word in asked.words if word.startswith("keylocation=")), None)
    root, machine = node.encryption_root(dataset), asked.data.get("return_vm")
    if asked.words[1:3] == ["change-key", "-i"] and machine and f"/{machine}" in dataset.name:
        return True
    if location is None or root is None or root.crypt is None:
        return False
    inherited = root is not dataset and crypt.material(node, location, None, CommandError) == root.crypt.key
    sent = any(
        dataset.name.endswith(f"/{job['dataset']}") and f"/{job['source']}:" in location
        for job in asked.data.get("zrepl_jobs") or []
    )
    return inherited or sent or location.endswith(f"/{asked.data.get('rotate_key')}.key")


GUARDS: dict[str, Callable[[Asked], bool]] = {
    r"newfs.*": blank_or_allowed,
    r"gpart (?!show\b).*": never,
    r"dd .*\bof=/dev/(?!null\b).*": never,
    r"zpool create .*": blank,
    r"zpool (.* )?-\w*[fFDX].*": never,
    r"zpool (add|attach|destroy|detach|labelclear|remove|replace|split) .*": never,
    r"zfs destroy .*": old_tree,
    r"zfs rollback .*": replica_given_up,
    r"zfs (recv|receive) (.* )?-\w*F.*": never,
    r"zfs change-key .*": same_or_rotated,
    r"zfs unload-key .*": never,
}
"""Command -> what has to be so; the function's text says it in words. A command has to meet all that match it."""


def objection(context: Context) -> str:
    """What is said against a command that a run of the deploy sends; nothing against most of them."""
    if not DEPLOY.exists():
        return ""
    # "meet" asks for a program of the machine
    words = context.args if context.name == "meet" else [context.name, *context.args]
    line = shlex.join(words)
    guards = [permits for pattern, permits in GUARDS.items() if re.fullmatch(pattern, line, re.DOTALL)]
    if not guards:
        return ""
    cluster = context.store.read()
    asked = Asked(Node(context.store, cluster, context.host(cluster)), json.loads(DEPLOY.read_text()), words)
    unmet = [f"not so: {permits.__doc__}" for permits in guards if not permits(asked)]
    return "; ".join([f"{context.host_name}: the deploy sent `{line}`", *unmet]) if unmet else ""


def keys(store: Store, cluster: Cluster) -> dict[tuple[str, bytes], str]:
    """The keys on all sticks, with their names. A run may add to them and rename them; rotate_retire takes one away."""
    trees = [store.folder / stick.tree for stick in disks.ufs_systems(cluster).values()]
    files = (file for tree in trees for file in tree.glob("*.key") if file.is_file())
    return {(file.parent.name, file.read_bytes()): file.name for file in files}


def _is_within(name: str, tree: str) -> bool:
    return f"{name.partition('@')[0]}/".startswith(f"{tree}/")
