"""The way back of the role from a promoted standby to the repaired primary, planned from the facts of both hosts.

What each step leaves, by which a later run finds the next one. D is the served dataset of the primary, R its replica on
the standby, which clients write to; C is the newest snapshot that both have, E the epoch of the standby's promotion.

| step | the primary has | clients |
|---|---|---|
| keep | D read-only with a snapshot f3s_after_C; D_return, a promoted clone of C, with the history up to C | write |
| catch up | D_return follows: its newest snapshot is one of R, and nothing was written to it | write |
| place | D is called D_set_aside_E, D_return is called D | write |
| open | D is mounted read-only and f3s_storage stands by with it, as the standby does otherwise | write |
| freeze | R is read-only, and D has its newest snapshot | read |
| hand over | the record says that the primary writes, in epoch E + 1 | pause, then write |

Nothing is destroyed, rolled back or received with -F. The renames were seen to work (tests/lab/transcripts, return2).
Without C, D_return comes whole, and D is set aside as it is; without D, there is nothing to set aside.

R always has one snapshot more than what was sent, until it is read-only: a zrepl of the primary that somebody starts
meanwhile is refused by the sink.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from f3s.carp import CarpState
from f3s.controller import RETURN, Status, served_dataset
from f3s.quoting import Shell, command, script
from f3s.replication import newest_common
from f3s.settings import HostSettings, Site
from f3s.settings.model import is_within
from f3s.zfs import Dataset, Snapshot

KEPT = "f3s_after_"
"""How the name of the snapshot begins that has what the old primary wrote by itself; then comes that of C."""
STANDBY_SECONDS = 600
"""Within which the primary stands by: its services start, and nfsd's grace period passes."""


@dataclass(frozen=True)
class Programs:
    """Text of send-snapshot, receive-snapshot, stop-service, run-service and await-standby of files/once/."""

    send: str
    receive: str
    stop: str
    start: str
    standby: str


@dataclass(frozen=True)
class Pools:
    """What one of the hosts has in its pools."""

    datasets: dict[str, Dataset]
    snapshots: tuple[Snapshot, ...]

    def of(self, dataset: str) -> list[Snapshot]:
        """The snapshots of a dataset, oldest first."""
        found = (each for each in self.snapshots if each.dataset == dataset)
        return sorted(found, key=lambda each: each.createtxg)


@dataclass(frozen=True)
class Data(Pools):
    """The same, with `written`: bytes that no snapshot has, by dataset, after `zpool sync`."""

    written: dict[str, int]


@dataclass(frozen=True)
class Side(Data):
    """What one of the storage hosts has; replicates: zrepl runs."""

    controller: Status
    replicates: bool


@dataclass(frozen=True)
class Step:
    """key finds it again in a later plan; title is what the operator reads; commands: (host, command) in order.

    catches_up: then what the replica has more is sent, again and again until that goes quickly; last: once
    """

    key: str
    title: str
    commands: tuple[tuple[str, Shell], ...]
    catches_up: bool = False
    last: bool = False


def step(key: str, title: str, host: HostSettings, commands: Iterable[Shell]) -> Step:
    """One whose commands run on the same host."""
    return Step(key, title, tuple((host.name, each) for each in commands))


