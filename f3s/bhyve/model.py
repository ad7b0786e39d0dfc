"""What a plan is made from and of: the facts of a host, what is wanted there, the tree on its way, and the steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from f3s.bhyve.tree import METADATA, MOUNTPOINT, SNAPSHOT, VMS, Refusal, check_roots, is_local, local, tree, value
from f3s.bhyve.vms import VmHost
from f3s.keycheck import KeyCheck
from f3s.mounts import MountTable
from f3s.quoting import Shell
from f3s.zfs import MIGRATION, Dataset, Snapshot


@dataclass(frozen=True)
class Programs:
    """Text of files/once/bhyve-wait.sh, files/once/bhyve-metadata.sh and files/once/guard-below.sh."""

    wait: str
    metadata: str
    guard: str


@dataclass(frozen=True)
class Wanted:
    """The settings of one host's migration.

    encryption: the cipher of the new dataset; stick: the device with the keys as `mount -p` shows it, without /dev/;
    stop_timeout: seconds.
    """

    dataset: str
    old: str
    snapshot: str
    key_file: str
    encryption: str
    stick: str
    stop_timeout: int
    destroy_old: bool
    programs: Programs

    @property
    def location(self) -> str:
        return f"file://{self.key_file}"


@dataclass(frozen=True)
class Facts:
    """The state of a host at one moment.

    datasets: all file systems and volumes by name; vm_dir: the variable of rc.conf, None where it is not set;
    encryption_feature: feature@encryption of the pool (f3s.bhyve.tree.parse_feature); key_present: whether the key
    file is there; key_check: whether it opens the encrypted dataset; mounts: with the mount point of the tree.
    The two of the key are None while they cannot be known yet, before the keys are distributed.
    """

    datasets: Mapping[str, Dataset]
    key_check: KeyCheck | None
    key_present: bool | None
    snapshots: tuple[Snapshot, ...]
    vm: VmHost
    vm_dir: str | None
    encryption_feature: str
    mounts: MountTable


@dataclass(frozen=True)
class Step:
    """key finds the step again in a later plan; title is what the operator reads."""

    key: str
    title: str
    commands: tuple[Shell, ...]


@dataclass(frozen=True)
class Plan:
    """The steps that are left; where there are none, found says what is there instead.

    key_at_boot: the dataset is an encryption root with a key file, or will be one after the steps.
    """

    steps: tuple[Step, ...]
    found: str
    key_at_boot: bool


@dataclass(frozen=True)
class Move:
    """A dataset on its way. source: as it is now, below D or O; old: its name below O; new: its name below D; copy:
    what has that name after the rename."""

    source: Dataset
    old: str
    new: str
    copy: Dataset | None


class Migration:
    """The tree on its way. root is D before the rename and O after it; names in steps are those of their time.

    snapshot: the name that is copied up to; outdated: another name was chosen, since the tree was written to after
    the last one; recorded: the virtual machines that ran.
    """

    def __init__(self, facts: Facts, wanted: Wanted, root: Dataset) -> None:
        self.facts, self.wanted, self.root = facts, wanted, root
        self.renamed = root.name == wanted.old
        self.sources = tree(facts.datasets, root.name)
        self.moves = tuple(map(self._move, self.sources))
        self.new = self.moves[0].copy
        self.verified = local(self.new, MIGRATION) == "verified"
        self.recorded = tuple(name for name in (local(root, VMS) or "-").split(",") if name != "-")
        self.origin, self.mountpoint = mountpoint(root)
        self.snapshot = local(root, SNAPSHOT) or wanted.snapshot
        self.outdated = (
            self.renamed
            and local(root, MIGRATION) == "started"
            and not self.verified
            and all(self.guid(source.name) for source in self.sources)
            and any(source.written for source in self.sources)
        )
        if self.outdated:
            taken = {snapshot.short_name for snapshot in facts.snapshots}
            names = (f"{wanted.snapshot}_{number}" for number in itertools.count(2))
            self.snapshot = next(name for name in names if name not in taken)

    def _move(self, source: Dataset) -> Move:
        below = source.name.removeprefix(self.root.name)
        new = self.wanted.dataset + below
        return Move(source, self.wanted.old + below, new, self.facts.datasets.get(new) if self.renamed else None)

    def guid(self, dataset: str) -> str | None:
        """That of the dataset's snapshot of this migration."""
        return next((s.guid for s in self.facts.snapshots if s.name == f"{dataset}@{self.snapshot}"), None)

    def prove(self) -> None:
        """The proofs of a complete copy: encryption roots, counterparts, GUIDs, nothing written since. Or Refusal."""
        root, new, name = self.root, self.wanted.dataset, self.snapshot
        check_roots(self.facts.datasets, new, new)
        for move in self.moves:
            guid = self.guid(move.source.name)
            if move.copy is None:
                raise Refusal(f"{move.source.name} has no counterpart {move.new}")
            if guid is None:
                raise Refusal(f"{move.source.name} has lost its snapshot {name}")
            if move.source is not root and self.guid(move.new) != guid:
                raise Refusal(f"{move.new}@{name} has not the GUID of its source, {guid}")
        if written := [source for source in self.sources if source.written]:
            listed = ", ".join(f"{source.name} ({source.written} bytes)" for source in written)
            # `zfs rollback` does not take the mark of a log away, it makes one (observed)
            raise Refusal(
                f"written to since the snapshot {name}, which is not copied: {listed}. A power cut leaves 1024"
                f" bytes on a dataset that has not changed, too: `zfs send -i @{name} NAME | wc -c` says 624"
                " then. What has changed, copy by hand; when nothing is missing, say so by `zfs snapshot -r"
                f" {root.name}@{name}_checked`, and run again"
            )
        if local(self.new, METADATA) != self.guid(root.name):
            raise Refusal(f"the files of {root.name} are not proven to be in {new}")


def mountpoint(root: Dataset) -> tuple[str, str]:
    """`local` or `inherited`, and D's mount point, from D before the rename or from O after it."""
    origin = "local" if is_local(root, "mountpoint") else "inherited"
    origin, _, path = (local(root, MOUNTPOINT) or f"{origin}:{value(root, 'mountpoint')}").partition(":")
    return origin, path
