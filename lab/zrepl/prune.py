"""Destroys on both sides what a job's rules do not keep (zrepl 0.7.0, internal/daemon/pruner)."""

from __future__ import annotations

import contextlib

from f3s.pruning import Rules, destroyed
from f3s.zfs import Snapshot
from lab.core import CommandError
from lab.zfs import datasets
from lab.zfs.model import Dataset, Node
from lab.zrepl.replicate import Link, cursor, selected


def both(link: Link) -> None:
    """Prunes; what cannot be destroyed stays."""
    for dataset in selected(link.push, link.sender):
        _prune(link, dataset, link.sender, dataset, link.push.keep_sender)
        received = link.receiver.find(link.target(dataset))
        if received is not None:
            _prune(link, dataset, link.receiver, received, link.push.keep_receiver)


def _prune(link: Link, source: Dataset, node: Node, dataset: Dataset, rules: Rules) -> None:
    mark = cursor(source, link.push.name)
    if mark is None:
        return  # one successful replication is required before pruning works
    # from the oldest on, everything before the cursor's snapshot has been replicated; without that snapshot nothing
    guids = [snap.guid for snap in dataset.snapshots]
    replicated = guids[: guids.index(mark.guid)] if mark.guid in guids else []
    keeps_new = any(rule["type"] == "not_replicated" for rule in rules)
    snaps = {
        Snapshot(f"{dataset.name}@{snap.name}", str(snap.guid), snap.createtxg, int(snap.creation)): snap
        for snap in dataset.snapshots
    }
    for gone in sorted(destroyed(rules, snaps), key=lambda each: each.createtxg):
        if not keeps_new or snaps[gone].guid in replicated:
            with contextlib.suppress(CommandError):  # it has a hold or a clone
                datasets.destroy(node, [snaps[gone]])