class Course:
    """One dataset that gets what was written to its replica. home: its host; away: that of the replica.

    + served, incoming: its name, and that of the clone which takes its place where it does not follow
    """

    def __init__(self, home: Data, away: Data, served: str, replica: str, incoming: str) -> None:
        self.served, self.replica, self.incoming = served, replica, incoming
        self.at_home, self.theirs, self.written_to = home, away.of(replica), away.datasets.get(replica)
        self.common = newest_common(self.theirs, home.of(served))
        """As the home of the dataset names it."""
        self.aim(served if self.follows(served) else incoming)

    def aim(self, target: str) -> None:
        """What the stream goes to."""
        self.target = target
        self.last = newest_common(self.at_home.of(target), self.theirs)
        """What the target has of the replica, as the other host names it."""

    def follows(self, dataset: str) -> bool:
        """Its newest snapshot is one of the replica, and nothing was written since: the difference can be received.

        A clone that nobody can write to shows bytes as written as well, where its source had an intent log (8192, seen
        on 15.1). `zfs receive` looks by itself, and does not count those (dsl_dataset_modified_since_snap).
        """
        own = self.at_home.of(dataset)
        guids = {each.guid for each in self.theirs}
        unchanged = dataset == self.incoming or self.at_home.written.get(dataset) == 0
        return bool(own) and own[-1].guid in guids and unchanged

    def stream(self, newest: Sequence[Snapshot]) -> tuple[str, ...] | None:
        """What send-snapshot has to send of these snapshots of the replica; None: the target has the last of them."""
        found = self.at_home.datasets.get(self.target)
        if token := found.get("receive_resume_token") if found else None:
            return "token", token
        if not newest or (self.last is not None and self.last.createtxg >= newest[-1].createtxg):
            return None
        if self.last is None:
            return "whole", newest[-1].name
        return "from", f"@{self.last.short_name}", newest[-1].name

    def origin(self) -> Snapshot | None:
        """What the clone has yet to be made of: what both hosts have."""
        return self.common if self.target != self.served and self.incoming not in self.at_home.datasets else None

    def promotion(self) -> Shell | None:
        """What gives the clone the history, where it has none yet."""
        new = self.at_home.datasets.get(self.incoming)
        bare = new is not None and not self.at_home.of(self.incoming) and not new.get("receive_resume_token")
        return command("zfs promote {}", self.incoming) if bare else None

    def foreign(self) -> bool:
        """The clone has something that the replica does not."""
        return bool(self.at_home.of(self.incoming)) and not self.follows(self.incoming)

    def room(self, here: str) -> list[str]:
        """What is certainly too little room on that host. A stream that finds none ends, and goes on later."""
        datasets = self.at_home.datasets
        parent = datasets.get(self.served.rpartition("/")[0])
        old = (datasets.get(self.served) if self.common is not None else None) or datasets.get(self.incoming)
        if self.written_to is None or parent is None:
            return [f"{here} has no dataset {self.served.rpartition('/')[0]}: tasks/zfs_encrypt.py makes it"]
        need = int(self.written_to.get("used") or 0) - int((old.get("used") if old else None) or 0)
        free = int(parent.get("available") or 0)
        if need <= free:
            return []
        return [f"too little room on {here}: {need} bytes more are needed, {parent.name} has {free}"]


def pipe(programs: Programs, sender: HostSettings, what: Sequence[str], kind: str, target: str) -> tuple[Shell, Shell]:
    """What sends on the one host, and what receives on the other; kind and target: of receive-snapshot."""
    address, port = sender.wireguard.address, sender.zrepl.return_port
    return (
        script(programs.send, "send-snapshot", address, port, *what),
        script(programs.receive, "receive-snapshot", address, port, kind, target),
    )


