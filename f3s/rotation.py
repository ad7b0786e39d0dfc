"""A new key for all that one key opens, planned from the facts of all hosts with a stick.

K is the file of the key on each stick, K.old another file there, with the key as it was before. What each step leaves:

| step | sticks have | datasets of the source name | replicas name |
|---|---|---|---|
| keep | K and K.old, the same | K | K |
| name | | K.old | K.old |
| write | the new key in K | | |
| change | | K, with the new key | |
| replicate | | | K.old; K as soon as the new key has arrived |
| retire, asked for separately | no K.old | | |

So at any time the file that a dataset names opens it, also at a boot; but for the seconds between a replication with
the new key and the end of the last step. Run again, the task names K there, too.

`zfs change-key` wraps the key of the data anew. It does not encrypt the data anew.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from f3s.keys import SUFFIX, Copy, Keys, Roots, encrypted_with
from f3s.quoting import Shell, command
from f3s.settings import HostSettings, Site
from f3s.settings.model import Job, is_within
from f3s.zfs import Dataset, key_file
from f3s.zrepl import snapshot_prefix

SECONDS = 900
"""For a replication. zrepl waits up to ten minutes before it tries to reach a host again (seen on 15.1)."""
OLD = ".old"
"""How the name of a key ends that was replaced by another."""


@dataclass(frozen=True)
class Holder:
    """What a host with a stick has.

    + keys: on the stick; None: it cannot be read
    + roots: its encryption roots, or why some may be out of sight
    + arrived: datasets with a snapshot; a replica without one has not arrived
    + opened: what the file K on its own stick opens
    + opened_by_old: what K.old there opens
    """

    keys: Keys | None
    roots: Roots
    datasets: Mapping[str, Dataset]
    arrived: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()
    opened_by_old: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Line:
    """One for files/once/write-keys.sh. copy: where the key is; None for one that is made, or none."""

    verb: str
    name: str
    copy: Copy | None = None


@dataclass(frozen=True)
class Step:
    """key finds it again in a later plan; title is what the operator reads; commands: (host, command) in order.

    lines: what the stick of `host` gets
    """

    key: str
    title: str
    commands: tuple[tuple[str, Shell], ...] = ()
    host: str = ""
    lines: tuple[Line, ...] = ()


class Rotation:
    """Where the rotation of a key stands.

    + name: of the key, without `.key`
    + holders: every host with a stick, by name
    + promoted: the standby writes; None: not known
    + once: makes the command of a program of files/once
    + retires: the old key goes
    """

    def __init__(
        self,
        site: Site,
        name: str,
        holders: Mapping[str, Holder],
        promoted: bool | None,
        once: Callable[..., Shell],
        retires: bool = False,
    ) -> None:
        self.site, self.name, self.holders, self.promoted, self.once = site, name, holders, promoted, once
        self.retires = retires
        self.old = f"{name}{OLD}"
        self.turned = [host for host, each in holders.items() if self._turned(each)]
        """The hosts whose sticks have the new key."""

    def _turned(self, holder: Holder) -> bool:
        now, old = (self._digest(holder, name) for name in (self.name, self.old))
        return old is not None and now is not None and now != old

    @staticmethod
    def _digest(holder: Holder, name: str) -> str | None:
        key = (holder.keys or {}).get(name)
        return key.sha256 if key and key.proper else None

    def _roots(self, host: str, *names: str) -> list[Dataset]:
        """The encryption roots of a host that name one of these keys and have arrived, parents first."""
        me, holder = self.site.host(host), self.holders[host]
        locations = [me.key_location(name) for name in names or (self.name, self.old)]
        found = [each for each in holder.datasets.values() if each.encrypted and each.is_encryption_root]
        return [
            each
            for each in sorted(found, key=lambda each: each.name)
            if each.get("keylocation") in locations and (each.name in holder.arrived or not self._is_replica(me, each))
        ]

    @staticmethod
    def _is_replica(host: HostSettings, dataset: Dataset) -> bool:
        return is_within(dataset.name, host.zrepl.sink_root)

    def _has_new(self, host: str, dataset: Dataset) -> bool:
        return (self.retires or host in self.turned) and dataset.name in self.holders[host].opened

    def _job(self, host: str, replica: str) -> Job | None:
        jobs = self.site.jobs_to(self.site.host(host))
        return next((job for job in jobs if is_within(replica, self.site.replica(job))), None)

    # -- why not --

    def refusals(self) -> list[str]:
        """Why nothing may be done now."""
        unread = [host for host, each in self.holders.items() if each.keys is None]
        found = [f"the stick of {host} cannot be read: tasks/verify.py says why" for host in unread]
        standby = self.site.standby.short_name
        if self.promoted is None:
            found.append(f"nothing says whether {standby} was promoted: tasks/verify.py tells why")
        elif self.promoted:
            found.append(f"{standby} was promoted, and its data are replicated nowhere: tasks/return_primary.py first")
        if found:
            return found
        found = self._disagreements()
        found += encrypted_with(self.name, {host: each.roots for host, each in self.holders.items()})[1]
        for host in self.holders:
            for each in self._roots(host):
                found += self._unfit(host, each)
        return found

    def _disagreements(self) -> list[str]:
        """Sticks whose keys are not those of one rotation."""
        kept = {self._digest(each, self.old) for each in self.holders.values() if self.old in (each.keys or {})}
        still = {
            self._digest(each, self.name)
            for host, each in self.holders.items()
            if host not in self.turned and self.name in (each.keys or {})
        }
        new = {self._digest(self.holders[host], self.name) for host in self.turned}
        if not self.turned and any(self.name not in (each.keys or {}) for each in self.holders.values()):
            return [f"not every stick has {self.name}.key: tasks/usb_keys.py brings it there"]
        # a stick may have got the new key from another one already
        if None in kept | still | new or len(kept | (still - new)) > 1 or len(new) > 1:
            return [
                f"the sticks disagree about {self.name}.key or {self.old}.key: `sha256 -r` on each host tells how, and "
                "`zfs load-key -n` tries the file of that host's stick. Take the wrong one away"
            ]
        return []

    def _unfit(self, host: str, dataset: Dataset) -> list[str]:
        holder, me = self.holders[host], self.site.host(host)
        location = dataset.get("keylocation")
        if self.retires:
            if not (self._has_new(host, dataset) and location == me.key_location(self.name)):
                return [
                    f"{dataset.name} on {host} still needs {self.old}.key: run this with rotate_key={self.name}. "
                    "What is replicated no more never gets the new key"
                ]
            return []
        if dataset.name not in holder.opened | holder.opened_by_old:
            which = f"neither {self.name}.key nor {self.old}.key opens {dataset.name}"
            return [f"{which} on {host}: docs/runbook.md, Key not loaded"]
        if not self.turned and self._job(host, dataset.name) and dataset.get("readonly") == "off":
            return [
                f"{dataset.name} on {host} can be written, so no replication brings it the new key: docs/runbook.md, "
                "Virtual machine of a dead host; what does not run there: tasks/zrepl.py"
            ]
        if not dataset.key_loaded and not self._is_replica(me, dataset):
            return [f"the key of {dataset.name} on {host} is not loaded: docs/runbook.md, Key not loaded"]
        return []

    # -- the steps --

    def steps(self) -> Iterator[Step]:
        """What is left, in order."""
        if self.retires:
            for host, each in self.holders.items():
                if self.old in (each.keys or {}):
                    title = f"the old key goes from the stick of {host}"
                    yield Step(f"retire {host}", title, (), host, (Line("retire", self.name),))
            return
        yield from self._sticks()
        yield from self._sources()
        yield from self._replicas()

    def _sticks(self) -> Iterator[Step]:
        kept = self._copy(self.old) or self._copy(self.name)
        for host, each in self.holders.items():
            if self.old not in (each.keys or {}):
                title = f"the stick of {host} keeps the old key as {self.old}.key"
                yield Step(f"keep {host}", title, (), host, (Line("write", self.old, kept),))
        for host in self.holders:
            names = [each.name for each in self._roots(host, self.name) if not self._has_new(host, each)]
            location = self.site.host(host).key_location(self.old)
            if names:
                commands = ((host, command("zfs set keylocation={} {}", location, each)) for each in names)
                yield Step(f"name {host}", f"{', '.join(names)} on {host} name that file", tuple(commands))
        made = next((self._copy(self.name, host) for host in self.turned), None)
        for host in self.holders:
            if host not in self.turned:
                title = f"the stick of {host} gets the new key"
                yield Step(f"write {host}", title, (), host, (Line("replace", self.name, made),))

    def _copy(self, name: str, host: str | None = None) -> Copy | None:
        """Where a key can be read, on any stick or on that of one host."""
        for each, holder in self.holders.items():
            digest = self._digest(holder, name)
            if digest is not None and host in (None, each):
                return Copy(name, each, digest)
        return None

    def _sources(self) -> Iterator[Step]:
        for host in self.holders:
            me = self.site.host(host)
            own = [each for each in self._roots(host) if not self._is_replica(me, each)]
            todo = [each.name for each in own if not self._has_new(host, each)]
            location = me.key_location(self.name)
            if todo:
                title = f"{', '.join(todo)} on {host} get the new key, while they are in use"
                change = "zfs change-key -o keylocation={} -o keyformat=raw {}"
                yield Step(f"change {host}", title, tuple((host, command(change, location, each)) for each in todo))

    def _replicas(self) -> Iterator[Step]:
        """A replica gets the new key with the next replication, which is made now."""
        for host in self.holders:
            me, waiting = self.site.host(host), dict[Job, list[Dataset]]()
            location = me.key_location(self.name)
            for each in self._roots(host):
                job = self._job(host, each.name) if self._is_replica(me, each) else None
                if job and not (self._has_new(host, each) and each.get("keylocation") == location):
                    waiting.setdefault(job, []).append(each)
            for job, replicas in waiting.items():
                names = [each.name for each in replicas]
                sent = [name.removeprefix(self.site.replica(job)) for name in names]
                old = [
                    job.dataset + name
                    for name, each in zip(sent, replicas, strict=True)
                    if not self._has_new(host, each)
                ]
                commands = [*self._sent(job, old), (host, self.once("await-key", SECONDS, location, *names))]
                yield Step(f"replicate {job.name}", f"the new key opens {', '.join(names)} on {host}", tuple(commands))

    def _sent(self, job: Job, datasets: list[str]) -> Iterator[tuple[str, Shell]]:
        if datasets:
            # named as zrepl names its own, so that it prunes them; only these end with 001
            names = (f"{each}@{snapshot_prefix(job, self.site)}" for each in datasets)
            named = Shell(" ".join(command("{}$at", each) for each in names))
            yield job.source, command("at=$(date -u +%Y%m%d_%H%M%S)_001 && zfs snapshot {}", named)
            yield job.source, self.once("wake-zrepl-job", job.name)


def opens(names: Iterable[str], datasets: Mapping[str, Mapping[str, Dataset] | None]) -> list[str]:
    """Which key opens what, by the files that datasets name; a line for each key.

    + names: of keys, without `.key`
    + datasets: of each host; None where they cannot be read
    """
    named: dict[str, list[str]] = {name: [] for name in names}
    for host, found in datasets.items():
        for each in (found or {}).values():
            if each.is_encryption_root and (file := key_file(each.get("keylocation"))):
                name = posixpath.basename(file).removesuffix(SUFFIX)
                named.setdefault(name, []).append(f"{each.name} on {host}")
    lines = [f"{name}: {', '.join(of) or 'nothing'}" for name, of in sorted(named.items())]
    return [*lines, *(f"{host} could not be asked" for host, found in datasets.items() if found is None)]
