"""The swap made permanent: the inventory makes the promoted standby the primary, and the old primary the standby.

What each step leaves, by which a later run finds the next one. D is the name of the served dataset on a primary, R that
of its replica on a standby. What clients write to is the new primary's R of the old order, and the old primary has D;
C is the newest snapshot that both have, E the epoch of the promotion.

| step | what there is then |
|---|---|
| keep | the old primary has D read-only with a snapshot f3s_after_C; the new R is a promoted clone of C |
| key | the new R has the key that the new D gets |
| aside | D is called D_set_aside_E, so zrepl of the old primary sends it no more |
| take over | on the new primary R is called D, with its key; its f3s_storage is that of a primary |
| stand by | the new R is mounted on the old primary; its f3s_storage is that of a standby |

The deploy does the rest, with the inventory as it is: zrepl sends what the new R lacks.
Clients write all the time: a rename leaves the mount as it is (`-u`), and f3s_storage finds it under its new name.
Nothing is destroyed, rolled back or sent. Without C, D is set aside as it is, and all of it is sent by the deploy.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from f3s.carp import CarpState
from f3s.controller import HOLD, RETURN, Status
from f3s.quoting import Shell, as_word, command, option_words, script
from f3s.replication import LAST_RECEIVED, newest_common
from f3s.returning import Pools, Step, closed, free_name, keeps, loaded, mounted, step
from f3s.settings import Site
from f3s.settings.model import is_within


@dataclass(frozen=True)
class Found(Pools):
    """What one of the storage hosts has."""

    controller: Status


@dataclass(frozen=True)
class Means:
    """What is brought along.

    + program: text of files/once/take-role.sh
    + values: text of storage.conf in the new role, by name of the host
    """

    program: str
    values: Mapping[str, str]


class Swap:
    """Where the swap stands. new: the primary of the inventory; old: its standby; holds: of the new one."""

    def __init__(self, site: Site, new: Found, old: Found, holds: Mapping[str, tuple[str, ...]], means: Means) -> None:
        self.site, self.new, self.old, self.holds, self.means = site, new, old, holds, means
        self.primary, self.standby = site.primary, site.standby
        self.served, self.replica = self.primary.nfs.dataset, site.replica(site.served_job)
        self.done = _role(new.controller) == "primary"
        self.before = self.served if self.done or new.controller.values is None else new.controller.values.dataset
        """What the new primary serves, as it is called until it takes over."""
        self.renamed = self.before not in new.datasets
        """Or there is nothing at all."""
        self.theirs = new.of(self.served if self.renamed else self.before)
        one_pool = _pool(self.replica) == _pool(self.served)
        self.common = newest_common(self.theirs, old.of(self.served)) if one_pool else None
        """As the old primary names it."""
        self.aside = free_name(f"{self.served}_set_aside_{new.controller.epoch}", old.datasets)
        self.begun = self.replica in old.datasets or self.common is not None
        """The new replica is there, or will be when the old primary has done its part."""
        self.moves = self.served in old.datasets or _role(old.controller) == "primary"
        """The old primary has something left to do."""

    def steps(self) -> Iterator[Step]:
        """What is left, in order."""
        yield from self._keep()
        yield from self._key()
        yield from self._aside()
        new, old = self.primary, self.standby
        if not self.done:
            commands = [command("zfs release {} {}", *each) for each in self._held()]
            location = new.key_location(new.key_of(self.served))
            found = self.new.datasets.get(self.before)
            if found is not None and found.get("keylocation") != location:
                # a file on this stick alone, or a wrong one, would be what all data open with from then on
                proven = command("zfs load-key -n -L {} {}", location, new.enc.dataset)
                commands.append(command("{} && {}", proven, _rewrapped(location, self.before)))
            commands.append(self._takes(new.name, self.before, self.served))
            title = f"{self.before} on {new.short_name} becomes {self.served}, and {new.short_name} the primary"
            yield step("take over", title, new, commands)
        if _role(self.old.controller) == "primary":
            title = f"{old.short_name} becomes the standby; run deploy.py now, and it gets what it lacks"
            commands = [command("rm -f {}", HOLD), command("sysrc {}", f"zfskeys_datasets-={self.served}")]
            if self.begun:
                # before zrepl sends: a stream unloads the key of what is not mounted (seen)
                commands += [command("sysrc {}", f"zfskeys_datasets+={self.replica}"), loaded(self.replica)]
                commands.append(command("zfs set mountpoint={} {}", old.nfs.mountpoint, self.replica))
                commands += mounted(self.replica)
            commands.append(self._takes(old.name))
            yield step("stand by", title, old, commands)

    def _keep(self) -> Iterator[Step]:
        """As for the way back (f3s.returning), and the clone is the replica."""
        there, fresh = self.old.datasets.get(self.served), self.old.datasets.get(self.replica)
        if there is None:
            return
        commands, old = closed(there), self.standby
        if fresh is None and self.common is not None:
            yield keeps(old, self.old, self.common, self.replica, commands, self._parents())
        elif fresh is not None and not self.old.of(self.replica):
            promote = command("zfs promote {}", self.replica)
            yield step("keep", f"{self.replica} gets the history", old, [*commands, promote])
        elif commands:
            yield step("keep", f"{self.served} on {old.short_name} is read-only", old, commands)

    def _parents(self) -> Iterator[Shell]:
        """As tasks/zrepl.py makes the sink, and zrepl what is between (zrepl 0.7.0, internal/zfs/placeholder.go)."""
        root = self.standby.zrepl.sink_root
        if root not in self.old.datasets:
            yield command("zfs create -o mountpoint=none {}", root)
        names = self.replica.removeprefix(f"{root}/").split("/")
        for depth in range(1, len(names)):
            name = "/".join([root, *names[:depth]])
            if name not in self.old.datasets:
                yield command("zfs create -o zrepl:placeholder=on -o mountpoint=none -o encryption=off {}", name)

    def _key(self) -> Iterator[Step]:
        """A promoted clone is the encryption root, and has the key that its origin had; the origin goes along with it:
        they share one (dsl_crypt.c, dsl_crypto_key_clone_sync). So the key may change with the next stream as well.
        """
        found = self.old.datasets.get(self.replica)
        location = self.site.replica_key_location(self.site.served_job)
        if not (self.moves and self.begun) or (found is not None and found.get("keylocation") == location):
            return
        title = f"{self.replica} gets the key of {self.primary.short_name}"
        # promoted, it is another root, whose key nobody has loaded
        yield step("key", title, self.standby, (loaded(self.replica), _rewrapped(location, self.replica)))

    def _aside(self) -> Iterator[Step]:
        if self.served not in self.old.datasets:
            return
        commands = (
            command("zfs set mountpoint=none {}", self.served),
            command("zfs rename {} {}", self.served, self.aside),
        )
        title = f"{self.served} on {self.standby.short_name} is kept as {self.aside}"
        yield step("aside", title, self.standby, commands)

    def _held(self) -> list[tuple[str, str]]:
        """zrepl's sink holds what it received last, and nobody would release that: zrepl could not prune it."""
        names = [each.name for each in self.theirs]
        return [(tag, name) for name in names for tag in self.holds.get(name, ()) if tag.startswith(LAST_RECEIVED)]

    def _takes(self, host: str, *names: str) -> Shell:
        text = as_word(Shell(self.means.values[host].rstrip("\n")))
        return script(self.means.program, "take-role", text, *names)


