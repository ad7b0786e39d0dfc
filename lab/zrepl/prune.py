"""Destroys on both sides what a job's rules do not keep (zrepl 0.7.0, internal/daemon/pruner)."""

from __future__ import annotations

from lab.core import CommandError
from lab.zfs import datasets
from lab.zfs.model import Dataset, Node
from lab.zrepl.keep import Rule, Snap, destroyed
from lab.zrepl.replicate import Link, cursor, selected

NO_CURSOR = "replication cursor bookmark does not exist (one successful replication is required before pruning works)"


def both(link: Link) -> dict[str, dict[str, str]]:
    """Prunes; says per side and file system what went wrong, or an empty text."""
    found: dict[str, dict[str, str]] = {"sender": {}, "receiver": {}}
    for dataset in selected(link.push, link.sender):
        found["sender"][dataset.name] = _prune(link, dataset, link.sender, dataset, link.push.keep_sender)
        received = link.receiver.find(link.target(dataset))
        if received is not None:
            keep = link.push.keep_receiver
            found["receiver"][dataset.name] = _prune(link, dataset, link.receiver, received, keep)
    return found


def _prune(link: Link, source: Dataset, node: Node, dataset: Dataset, rules: tuple[Rule, ...]) -> str:
    mark = cursor(source, link.push.name)
    if mark is None:
        return NO_CURSOR
    # from the oldest on, everything before the cursor's snapshot has been replicated; without that snapshot nothing
    replicated = any(snap.guid == mark.guid for snap in dataset.snapshots)
    snaps = []
    for snap in dataset.snapshots:
        replicated = replicated and snap.guid != mark.guid
        snaps.append(Snap(snap.name, snap.creation, replicated))
    failed = []
    for name in destroyed(snaps, rules):
        found = dataset.snapshot(name)
        if found is None:
            raise AssertionError(name)
        try:
            datasets.destroy(node, [found])
        except CommandError as error:
            failed.append(f"(@{name}: {error.message})")
    return f"destroys failed: {', '.join(failed)}" if failed else ""