def free_name(name: str, datasets: Container[str]) -> str:
    """The name, or one with a number behind it, that no dataset has."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(each for each in names if each not in datasets)


class Way(Course):
    """Where the way back stands. home: the primary; away: the promoted standby."""

    def __init__(self, site: Site, home: Side, away: Side, programs: Programs) -> None:
        self.site, self.home, self.away, self.programs = site, home, away, programs
        self.primary, self.standby = site.primary, site.standby
        served = self.primary.nfs.dataset
        super().__init__(home, away, served, site.replica(site.served_job), f"{served}_return")
        found = away.datasets.get(self.replica)
        self.frozen = away.controller.returning and found is not None and found.get("readonly") == "on"
        whole = self.frozen and away.written.get(self.replica) == 0
        self.complete = whole and self.last is not None and self.last is self.theirs[-1]
        self.aside = free_name(f"{self.served}_set_aside_{away.controller.epoch}", home.datasets)

    # -- what is sent --

    def snapshots(self) -> Shell:
        """On the standby: two snapshots, named as zrepl names its own, so that it prunes them. The last is not sent."""
        name = f"{self.replica}@{self.primary.zrepl.snapshot_prefix}"
        taken = command("now=$(date -u +%Y%m%d_%H%M%S) && zfs snapshot {}${{now}}_000", name)
        return taken if self.frozen else command("{} && zfs snapshot {}${{now}}_001", taken, name)

    def transfer(self) -> tuple[Shell, Shell] | None:
        """What sends the next snapshot on the standby, and what receives it on the primary; None: nothing is left."""
        what = self.stream(self.theirs if self.frozen else self.theirs[:-1])
        kind = "old" if self.target in self.home.datasets else "new"
        return pipe(self.programs, self.standby, what, kind, self.target) if what else None

    # -- the steps --

    def steps(self) -> Iterator[Step]:
        """What is left, in order."""
        home, away = self.primary.name, self.standby.name
        here, there = self.primary.short_name, self.standby.short_name
        epoch = self.away.controller.epoch
        if self.home.controller.writer == here:
            yield from self._afterwards()
            return
        if not self.complete:
            yield from self._keep()
            if not self.frozen:
                what = f"{here} gets what clients wrote on {there}, while they go on"
                yield Step("catch up", what, ((away, self.snapshots()),), catches_up=True)
            yield from self._place()
            yield from self._open()
            marked = command("echo {} >{} && service f3s_storage reconcile", epoch, RETURN)
            frozen = command("zfs set readonly=on {}", self.replica)
            title = (
                f"from here on clients only read, until the end: {here} gets the last difference. If this run ends "
                f"before that, run it again; or `doas rm {RETURN}` on {there}: in a minute clients write there again"
            )
            yield Step("freeze", title, ((away, marked), (away, frozen)), last=True)
        title = f"{here} writes from now on, in epoch {epoch + 1}"
        # once more, when nobody can write there any more
        unchanged = command(
            "zpool sync {} && zfs get -Hp -o value readonly,written {} | xargs | grep -x 'on 0'",
            *(self.standby.pool.name, self.replica),
        )
        stopped = (away, command("service f3s_storage stop && {}", unchanged))
        promoted = (home, command("/usr/local/bin/carp promote without {}", there))
        yield Step("hand over", title, (stopped, promoted))
        yield from self._afterwards(planned=True)

    def _keep(self) -> Iterator[Step]:
        """Of the old dataset. A clone without a snapshot of its own was not promoted yet."""
        there, commands = self.home.datasets.get(self.served), list[Shell]()
        if there is not None and self.home.controller.ready is not True:
            commands += closed(there, unmounts=self.target != self.served)
        if origin := self.origin():
            yield keeps(self.primary, self.home, origin, self.incoming, commands)
        elif promote := self.promotion():
            yield step("keep", f"{self.incoming} gets the history", self.primary, [*commands, promote])
        elif commands:
            yield step("keep", f"{self.served} on {self.primary.short_name} is read-only", self.primary, commands)

    def _place(self) -> Iterator[Step]:
        commands = []
        pauses = f"zrepl of {self.primary.short_name} pauses"
        title = pauses
        if self.home.replicates:
            commands.append(script(self.programs.stop, "stop-service", "zrepl"))
        if self.target != self.served:
            title = f"{pauses}; {self.incoming} takes the place of {self.served}"
            if self.served in self.home.datasets:
                title = f"{title}, which is kept as {self.aside}"
                commands.append(command("zfs set mountpoint=none {}", self.served))
                commands.append(command("zfs rename {} {}", self.served, self.aside))
            commands.append(command("zfs rename {} {}", self.incoming, self.served))
        if commands:
            yield step("place", title, self.primary, commands)

    def _open(self) -> Iterator[Step]:
        if self.home.controller.ready:
            return
        location = self.primary.key_location(self.primary.key_of(self.served))
        served = self.served
        commands = (
            command("zfs set readonly=on {}", served),
            command("zfs set keylocation={} {}", location, served),
            loaded(served),
            command("zfs set mountpoint={} {}", self.primary.nfs.mountpoint, served),
            *mounted(served),
            command("echo {} >{}", self.away.controller.epoch, RETURN),
            script(self.programs.standby, "await-standby", STANDBY_SECONDS),
        )
        yield step("open", f"{self.primary.short_name} stands by with it, read-only", self.primary, commands)

    def _afterwards(self, planned: bool = False) -> Iterator[Step]:
        """The standby learns of the new epoch, and replication goes on."""
        commands = []
        if planned or not self.away.controller.started or self.away.controller.epoch != self.home.controller.epoch:
            commands.append((self.standby.name, command("service f3s_storage start")))
        if planned or not self.home.replicates:
            commands.append((self.primary.name, script(self.programs.start, "run-service", "zrepl", "onestart")))
        if commands:
            title = f"{self.standby.short_name} learns of it and is the standby again, replication goes on"
            yield Step("afterwards", title, tuple(commands))


def closed(dataset: Dataset, *, unmounts: bool = True) -> list[Shell]:
    """What lets nobody write to a dataset of the old primary, now and after a boot."""
    commands = []
    if dataset.get("readonly") != "on" or dataset.get("canmount") != "noauto":
        commands.append(command("zfs set readonly=on canmount=noauto {}", dataset.name))
    if dataset.mounted and unmounts:
        commands.append(command("zfs unmount {}", dataset.name))
    return commands


def keeps(
    host: HostSettings, found: Pools, common: Snapshot, new: str, commands: list[Shell], parents: Iterable[Shell] = ()
) -> Step:
    """After these commands: what the old primary wrote by itself is kept, and a promoted clone has the history up to C.

    parents: what makes those of the clone
    """
    kept, short = f"{common.dataset}@{KEPT}{common.short_name}", host.short_name
    if kept not in [each.name for each in found.snapshots]:
        commands.append(command("zfs snapshot {}", kept))
    clone = command("zfs clone -o canmount=noauto -o readonly=on {} {}", common.name, new)
    title = f"what {short} wrote after {common.short_name} is kept, and {new} begins with what both hosts have"
    return step("keep", title, host, [*commands, *parents, clone, command("zfs promote {}", new)])


_UNLESS = "case $(zfs get -H -o value {} {}) in {}) ;; *) {} ;; esac"


def loaded(dataset: str) -> Shell:
    """The key is loaded from where the dataset says it is."""
    return command(_UNLESS, "keystatus", dataset, "available", command("zfs load-key {}", dataset))


def mounted(dataset: str) -> tuple[Shell, Shell]:
    """It is mounted, now and at boot. One that has just got its mount point may be mounted already."""
    mount = command(_UNLESS, "mounted", dataset, "yes", command("zfs mount {}", dataset))
    return command("zfs set canmount=on {}", dataset), mount


def refusals(way: Way) -> list[str]:
    """Why the way back must not begin, or go on, in what the two hosts have themselves."""
    home, away = way.home, way.away
    here, there = way.primary.short_name, way.standby.short_name
    found = []
    if home.controller.writer == here and home.controller.epoch >= away.controller.epoch:
        return []
    if away.controller.writer != there:
        return [
            f"{there} was not promoted, so {here} writes and nothing has to return: tasks/failback.py moves the address"
        ]
    if (home.controller.writer, home.controller.epoch) != (there, away.controller.epoch):
        found.append(
            f"{here} has not learned yet that {there} writes: `doas service f3s_storage start` there, and wait a minute"
        )
    # slow is not dead: one that is not known to be ready serves if it did
    if not way.frozen and (away.controller.ready is False or away.controller.carp is not CarpState.MASTER):
        found.append(f"{there} does not serve: {away.controller.reason}. `doas service f3s_storage start` there")
    if not way.theirs:
        found.append(f"{way.replica} on {there} has no snapshot")
    for host, side, dataset in ((here, home, way.served), (there, away, way.replica)):
        if below := [name for name in side.datasets if is_within(name, dataset) and name != dataset]:
            found.append(
                f"{host} has datasets below {dataset}, and each would need a way back of its own: {', '.join(below)}. "
                "Bring them back by hand with zfs send, or move them elsewhere"
            )
    if home.controller.fsid_number is not None and not home.controller.ready:
        found.append(
            f"{here} has served since its boot, so its next mount of {way.primary.nfs.export} gets another fsid, and "
            f"clients would lose their mounts: reboot {here}, then run this again"
        )
    old = home.datasets.get(way.served)
    if way.origin() and old is not None and not old.key_loaded:
        found.append(f"the key of {old.name} on {here} is not loaded: docs/runbook.md, Key not loaded")
    if way.target == way.incoming and way.foreign():
        found.append(
            f"{way.incoming} on {here} has something that {there} does not: look at it, then `doas zfs rename` it away"
        )
    return found + way.room(here)


def kept(host: HostSettings, datasets: Iterable[str], snapshots: Iterable[Snapshot], site: Site) -> str:
    """What returns and swaps have set aside on a host, and how to see what it has; empty where there is nothing."""
    shown = {each.dataset: each for each in snapshots if each.short_name.startswith(KEPT)}
    told = []
    for name in datasets:
        if not name.startswith(f"{host.nfs.dataset}_set_aside_"):
            continue
        look = command("doas zfs set mountpoint=/mnt {}; doas zfs mount {}", name, name)  # diff needs the mount
        if name in shown:
            since = f"{served_dataset(host, site)}@{shown[name].short_name.removeprefix(KEPT)}"
            look = command("{}; doas zfs diff {} {}", look, since, shown[name].name)
        told.append(f"; {name} has what {host.short_name} wrote by itself: `{look}`")
    return "".join(told)