def _role(controller: Status) -> str | None:
    return None if controller.values is None else controller.values.role


def _pool(dataset: str) -> str:
    return dataset.partition("/")[0]


def _rewrapped(location: str, dataset: str) -> Shell:
    """The data stay as they are: only the key that opens their own key is another one."""
    return command("zfs change-key {} {}", option_words("-o", (f"keylocation={location}", "keyformat=raw")), dataset)


def refusals(swap: Swap) -> list[str]:
    """Why the swap must not begin, or go on."""
    new, old = swap.new.controller, swap.old.controller
    here, there = swap.primary.short_name, swap.standby.short_name
    if swap.done and not swap.moves:
        return []
    if new.values is None:
        return [f"{here} has no f3s_storage, so it was never promoted"]
    if new.writer != here or not new.epoch:
        return [
            f"{here} was not promoted: swap storage_primary and storage_standby back in the inventory, with the jobs; "
            f"then `tasks/promote.py --data promote={here}`, after tasks/failover.py if {there} still serves. Then "
            "swap them again"
        ]
    found = []
    if old.values is not None and (old.writer, old.epoch) != (here, new.epoch):
        found.append(
            f"{there} has not learned yet that {here} writes: `doas service f3s_storage start` there, and wait a minute"
        )
    for host, said in ((here, new), (there, old)):
        if said.returning:
            found.append(
                f"the role is on its way back: end that with tasks/return_primary.py, or `doas rm {RETURN}` on {host}"
            )
    return found + _new_problems(swap) + _old_problems(swap)


def _new_problems(swap: Swap) -> list[str]:
    """On the host that is to be the primary."""
    new, here, found = swap.new, swap.primary.short_name, []
    if swap.done:
        return []
    if swap.renamed and swap.served not in new.datasets:
        return [f"{here} has neither {swap.before} nor {swap.served}: `doas service f3s_storage status` there"]
    if not swap.renamed:
        # slow is not dead: one that is not known to be ready serves if it did
        if new.controller.ready is False or new.controller.carp is not CarpState.MASTER:
            found.append(f"{here} does not serve: {new.controller.reason}. `doas service f3s_storage start` there")
        if swap.served in new.datasets:
            found.append(f"{here} has another {swap.served}: look at it, then `doas zfs rename` it away")
        if _pool(swap.before) != _pool(swap.served):
            found.append(f"{swap.before} is in another pool than {swap.served}, where a rename cannot put it")
        found += _below(here, swap.before, new)
    return found


def _old_problems(swap: Swap) -> list[str]:
    """On the host that is to be the standby."""
    old, there = swap.old, swap.standby.short_name
    served = old.datasets.get(swap.served)
    if served is None:
        return []
    found = _below(there, swap.served, old)
    if old.controller.fsid_number is not None and served.mounted:
        found.append(
            f"{there} has served since its boot, so {swap.served} is in use, and with another fsid clients would lose "
            f"their mounts later: reboot {there}, then run this again"
        )
    own, guids = old.of(swap.replica), {each.guid for each in swap.theirs}
    if own and own[-1].guid not in guids:
        found.append(
            f"{swap.replica} on {there} has something that {swap.primary.short_name} does not: look at it, then `doas "
            "zfs rename` it away"
        )
    if swap.common is not None and not served.key_loaded:
        found.append(f"the key of {swap.served} on {there} is not loaded: docs/runbook.md, Key not loaded")
    return found


def _below(host: str, dataset: str, side: Found) -> list[str]:
    below = [name for name in side.datasets if is_within(name, dataset) and name != dataset]
    if not below:
        return []
    told = f"{host} has datasets below {dataset}, and each would have to be moved as well: {', '.join(below)}"
    return [f"{told}. Move them elsewhere, {posixpath.dirname(dataset)} for one"]
