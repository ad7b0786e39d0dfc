"""Destroys on both sides what a job's rules do not keep (zrepl 0.7.0, internal/daemon/pruner)."""

from __future__ import annotations

import contextlib

from lab.core import CommandError
from lab.zfs import datasets
from lab.zfs.model import Dataset, Node
from lab.zrepl.keep import Rule, Snap, destroyed
from lab.zrepl.replicate import Link, cursor, selected


def both(link: Link) -> None:
    """Prunes; what cannot be destroyed stays."""
    for dataset in selected(link.push, link.sender):
        _prune(link, dataset, link.sender, dataset, link.push.keep_sender)
        received = link.receiver.find(link.target(dataset))
        if received is not None:
            _prune(link, dataset, link.receiver, received, link.push.keep_receiver)


def _prune(link: Link, source: Dataset, node: Node, dataset: Dataset, rules: tuple[Rule, ...]) -> None:
    mark = cursor(source, link.push.name)
    if mark is None:
        return  # one successful replication is required before pruning works
    # from the oldest on, everything before the cursor's snapshot has been replicated; without that snapshot nothing
    replicated = any(snap.guid == mark.guid for snap in dataset.snapshots)
    snaps = []
    for snap in dataset.snapshots:
        replicated = replicated and snap.guid != mark.guid
        snaps.append(Snap(snap.name, snap.creation, replicated))
    for name in destroyed(snaps, rules):
        found = dataset.snapshot(name)
        assert found is not None
        with contextlib.suppress(CommandError):  # it has a hold or a clone
            datasets.destroy(node, [found])
